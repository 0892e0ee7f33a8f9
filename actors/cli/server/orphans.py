"""Makes this process the new parent of what nodes and programs leave behind, and reaps it when it has ended.

Rule: it reaps by number what is known not to be ours. `waitpid(-1)` would take the ends of others.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

from actors._base.process_stat import process_stat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actors._base.loop import Loop

__all__ = ["become_subreaper", "reaping_orphans"]

_EVERY: Final = 2.0
"""Seconds between two looks. What is ours is known, or reaped, well before the second one."""
_ZOMBIE: Final = "Z"
_PR_SET_CHILD_SUBREAPER: Final = 36


@contextmanager
def reaping_orphans(loop: Loop, ours: Callable[[], set[int]]) -> Iterator[None]:
    """Reap the orphans that `become_subreaper` has this process adopt, for the length of the block."""
    task = loop.start(_reap, ours, name="reap orphans")
    try:
        yield
    finally:
        task.cancel()


async def _reap(ours: Callable[[], set[int]]) -> None:
    """Reap for ever what has been a zombie for two looks and is none of *ours*."""
    before: set[int] = set()
    while True:
        now = _zombies() - ours() if _has_zombie() else set()
        for pid in before & now:
            _reap_one(pid)
        before = now
        await anyio.sleep(_EVERY)


def _reap_one(pid: int) -> None:
    with suppress(ChildProcessError):  # whoever started it was faster
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


def become_subreaper() -> bool:
    """Have orphans of this process's descendants become its children; return whether they do.

    To be called before anything is started: what a program leaves behind at once is adopted as well.
    """
    if os.getpid() == 1:
        return True
    try:
        library = ctypes.CDLL(None, use_errno=True)
        return not library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (AttributeError, OSError):  # no Linux
        return False


def _has_zombie() -> bool:
    """Return whether a child of this process has ended and is not reaped: one system call, mostly."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # it has no children
        return False


def _zombies() -> set[int]:
    """Return the numbers of this process's dead children, without those of its own process group.

    Nodes, and so what they start, are in other groups. What is in ours was started by code in this
    process, which waits for it itself.
    """
    own = (os.getpid(), os.getpgrp())
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):  # it has ended meanwhile
                state, parent, group = process_stat(entry.name)[:3]
                if (state, int(parent)) == (_ZOMBIE, own[0]) and int(group) != own[1]:
                    found.add(int(entry.name))
    return found
