"""The commands that ask a running system. Rule: nothing here imports the engine, so that they start fast."""

from actors.cli.client.commands import COMMANDS

__all__ = ["COMMANDS"]
