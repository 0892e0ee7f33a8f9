"""Fences: numbers of which a system gives a greater one to each start of an actor.

Rule: the process that made the system gives them out, so no two clocks have to agree. It begins with its own
time, so that a system that is started again goes on above the one before.
"""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Fences"]


class Fences:
    """Gives out numbers, each greater than those before.

    Args:
        first: the number below all that are given out; None is the time, in microseconds since the epoch. No
            program starts a million actors a second, so the numbers stay behind the clock.

    Attributes:
        first: the same.
        next: returns a number greater than all before it.
    """

    __slots__ = ("first", "next")

    def __init__(self, first: int | None = None) -> None:
        self.first: int = time.time_ns() // 1000 if first is None else first
        self.next: Callable[[], int] = count(self.first + 1).__next__
