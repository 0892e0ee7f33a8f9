"""Deadlines between machines: as times of the parent's clock, whatever the clocks of sender and receiver show.

Rule: neither end drops a message early: what is not known of a clock is added to the deadline. A message runs
after its deadline by twice that at most, which is half the round trip to the parent for each end.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors._base.loop import Loop

__all__ = ["FarDeadlines"]


class FarDeadlines:
    """Translates for one process.

    Attributes:
        ahead: seconds by which the parent's clock (CLOCK_BOOTTIME) is ahead of this machine's.
        error: seconds by which that may be wrong.
    """

    def __init__(self) -> None:
        self.ahead: float = 0.0
        self.error: float = 0.0

    def set(self, ahead: float, error: float) -> None:
        """Take what was measured last."""
        self.ahead, self.error = ahead, error

    def to_wire(self, loop: Loop, at: float) -> float:
        """Return a time of *loop*'s clock as one of the parent's."""
        return at - loop.now() + _boot_time() + self.ahead + self.error

    def from_wire(self, loop: Loop, at: float) -> float:
        """Return a time of the parent's clock as one of *loop*'s."""
        return at - self.ahead + self.error - _boot_time() + loop.now()


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
