"""Nodes in this process that get their work from a socket they are given; for tests."""

import socket
from dataclasses import replace
from typing import Self

from actors._base.loop import Loop as LoopShim
from actors.routing import AnyRouter, Listener, SocketServer, new_router, serve, told


class ServingSeat:
    """A node in this process that serves what comes to the socket it is given."""

    def __init__(self, router: AnyRouter, name: str, slot: int) -> None:
        self.router = router
        self.name = name
        self.slot = slot
        self.server: SocketServer | None = None
        self.broken: OSError | None = None
        self.asked = 0

    def seat(self, listener: str, limit: int | None, fds: tuple[int, ...]) -> None:
        self.asked += 1
        socks = [socket.socket(fileno=fd) for fd in fds]
        if self.broken is not None:
            for sock in socks:
                sock.close()
            raise self.broken
        assert self.server is not None
        assert listener == self.router.spec.name
        self.server.seat(limit, *socks)

    def give(self, fd: int, listener: str) -> None:
        assert self.server is not None
        assert listener == self.router.spec.name
        self.server.take(0, socket.socket(fileno=fd))

    def unseat(self, listener: str) -> None:
        assert self.server is not None
        assert listener == self.router.spec.name
        self.server.unseat()

    def counted(self, open_: int, total: int) -> None:
        assert not hasattr(self.router, "acknowledged")
        self.router.counted(self.name, open_, total)


class Seating:
    """A router whose nodes get their work themselves, on one real event loop."""

    def __init__(self, spec: Listener, loop: LoopShim) -> None:
        self.facts: list[object] = []
        self.spec = spec
        self.loop = loop
        self.router = new_router(spec, loop, self.facts.append)
        self.seats: list[ServingSeat] = []

    def told(self, kind: type) -> list[object]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    @property
    def opens(self) -> list[int]:
        return [place.open for place in self.router.snapshot().places]

    @property
    def totals(self) -> list[int]:
        return [place.total for place in self.router.snapshot().places]

    async def ready(self, name: str | None = None, slot: int | None = None) -> ServingSeat:
        """Make a node that is ready to join."""
        number = len(self.seats)
        seat = ServingSeat(self.router, name or f"web-{number}", number if slot is None else slot)
        server = serve(
            replace(self.spec, policy=told(self.spec.policy)),
            self.loop,
            acknowledge=_never,
            refused=_never,
            closed=_never,
            counted=seat.counted,
            report=self.facts.append,
        )
        assert isinstance(server, SocketServer)
        seat.server = server
        await server.start()
        self.seats.append(seat)
        return seat

    async def join(self, count: int = 1) -> list[ServingSeat]:
        made = [await self.ready() for _ in range(count)]
        for seat in made:
            self.router.joined(seat)  # type: ignore[arg-type]
        return made

    async def kill(self, seat: ServingSeat) -> None:
        """End a node as if its process had gone."""
        assert seat.server is not None
        await seat.server.stop()
        self.router.left(seat, dead=True)  # type: ignore[arg-type]

    async def __aenter__(self) -> Self:
        self.router.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.router.close()
        for seat in self.seats:
            if seat.server is not None:
                await seat.server.stop()


def _never(connection: int) -> None:
    raise AssertionError(f"nobody handed over {connection}")
