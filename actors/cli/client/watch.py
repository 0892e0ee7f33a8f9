"""`actors top`, `events` and `stack`: the asking side of watching a running system at work."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any, Final

from actors.cli._failure import NOT_RUNNING, CommandFailed
from actors.cli.client.client import connect
from actors.cli.client.print import as_json
from actors.cli.client.views import as_event, as_top
from actors.cli.server.busy import LONGEST

__all__ = ["ask_stack", "follow_events", "show_top"]

_REPLY: Final = 10.0
"""Seconds that a reply may take beyond those that the system was looked at."""
_CLEAR: Final = "\x1b[H\x1b[J"
"""Begin at the top of an empty screen."""


def ask_stack(chosen: Any) -> Any:
    """Return what the threads and tasks of one node are at."""
    with connect(chosen.pid) as system:
        return system.ask("stack", node=chosen.node)


def follow_events(chosen: Any) -> None:
    """Print what happens, one line each, until the system has ended."""
    with connect(chosen.pid) as system:
        events = system.follow("events", messages=chosen.messages)
        _tell(f"following system {system.pid}; Ctrl-C ends this")
        for event in events:
            print(_compact(event) if chosen.json else as_event(event), flush=True)
        _tell(f"system {system.pid} has ended")


def show_top(chosen: Any) -> None:
    """Print what the system does, again and again until it ends; with `--once`, once."""
    pid, facts = _look(chosen, chosen.pid)
    if chosen.once:
        print(as_json(facts) if chosen.json else as_top(facts))
        return
    terminal = sys.stdout.isatty() and not chosen.json
    first = True
    while True:
        if not (terminal or chosen.json or first):
            print()
        print(_shown(facts, chosen, terminal=terminal), flush=True)
        first = False
        try:
            pid, facts = _look(chosen, pid)
        except CommandFailed:
            if not _has_ended(pid):
                raise
            _tell(f"system {pid} has ended")
            return


def _look(chosen: Any, pid: int | None) -> tuple[int, Any]:
    with connect(pid) as system:
        asked = {"seconds": chosen.interval, "rows": chosen.rows, "by": chosen.sort}
        return system.pid, system.ask(
            "top", wait=_REPLY + min(max(0.0, chosen.interval), LONGEST), **asked
        )


def _shown(facts: Any, chosen: Any, *, terminal: bool) -> str:
    if chosen.json:
        return _compact(facts)
    text = as_top(facts)
    if not terminal:
        return text
    width, height = shutil.get_terminal_size()
    return _CLEAR + "\n".join(line[:width] for line in text.splitlines()[: height - 1])


def _has_ended(pid: int) -> bool:
    try:
        connect(pid).close()
    except CommandFailed as error:
        return error.code == NOT_RUNNING
    return False


def _compact(facts: Any) -> str:
    return json.dumps(facts, ensure_ascii=(sys.stdout.encoding or "ascii").lower() != "utf-8")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
