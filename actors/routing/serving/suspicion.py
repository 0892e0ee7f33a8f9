"""Whether the node that is next to accept reacts, as another node sees it.

Rule 1: pure; times are nanoseconds. A node that has looked in the meantime is never suspected.
Rule 2: patience grows with how late this node's own timers are: where the whole machine is short of CPU, a
node that is late does not hang.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Suspicion"]

_LEAST: Final = 10_000_000
"""Nanoseconds for which clients wait at least for a node that does not look."""
_TIMES: Final = 4
_DECAY: Final = 0.9


class Suspicion:
    """Remembers whom clients wait for, and since when."""

    def __init__(self) -> None:
        self.seat: int = -1
        """The seat of a node that does not react, -1 for none."""
        self.stamp: int = 0
        """When that node had looked last."""
        self._awaited: tuple[int, int] | None = None
        self._since = 0
        self._lateness = float(_LEAST)

    @property
    def open(self) -> bool:
        """Whether it remains to be seen if a node reacts."""
        return self._awaited is not None

    @property
    def patience(self) -> float:
        """How long clients may wait now for a node that does not look."""
        return _LEAST + _TIMES * self._lateness

    def timer_was_late(self, late: float) -> None:
        """Take note of how late a timer of this node has just been."""
        self._lateness = max(late, _DECAY * self._lateness)

    def nobody_waits(self) -> None:
        """No clients wait, or this node may accept them."""
        self._awaited = None

    def clients_wait(self, seat: int, stamp: int, now: int) -> bool:
        """Clients wait for the node in *seat*; return whether it is suspected from now on."""
        if self._awaited != (seat, stamp):
            self._awaited, self._since = (seat, stamp), now
            return False
        if now - self._since < self.patience:
            return False
        self._awaited = None
        self.seat, self.stamp = seat, stamp
        return True
