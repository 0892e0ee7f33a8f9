"""How long a server takes for requests, connections or datagrams, measured while somebody looks.

Rule: while nobody looks a request costs two looks at an attribute; nothing ever costs a system call.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from actors._base.durations import Histogram

__all__ = ["RequestTimes"]


class RequestTimes:
    """The times of one server.

    Attributes:
        on: whether what begins now is measured.
        began: what is being measured, with the time at which it began.
    """

    __slots__ = ("_histogram", "_until", "began", "on")

    def __init__(self) -> None:
        self.on: bool = False
        self.began: dict[object, float] = {}
        self._until = 0.0
        self._histogram = Histogram()

    def look(self, seconds: float) -> list[Any]:
        """Return what was measured so far as `Histogram.raw`, and measure for *seconds* more."""
        self.on = True
        self._until = max(self._until, perf_counter() + seconds)
        return self._histogram.raw()

    def begin(self, what: object) -> None:
        """Note that *what* begins; call it if `on`."""
        now = perf_counter()
        if now > self._until:
            self.on = False
        else:
            self.began[what] = now

    def end(self, what: object, *, counts: bool = True) -> None:
        """Note that *what* has ended; it is forgotten unless it *counts*."""
        began = self.began.pop(what, None)
        if began is not None and counts:
            self._histogram.add(perf_counter() - began)
