"""Memory that an agent shares with the nodes of its machine: until when they may run.

Rule: only the agent writes. A node that can no longer read it has no lease.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import Final

__all__ = ["LeasePage", "boot_time"]

_NANOSECONDS: Final = 1_000_000_000


def boot_time() -> float:
    """Seconds since this machine was started, those in which it was suspended among them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeasePage:
    """The agent's end of it, which it owns: an unnamed file with one number.

    Nodes read the time, in nanoseconds of CLOCK_BOOTTIME, from the file at `path`.
    """

    def __init__(self) -> None:
        self._fd = os.memfd_create("actors-lease")
        try:
            os.ftruncate(self._fd, mmap.PAGESIZE)
            self._map = mmap.mmap(self._fd, mmap.PAGESIZE)
        except BaseException:
            os.close(self._fd)
            raise
        # One store of eight bytes, so that nobody reads half of it.
        self._number = memoryview(self._map).cast("Q")

    @property
    def path(self) -> str:
        """Where a process of the same user, or of root, opens it while this process lives."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    @property
    def until(self) -> float:
        """When the lease is over, in seconds of CLOCK_BOOTTIME; 0 before the first `move`."""
        return self._number[0] / _NANOSECONDS

    def move(self, until: float) -> None:
        """Let nodes run until then, unless they may run for longer already."""
        self._number[0] = max(self._number[0], int(max(until, 0.0) * _NANOSECONDS))

    def close(self) -> None:
        """Close this end; a node that holds its lease keeps the last time it read."""
        self._number.release()
        self._map.close()
        os.close(self._fd)
