"""The commands of application files, `actors.toml`: they check one, apply it, and write others of it."""

from actors.cli.application.commands import COMMANDS
from actors.cli.application.file import DEFAULT_FILE, ApplicationFile, read_application
from actors.cli.application.imports import check_imports, in_fork

__all__ = [
    "COMMANDS",
    "DEFAULT_FILE",
    "ApplicationFile",
    "check_imports",
    "in_fork",
    "read_application",
]
