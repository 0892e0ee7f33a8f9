"""Nodes in this process that take their work from an attached socket, and their router."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Self

from actors._base.loop import Loop
from actors.routing import AnyRouter, Listener, Router, SocketServer, new_router, node_policy, serve


class AttachedNode:
    """A node that closes its socket at once, and counts the clients it is sent."""

    def __init__(self, name: str = "web/0") -> None:
        self.name = name
        self.slot = int(name.partition("+")[0].rpartition("/")[2])
        self.fds: list[int] = []
        self.sent = 0

    def attach_socket(
        self, _listener: str, _limit: int | None, fds: tuple[int, ...], _seat: int | None = None
    ) -> None:
        self.fds += fds

    def add_bells(self, _listener: str, _seats: list[int], fds: tuple[int, ...]) -> None:
        self.fds += fds

    def send_connection(self, fd: int, _listener: str) -> None:
        self.fds.append(fd)
        self.sent += 1

    def detach_socket(self, _listener: str) -> None:
        self.close()

    def close(self) -> None:
        while self.fds:
            os.close(self.fds.pop())


class SocketServingNode:
    """A node in this process that serves what comes in by its attached socket."""

    def __init__(self, router: AnyRouter, name: str, slot: int) -> None:
        self.router = router
        self.name = name
        self.slot = slot
        self.server: SocketServer | None = None
        self.broken: OSError | None = None
        self.asked = 0

    def attach_socket(
        self, listener: str, limit: int | None, fds: tuple[int, ...], seat: int | None = None
    ) -> None:
        self.asked += 1
        if self.broken is not None:
            for fd in fds:
                os.close(fd)
            raise self.broken
        assert self.server is not None
        assert listener == self.router.spec.name
        self.server.attach_socket(limit, fds, seat)

    def add_bells(self, listener: str, seats: list[int], fds: tuple[int, ...]) -> None:
        assert self.server is not None
        assert listener == self.router.spec.name
        self.server.add_bells(seats, fds)

    def send_connection(self, fd: int, listener: str) -> None:
        assert self.server is not None
        assert listener == self.router.spec.name
        self.server.take(0, socket.socket(fileno=fd))

    def detach_socket(self, listener: str) -> None:
        assert self.server is not None
        assert listener == self.router.spec.name
        self.server.detach_socket()

    def counted(self, open_: int, total: int) -> None:
        assert not isinstance(self.router, Router)
        self.router.on_counts(self.name, open_, total)


class SocketCluster:
    """A router whose nodes take their work from sockets, on one real event loop."""

    def __init__(self, spec: Listener, loop: Loop) -> None:
        self.facts: list[object] = []
        self.spec = spec
        self.loop = loop
        self.router = new_router(spec, loop, self.facts.append)
        self.nodes: list[SocketServingNode] = []

    def reported(self, kind: type) -> list[object]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    @property
    def opens(self) -> list[int]:
        return [node.open for node in self.router.snapshot().nodes]

    @property
    def totals(self) -> list[int]:
        return [node.total for node in self.router.snapshot().nodes]

    async def ready(self, name: str | None = None, slot: int | None = None) -> SocketServingNode:
        """Make a node that is ready to be added."""
        number = len(self.nodes)
        node = SocketServingNode(
            self.router, name or f"web-{number}", number if slot is None else slot
        )
        server = serve(
            replace(self.spec, policy=node_policy(self.spec.policy)),
            self.loop,
            _NoAcks(),
            counted=node.counted,
            report=self.facts.append,
        )
        assert isinstance(server, SocketServer)
        node.server = server
        await server.start()
        self.nodes.append(node)
        return node

    async def join(self, count: int = 1) -> list[SocketServingNode]:
        made = [await self.ready() for _ in range(count)]
        for node in made:
            self.router.add_node(node)  # type: ignore[arg-type]
        return made

    async def kill(self, node: SocketServingNode) -> None:
        """End a node as if its process had died."""
        assert node.server is not None
        await node.server.stop()
        self.router.remove_node(node, dead=True)  # type: ignore[arg-type]

    async def __aenter__(self) -> Self:
        self.router.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.router.close()
        for node in self.nodes:
            if node.server is not None:
                await node.server.stop()


class _NoAcks:
    """Fails the test when it is used: no connection is handed over."""

    def acknowledged(self, number: int) -> None:
        raise AssertionError(f"connection {number} was never handed over")

    refused = closed = acknowledged
