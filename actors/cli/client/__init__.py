"""The commands that ask a running system. Rule: nothing here imports the engine, so that they start fast."""

from actors.cli.client.commands import COMMANDS
from actors.cli.client.connection import connect
from actors.cli.client.text import as_json

__all__ = ["COMMANDS", "as_json", "connect"]
