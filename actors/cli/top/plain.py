"""`actors top` as text: tables, again and again or once."""

from __future__ import annotations

import shutil
import sys
from argparse import Namespace
from contextlib import closing
from typing import Any, Final

from actors.cli._failure import NOT_RUNNING, CommandFailed
from actors.cli.client import as_json, connect
from actors.cli.client.connection import REPLY_TIMEOUT
from actors.cli.client.text import as_top

__all__ = ["LONGEST_INTERVAL", "print_top"]

LONGEST_INTERVAL: Final = 60.0
"""Seconds; the system refuses to observe itself for longer."""
_CLEAR_SCREEN: Final = "\x1b[H\x1b[J"


def print_top(options: Namespace) -> None:
    """Print what the system does, again and again until it ends; with `--once`, once."""
    label, facts = _sample(options, options.pid)
    if options.once:
        print(as_json(facts) if options.json else as_top(facts))
        return
    on_terminal = sys.stdout.isatty() and not options.json
    _print(facts, options, on_terminal=on_terminal)
    while True:
        try:
            label, facts = _sample(options, label)
        except CommandFailed:
            if not _has_ended(label):
                raise
            print(f"system {label} has ended", file=sys.stderr, flush=True)
            return
        if not (on_terminal or options.json):
            print()
        _print(facts, options, on_terminal=on_terminal)


def _sample(options: Namespace, which: str | None) -> tuple[str, Any]:
    """Let the system observe itself for the interval; return its label and what it observed."""
    with closing(connect(which)) as system:
        facts = system.ask(
            "top",
            timeout=REPLY_TIMEOUT + min(max(0.0, options.interval), LONGEST_INTERVAL),
            seconds=options.interval,
            rows=options.rows,
            by=options.sort,
        )
        del facts["served"]  # of all time, for those who look again
        return system.label, facts


def _print(facts: Any, options: Namespace, *, on_terminal: bool) -> None:
    text = as_json(facts, indent=None) if options.json else as_top(facts)
    if on_terminal:
        width, height = shutil.get_terminal_size()
        text = _CLEAR_SCREEN + "\n".join(line[:width] for line in text.splitlines()[: height - 1])
    print(text, flush=True)


def _has_ended(label: str) -> bool:
    try:
        connect(label).close()
    except CommandFailed as error:
        return error.code == NOT_RUNNING
    return False
