"""Whether it pays to look into a ring again and again for a moment, before the process sleeps.

To be woken costs 10 us and more of both processes, 50 on a virtual machine. So a reader that has found
something looks on for a moment, as long as that finds something often enough, while the other process runs on
another CPU. Where all CPUs are busy that one gets the reader's own CPU, and the reader would only have kept it
from working. Pure: no clock.
"""

from collections.abc import Callable
from typing import Final

__all__ = ["WINDOW", "Spin"]

WINDOW: Final = 100_000
"""Nanoseconds for which a reader looks on after it has found something."""
TRIAL: Final = 250_000
"""The same while it is not known whether that pays: at the other end a process has to be woken first."""
_MOST: Final = 8
"""Windows in a row that may find nothing."""
_AGAIN: Final = 64
"""Wake-ups after which it is tried once more, at first."""
_LONGEST: Final = 4096
"""The same after many tries that did not pay."""
_CHECKED: Final = 8
"""Windows that have found something between two looks at the preemptions."""
_PREEMPTED: Final = 1
"""Preemptions in that time that may be chance."""


class Spin:
    """What the windows have brought so far.

    Args:
        preemptions: returns how often this thread has lost its CPU to another one, so far.

    Attributes:
        allowed: whether this process has a second CPU: otherwise looking keeps the peer from working.
    """

    __slots__ = (
        "_after",
        "_credit",
        "_preempted",
        "_preemptions",
        "_unchecked",
        "_wakes",
        "allowed",
        "window",
    )

    def __init__(self, preemptions: Callable[[], int]) -> None:
        self.allowed: bool = True
        self.window: int = TRIAL
        self._preemptions = preemptions
        self._preempted = preemptions()
        self._credit = _MOST // 2
        self._after = _AGAIN
        self._wakes = 0
        self._unchecked = 0

    def found(self) -> None:
        """A window has found something."""
        self.window = WINDOW
        self._unchecked += 1
        if self._credit < _MOST:
            self._credit += 2
        elif self._unchecked < _CHECKED:
            return
        self._check()

    def _check(self) -> None:
        """Give up if this thread had to make room for others: the peer may be one of them."""
        now = self._preemptions()
        lost, self._preempted = now - self._preempted, now
        windows, self._unchecked = self._unchecked, 0
        if lost > (_PREEMPTED if windows > 1 else 0):
            self._give_up()
        elif windows >= _CHECKED:
            self._after = _AGAIN

    def _give_up(self) -> None:
        """Try it again after some wake-ups, the next time after twice as many."""
        self._credit = self._wakes = 0
        self.window = TRIAL

    def missed(self) -> None:
        """A window has found nothing: its CPU time was lost."""
        self._credit -= 1
        if self._credit <= 0:
            self._give_up()

    @property
    def pays(self) -> bool:
        """Whether to look on for a window."""
        return self._credit > 0 and self.allowed

    def woken(self) -> None:
        """The socket has woken this process."""
        if self._credit > 0:
            return
        self._wakes += 1
        if self._wakes >= self._after:
            self._credit = 1
            self._after = min(_LONGEST, self._after * 2)
            self._preempted = self._preemptions()
            self._unchecked = 0
