"""The pauses between tries to reach somebody: each twice as long as the one before, up to the longest."""

from __future__ import annotations

from random import random

__all__ = ["Pauses"]


class Pauses:
    """Seconds between tries, by chance between a half and three halves of that: not all come at once.

    Args:
        first: before the second try.
        longest: at most.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = self._next = first
        self._longest = longest

    def next(self) -> float:
        """Return the seconds until the next try."""
        pause, self._next = self._next, min(2 * self._next, self._longest)
        return pause * (0.5 + random())  # noqa: S311 - no secret

    def reset(self) -> None:
        """Begin with the first again: a try has succeeded."""
        self._next = self._first
