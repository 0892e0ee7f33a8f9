"""An event loop for tests: real descriptors, and a clock that moves only by `advance`."""

import heapq
import itertools
import selectors
import time
from collections.abc import Callable
from typing import Any, cast

from actors._base.loop import Loop

_PATIENCE = 30.0


class VirtualTimer:
    """A call at a virtual time."""

    def __init__(self, fn: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.fn: Callable[..., object] | None = fn
        self.args = args

    def cancel(self) -> None:
        self.fn = None


class VirtualLoop:
    """Watches real descriptors with epoll; its clock moves only by `advance`."""

    def __init__(self) -> None:
        self._now = 100.0
        self._timers: list[tuple[float, int, VirtualTimer]] = []
        self._order = itertools.count()
        self._selector = selectors.DefaultSelector()
        self.wakeups = 0

    def as_loop(self) -> Loop:
        """Return this for what needs no more of a loop than timers and readable descriptors."""
        return cast("Loop", self)

    def now(self) -> float:
        return self._now

    def call_soon(self, fn: Callable[..., object], /, *args: Any) -> VirtualTimer:
        return self.call_later(0, fn, *args)

    def call_later(self, seconds: float, fn: Callable[..., object], /, *args: Any) -> VirtualTimer:
        timer = VirtualTimer(fn, args)
        heapq.heappush(self._timers, (self._now + seconds, next(self._order), timer))
        return timer

    def watch_readable(self, fd: int, fn: Callable[[], object], /) -> None:
        self._selector.register(fd, selectors.EVENT_READ, fn)

    def unwatch_readable(self, fd: int, /) -> None:
        self._selector.unregister(fd)

    @property
    def timers(self) -> int:
        return sum(1 for _, _, timer in self._timers if timer.fn is not None)

    @property
    def watched(self) -> int:
        return len(self._selector.get_map())

    def poll(self, wait: float = 0.0) -> int:
        """Run what is readable now, once; return how many callbacks that were."""
        ready = self._selector.select(wait)
        watched = self._selector.get_map()
        for key, _ in ready:
            if key.fd in watched and watched[key.fd].data is key.data:
                self.wakeups += 1
                key.data()
        return len(ready)

    def settle(self) -> None:
        """Run what is readable until nothing is."""
        for _ in range(10_000):
            if not self.poll():
                return
        raise AssertionError("a descriptor stays readable: this is a busy loop")

    def until(self, true: Callable[[], object], what: str = "") -> None:
        """Wait for the network, not for a clock."""
        end = time.monotonic() + _PATIENCE
        while not true():
            self.poll(0.05)
            assert time.monotonic() < end, f"waited in vain for {what or true}"

    def advance(self, seconds: float) -> None:
        """Move the clock, running what becomes due in order."""
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, when)
            if timer.fn is not None:
                timer.fn(*timer.args)
        self._now = end

    def close(self) -> None:
        self._selector.close()
