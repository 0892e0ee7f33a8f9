"""`actors top`: what a running system does, as a full-screen program or as plain text."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from importlib.util import find_spec

from actors.cli._failure import WRONG, CommandFailed
from actors.cli.top.plain import print_top

__all__ = ["top"]


def top(options: Namespace) -> None:
    """Show what the system does: over the whole screen where that can be, else as text.

    Raises:
        CommandFailed: there is no such system, or the full-screen form was asked for and cannot be.
    """
    missing = _missing(options)
    if options.full_screen and missing:
        raise CommandFailed(f"--full-screen: {missing}", WRONG)
    if missing or options.plain:
        print_top(options)
        return
    from actors.cli.top.screen import show_top  # noqa: PLC0415 - of an extra

    show_top(options)


def _missing(options: Namespace) -> str:
    """Return what the full-screen form needs and has not; "" if nothing."""
    if options.once or options.json:
        return "it cannot be printed once or as JSON"
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "") == "dumb":
        return "it needs a terminal"
    if find_spec("textual") is None:
        return "it needs textual: pip install 'actors-framework[tui]'"
    return ""
