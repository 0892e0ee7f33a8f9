"""What wakes a node whose turn it is to accept: an eventfd for each node, which the others write to.

Rule 1: a node is rung once for each look of its own: otherwise it has not heard the first bell yet.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import suppress

__all__ = ["Bells"]


class Bells:
    """The bell of this node, and those of the others by their seats. Owns all of them.

    Args:
        own: the bell of this node, non-blocking.
    """

    def __init__(self, own: int) -> None:
        self.own = own
        self._others: dict[int, int] = {}
        self._rung: tuple[int, int] | None = None

    def add(self, numbers: Sequence[int], bells: Sequence[int]) -> None:
        """Take the bells of other seats."""
        for number, bell in zip(numbers, bells, strict=True):
            old, self._others[number] = self._others.get(number), bell
            if old is not None:
                os.close(old)

    def keep(self, numbers: Collection[int]) -> None:
        """Close the bells of all seats but these."""
        for number in self._others.keys() - set(numbers):
            os.close(self._others.pop(number))

    def __contains__(self, number: object) -> bool:
        """Whether the node of seat *number* can be rung."""
        return number in self._others

    def hear(self) -> None:
        """Take note of the own bell, so that it can be rung again."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.own)

    def ring(self, number: int, stamp: int) -> None:
        """Wake the node of seat *number*, which has looked last at *stamp*."""
        if self._rung == (number, stamp):
            return
        self._rung = number, stamp
        bell = self._others.get(number)
        if bell is not None:
            with suppress(BlockingIOError):  # it has been rung so often that it will hear it
                os.eventfd_write(bell, 1)

    def close(self) -> None:
        """Close all bells."""
        self.keep(())
        os.close(self.own)
