"""How many workers a pool should have; pure arithmetic.

The growth by a part of the workers that there are is that of the resizer of Akka's routers.
"""

from __future__ import annotations

from math import ceil
from typing import Final

__all__ = ["clamped", "grown", "shrunk"]

_GROWTH: Final = 0.2
"""The part of its workers by which a pool grows at a time, rounded up."""
_SHRINKAGE: Final = 0.1
"""The part of its workers that end at a time, rounded up."""


def clamped(size: int, least: int, most: int) -> int:
    """Return the nearest size within the bounds."""
    return min(max(size, least), most)


def grown(size: int, busy: int, queued: int, least: int, most: int) -> int:
    """Return the size of a pool in which tasks wait; it grows if every worker is busy.

    Args:
        size: how many workers there are.
        busy: how many of them take no more tasks because they run enough.
        queued: how many tasks wait.
        least: the fewest workers.
        most: the most.
    """
    if queued and busy >= size:
        size += ceil(_GROWTH * size)
    return clamped(size, least, most)


def shrunk(size: int, idle: int, least: int) -> int:
    """Return the size of a pool of which the last *idle* workers have had nothing to do for long enough."""
    return max(least, size - min(idle, ceil(_SHRINKAGE * size)))
