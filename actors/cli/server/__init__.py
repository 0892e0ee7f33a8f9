"""The commands that run a system in the foreground, and the control socket that answers the others."""

from actors.cli.server.commands import COMMANDS

__all__ = ["COMMANDS"]
