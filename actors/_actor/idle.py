"""Idleness of one incarnation: since when it has had no message, and the timers that tell it so.

Rule 1: a message costs nothing: the message loop says when it begins to wait, if there are such timers.
Rule 2: what the actor sends itself (ticks of timers, notices) is no message, and ends no idleness.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop, Timer

__all__ = ["IdleTimer", "Idleness"]


class IdleTimer:
    """Tells its actor once when it has been idle for so many seconds; again after the next message.

    Args:
        seconds: more than 0.
        tell: called when the time is over.
    """

    __slots__ = ("_began", "_handle", "_idleness", "_tell", "seconds", "told")

    def __init__(self, idleness: Idleness, seconds: float, tell: Callable[[], None]) -> None:
        self.seconds = seconds
        self.told = False
        """Whether it has told its actor, and no message has come since."""
        self._idleness = idleness
        self._tell = tell
        self._handle: Timer | None = None
        self._began = idleness.now()
        idleness.timers.add(self)
        self.arm()

    def cancel(self) -> None:
        """End it."""
        self._idleness.timers.discard(self)
        if self._handle is not None:
            self._handle.cancel()

    def arm(self) -> None:
        """Have it look when its time is over, unless it is going to, or has told its actor."""
        if self._handle is None and not self.told:
            self._handle = self._idleness.call_later(max(self._left(), 0.0), self._look)

    def _left(self) -> float:
        return max(self._idleness.since, self._began) + self.seconds - self._idleness.now()

    def _look(self) -> None:
        self._handle = None
        if self not in self._idleness.timers:
            return
        if self._left() > 0:
            self.arm()
        elif self._idleness.is_idle():
            self.told = True
            self._tell()
        # Else it is armed again when the actor waits for its next message.


class Idleness:
    """Since when an actor has been idle.

    Args:
        loop: the loop it runs in.
        is_idle: whether it waits for a message now, and nothing of it runs.

    Attributes:
        since: when it began to wait for a message the last time, in seconds on the loop's clock.
        timers: those that are set.
    """

    def __init__(self, loop: Loop, is_idle: Callable[[], bool]) -> None:
        self.now: Callable[[], float] = loop.now
        self.call_later: Callable[..., Timer] = loop.call_later
        self.is_idle = is_idle
        self.since: float = loop.now()
        self.timers: set[IdleTimer] = set()
        self._messages = -1

    def waits(self, messages: int) -> None:
        """Note that the actor waits, and how many messages it has handled."""
        if messages != self._messages:
            self._messages = messages
            self.begin()
            return
        for timer in self.timers:
            timer.arm()

    def begin(self) -> None:
        """Note that something of the actor has just ended: it is idle from now on at the earliest."""
        self.since = self.now()
        for timer in self.timers:
            timer.told = False
            timer.arm()
