"""Whether something is made again and again at a high rate: a counter that costs an addition a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Often"]


class Often:
    """Counts what is made, by a key.

    Args:
        many: how many within that time are often; a power of two more, each time it was asked in vain.
        within: seconds.
        now: returns seconds.
    """

    def __init__(self, many: int, within: float, now: Callable[[], float]) -> None:
        self._many = many
        self._within = within
        self._now = now
        self._counts: dict[str, int] = {}
        self._since: dict[str, float] = {}
        self._wanted: dict[str, int] = {}
        self._told: set[str] = set()

    def count(self, key: str) -> tuple[int, float] | None:
        """Count one more; return how many were made in how many seconds, when those were often.

        The caller says by `told` that this need not be counted any more.
        """
        count = self._counts.get(key, 0) + 1
        self._counts[key] = count
        if count == 1:
            self._since[key] = self._now()
        if count < self._wanted.get(key, self._many):
            return None
        self._counts[key] = 0
        seconds = self._now() - self._since[key]
        if key in self._told or seconds > self._within:
            return None
        self._wanted[key] = 2 * count
        return count, seconds

    def told(self, key: str) -> None:
        """Say nothing about *key* any more."""
        self._told.add(key)
