"""Disconnects a client that keeps its connection waiting: for a head, a body, or the next request.

Rule 1: one timer a connection. What is waited for changes with every request; the timer is only set anew
when it would fire too late, and looks at what is waited for when it fires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

__all__ = ["LAST_HEAD", "ClientTimer", "Part"]

LAST_HEAD: Final = 1.0
"""Seconds from its begin in which a head may still come when the server closes idle connections: a client that
has just connected, or has sent a part of a head, needs a round trip, or two if a packet is lost."""

Part: TypeAlias = Literal["", "head", "body", "idle", "linger"]
"""What a client has to do next: finish the head or the body, begin the next request (idle), or read the error
that it was sent, while what it still sends is discarded (linger); "" for nothing."""


class ClientTimer:
    """What one client is waited for, and since when.

    Args:
        loop: the loop of the connection.
        limits: seconds for each part.
        late: called with the part when its time is over; it may call `wait_for` or `extend`.
    """

    __slots__ = ("_due", "_late", "_limits", "_loop", "_since", "_timer", "part")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: Mapping[Part, float],
        late: Callable[[Part], None],
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._late = late
        self.part: Part = ""
        self._since = 0.0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def wait_for(self, part: Part) -> None:
        """Wait for *part* from now on."""
        self.part = part
        if part:
            self._since = self._loop.time()
            self._set(self._since + self._limits[part])

    def moved(self) -> None:
        """Take note that the client has sent something of the body: its time begins anew."""
        self._since = self._loop.time()

    def extend(self, seconds: float) -> None:
        """Look again in *seconds*, without a new begin."""
        self._since = self._loop.time() + seconds - self._limits[self.part]
        self._set(self._since + self._limits[self.part])

    def shorten(self, limit: float) -> bool:
        """Wait for *limit* seconds since the begin, if that is less; return whether they are not over yet."""
        rest = self._since + min(limit, self._limits[self.part]) - self._loop.time()
        if rest > 0:
            self.extend(rest)
        return rest > 0

    def close(self) -> None:
        """Wait for nothing any more."""
        self.part = ""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, due: float) -> None:
        if self._timer is not None:
            if self._due <= due:
                return  # it looks again when it fires
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_at(due, self._fired)

    def _fired(self) -> None:
        self._timer = None
        if not self.part:
            return
        due = self._since + self._limits[self.part]
        if self._loop.time() < due:
            self._set(due)
        else:
            self._late(self.part)
