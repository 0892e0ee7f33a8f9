"""Reaps the programs that nodes leave behind, where this process is pid 1 and so their new parent.

Rule: it reaps by number what is known not to be ours. `waitpid(-1)` would take the ends of others.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actors._base.loop import Loop

__all__ = ["reaping_orphans"]

_EVERY: Final = 2.0
"""Seconds between two looks. What is ours is known, or reaped, well before the second one."""
_ZOMBIE: Final = "Z"


@contextmanager
def reaping_orphans(loop: Loop, ours: Callable[[], set[int]]) -> Iterator[None]:
    """Reap orphans for the length of the block, if this process is pid 1."""
    if os.getpid() != 1:
        yield
        return
    task = loop.start(_reap, ours, name="reap orphans")
    try:
        yield
    finally:
        task.cancel()


async def _reap(ours: Callable[[], set[int]]) -> None:
    """Reap for ever what has been a zombie for two looks and is none of *ours*."""
    before: set[int] = set()
    while True:
        now = _zombies() - ours()
        for pid in before & now:
            _reap_one(pid)
        before = now
        await anyio.sleep(_EVERY)


def _reap_one(pid: int) -> None:
    with suppress(ChildProcessError):  # whoever started it was faster
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


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
                # The name, in brackets, may have brackets and spaces in it.
                stat = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                state, parent, group = stat[0], int(stat[1]), int(stat[2])
                if (state, parent) == (_ZOMBIE, own[0]) and group != own[1]:
                    found.add(int(entry.name))
    return found
