"""Tasks that a node's start waits for: what they ask of the system must not wait for the start of that.

Rule: it is the task itself that is waited for, and not those that it starts.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["set_waited", "waited_start"]

_waited: WeakKeyDictionary[asyncio.Task[Any], str] = WeakKeyDictionary()


def set_waited(task: asyncio.Task[Any], what: str) -> None:
    """Say that a start waits for *task*, which runs *what*; "" says that it does no more."""
    if what:
        _waited[task] = what
    else:
        _waited.pop(task, None)


def waited_start() -> str:
    """Return what the calling task runs, if a start waits for it; "" otherwise."""
    with suppress(RuntimeError):  # no task of asyncio
        task = asyncio.current_task()
        if task is not None:
            return _waited.get(task, "")
    return ""
