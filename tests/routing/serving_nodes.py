"""Nodes in this process for routing tests, a router with serving nodes, and running on each loop.

Rule 1: no test sleeps. Virtual time moves by `advance`; the network is waited for by `until`.
"""

import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import anyio

from actors._base.loop import Loop
from actors._base.run_loop import open_loop, run_on
from actors.routing import (
    Address,
    HandedOver,
    LearningServer,
    Listener,
    OpaquePolicy,
    Policy,
    Router,
    Server,
    Sticky,
    node_policy,
    serve,
)
from tests.routing.virtual_loop import VirtualLoop

_PATIENCE = 30.0


class FakeNode:
    """A node in this process that dups what it is handed and acknowledges when asked to, or at once."""

    def __init__(
        self,
        router: Router,
        name: str,
        slot: int,
        *,
        auto_ack: bool = True,
        auto_close: bool = False,
    ) -> None:
        self.router = router
        self.name = name
        self.slot = slot
        self.auto_ack = auto_ack
        self.auto_close = auto_close
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
            if self.auto_ack:
                self.acknowledge(connection)
            if self.auto_close:
                self.finish(connection)

    def acknowledge(self, connection: int) -> None:
        self.router.on_acks(self.name, [connection], [], [])

    def finish(self, connection: int) -> None:
        self.socks.pop(connection).close()
        self.router.on_acks(self.name, [], [], [connection])

    def refuse(self, connection: int) -> None:
        self.socks.pop(connection).close()
        self.router.on_acks(self.name, [], [connection], [])

    def close(self) -> None:
        for sock in self.socks.values():
            sock.close()
        self.socks.clear()


def connect(router: Router) -> socket.socket:
    """Connect to a router's TCP port; the kernel completes this without the router."""
    return socket.create_connection(("127.0.0.1", router.port), timeout=_PATIENCE)


def accepted(loop: VirtualLoop, router: Router, count: int) -> None:
    """Wait until the router has accepted *count* connections."""
    loop.until(lambda: router.snapshot().accepted >= count, f"{count} accepted")


def totals(router: Router) -> list[int]:
    """Return how many connections each node got, in order of slots."""
    return [node.total for node in router.snapshot().nodes]


def reset(sock: socket.socket) -> None:
    """Close so that the other side sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def fds() -> int:
    """Count the descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


class ServingNode:
    """A node in this process that really serves what it is handed."""

    def __init__(self, router: Router, name: str, slot: int) -> None:
        self.router = router
        self.name = name
        self.slot = slot
        self.server: Server | None = None
        self.binder = DirectBinder(self)
        self.closed: list[int] = []
        self.refused: list[int] = []

    def hand_over(self, handed: Sequence[HandedOver], listener: str) -> None:
        assert self.server is not None
        assert listener == self.router.spec.name
        for connection, fd, client in handed:
            assert client is not None
            self.server.take(connection, socket.socket(fileno=os.dup(fd)))


class DirectAcks:
    """Passes what the server of a node acknowledges to the router, without a link between."""

    def __init__(self, node: ServingNode) -> None:
        self._node = node
        self._router = node.router

    def acknowledged(self, number: int) -> None:
        self._router.on_acks(self._node.name, [number], [], [])

    def refused(self, number: int) -> None:
        self._node.refused.append(number)
        self._router.on_acks(self._node.name, [], [number], [])

    def closed(self, number: int) -> None:
        self._node.closed.append(number)
        self._router.on_acks(self._node.name, [], [], [number])


class DirectBinder:
    """Has the router bind keys, without a link between; what it does first is up to the test."""

    def __init__(self, node: ServingNode) -> None:
        self._node = node
        self.before: Callable[[], Awaitable[object]] | None = None
        self.asked: list[tuple[int, str]] = []
        """For each call: how many keys, and the client."""

    async def bind(self, digests: Sequence[bytes], client: str) -> None:
        self.asked.append((len(digests), client))
        if self.before is not None:
            await self.before()
        self._node.router.bind(self._node.slot, digests, client)

    def unlearned(self) -> None:
        self._node.router.on_unlearned(self._node.name)


class Served:
    """A router and serving nodes on one real event loop."""

    def __init__(self, spec: Listener, loop: Loop, system: object = None) -> None:
        self.facts: list[object] = []
        self.spec = spec
        self.loop = loop
        self.system = system
        self.router = Router(spec, loop, self.facts.append)
        self.nodes: list[ServingNode] = []

    @property
    def port(self) -> int:
        return self.router.port

    async def join(self) -> ServingNode:
        node = ServingNode(self.router, f"web-{len(self.nodes)}", len(self.nodes))
        node.server = serve(
            replace(self.spec, policy=_handed_over(self.spec.policy)),
            self.loop,
            DirectAcks(node),
            report=self.facts.append,
            system=self.system,
            binder=node.binder,
        )
        await node.server.start()
        self.nodes.append(node)
        slots = [node.slot for node in self.nodes]
        for each in self.nodes:
            assert each.server is not None
            each.server.slots_changed(each.slot, slots, slots)
        if self.router.bindings_fd is not None and isinstance(node.server, LearningServer):
            node.server.attach_bindings(os.dup(self.router.bindings_fd))
        self.router.add_node(node)
        return node

    async def __aenter__(self) -> Self:
        self.router.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.router.close()
        for node in self.nodes:
            if node.server is not None:
                await node.server.stop()


async def eventually(true: Callable[[], object]) -> None:
    """Let the loop run until *true* returns something true; the test's deadline ends the wait."""
    while not true():  # noqa: ASYNC110 - there is no event to wait for
        await anyio.sleep(0.001)


LOOPS = ("asyncio", "uvloop", "trio")


def run(kind: str, test: Callable[[Loop], Awaitable[None]], seconds: float = 20) -> None:
    """Run *test* with the loop shim of asyncio, uvloop or trio."""

    async def main() -> None:
        with anyio.fail_after(seconds):
            async with open_loop() as loop:
                await test(loop)

    run_on(main, backend="trio" if kind == "trio" else "asyncio", uvloop=kind == "uvloop")


def _handed_over(policy: Policy) -> Policy:
    """Return what a node is told that a router hands its connections to, whatever the policy."""
    return node_policy(policy) if isinstance(policy, Sticky) else OpaquePolicy()
