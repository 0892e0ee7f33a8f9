"""Fences: numbers of which a system gives a greater one to each start of an actor.

Rule: the process that made the system gives them out, so no two clocks have to agree. It begins with its own
time, so that a system that is started again goes on above the one before.
"""

from __future__ import annotations

import time

__all__ = ["Fences"]


class Fences:
    """Gives out numbers, each greater than those before.

    Args:
        first: the number below all that are given out; None is the time, in microseconds since the epoch. No
            program starts a million actors a second, so the numbers stay behind the clock.

    Attributes:
        first: the same.
    """

    __slots__ = ("_last", "first")

    def __init__(self, first: int | None = None) -> None:
        self.first: int = time.time_ns() // 1000 if first is None else first
        self._last = self.first

    def next(self) -> int:
        """Return a number greater than all before it."""
        self._last += 1
        return self._last
