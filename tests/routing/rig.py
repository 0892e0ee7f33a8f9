"""What routing tests stand on: virtual time over real sockets, and nodes in this process.

Rule 1: no test sleeps. Time moves by `advance`; the network is waited for by `until`.
"""

import heapq
import itertools
import os
import selectors
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import anyio

from actors._base.loop import Loop as LoopShim
from actors._base.run_loop import open_loop, run_on
from actors.routing import Address, HandedOver, Listener, Router, Server, serve, told

_PATIENCE = 30.0


class VirtualTimer:
    """A call at a virtual time."""

    def __init__(self, fn: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.fn: Callable[..., object] | None = fn
        self.args = args

    def cancel(self) -> None:
        self.fn = None


class VirtualLoop:
    """Watches real descriptors with epoll; its clock moves only when told to."""

    def __init__(self) -> None:
        self._now = 100.0
        self._timers: list[tuple[float, int, VirtualTimer]] = []
        self._order = itertools.count()
        self._selector = selectors.DefaultSelector()
        self.wakeups = 0

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


class FakePlace:
    """A node in this process that dups what it is handed and answers when told to, or at once."""

    def __init__(
        self, router: Router, name: str, slot: int, *, prompt: bool = True, brief: bool = False
    ) -> None:
        self.router = router
        self.name = name
        self.slot = slot
        self.prompt = prompt
        self.brief = brief
        self.broken: OSError | None = None
        self.got: list[int] = []
        self.socks: dict[int, socket.socket] = {}
        self.clients: list[Address] = []

    def hand_over(self, handed: Sequence[HandedOver], listener: str) -> None:
        assert listener == self.router.spec.name
        if self.broken is not None:
            raise self.broken
        for connection, fd, client in handed:
            self.got.append(connection)
            self.clients.append(client)
            self.socks[connection] = socket.socket(fileno=os.dup(fd))
            if self.prompt:
                self.router.acknowledged(self.name, connection)
            if self.brief:
                self.finish(connection)

    def finish(self, connection: int) -> None:
        self.socks.pop(connection).close()
        self.router.closed(self.name, connection)

    def refuse(self, connection: int) -> None:
        self.socks.pop(connection).close()
        self.router.refused(self.name, connection)

    def close(self) -> None:
        for sock in self.socks.values():
            sock.close()
        self.socks.clear()


def connect(router: Router) -> socket.socket:
    """Connect to a router's TCP port; the kernel completes this without the router."""
    return socket.create_connection(("127.0.0.1", router.port), timeout=_PATIENCE)


def accepted(loop: VirtualLoop, router: Router, count: int) -> None:
    """Wait until the router has accepted so many."""
    loop.until(lambda: router.snapshot().accepted >= count, f"{count} accepted")


def totals(router: Router) -> list[int]:
    """Return how many connections each node got, in order of slots."""
    return [place.total for place in router.snapshot().places]


def reset(sock: socket.socket) -> None:
    """Close so that the other side sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def fds() -> int:
    """Count the descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


class ServingPlace:
    """A node in this process that really serves what it is handed."""

    def __init__(self, router: Router, name: str, slot: int) -> None:
        self.router = router
        self.name = name
        self.slot = slot
        self.server: Server | None = None
        self.closed: list[int] = []
        self.refused: list[int] = []

    def hand_over(self, handed: Sequence[HandedOver], listener: str) -> None:
        assert self.server is not None
        assert listener == self.router.spec.name
        for connection, fd, client in handed:
            assert client is not None
            self.server.take(connection, socket.socket(fileno=os.dup(fd)))

    def on_acknowledge(self, connection: int) -> None:
        self.router.acknowledged(self.name, connection)

    def on_closed(self, connection: int) -> None:
        self.closed.append(connection)
        self.router.closed(self.name, connection)

    def on_refused(self, connection: int) -> None:
        self.refused.append(connection)
        self.router.refused(self.name, connection)


class Served:
    """A router and serving nodes on one real event loop."""

    def __init__(self, spec: Listener, loop: LoopShim, system: object = None) -> None:
        self.facts: list[object] = []
        self.spec = spec
        self.loop = loop
        self.system = system
        self.router = Router(spec, loop, self.facts.append)
        self.places: list[ServingPlace] = []

    @property
    def port(self) -> int:
        return self.router.port

    async def join(self) -> ServingPlace:
        place = ServingPlace(self.router, f"web-{len(self.places)}", len(self.places))
        place.server = serve(
            replace(self.spec, policy=told(self.spec.policy)),
            self.loop,
            acknowledge=place.on_acknowledge,
            refused=place.on_refused,
            closed=place.on_closed,
            report=self.facts.append,
            system=self.system,
        )
        await place.server.start()
        self.places.append(place)
        slots = [place.slot for place in self.places]
        for each in self.places:
            assert each.server is not None
            each.server.placed(each.slot, slots, slots)
        self.router.joined(place)
        return place

    async def __aenter__(self) -> Self:
        self.router.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.router.close()
        for place in self.places:
            if place.server is not None:
                await place.server.stop()


async def eventually(true: Callable[[], object]) -> None:
    """Let the loop go on until something is so; the test's own deadline ends the wait."""
    while not true():  # noqa: ASYNC110 - what is waited for has no event to give
        await anyio.sleep(0.001)


LOOPS = ("asyncio", "uvloop", "trio")


def run(kind: str, test: Callable[[LoopShim], Awaitable[None]], seconds: float = 20) -> None:
    """Run *test* with the loop shim of asyncio, uvloop or trio."""

    async def main() -> None:
        with anyio.fail_after(seconds):
            async with open_loop() as loop:
                await test(loop)

    run_on(main, backend="trio" if kind == "trio" else "asyncio", uvloop=kind == "uvloop")
