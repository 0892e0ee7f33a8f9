"""Fixtures of the routing tests: everything opened is closed, and descriptors are counted."""

import gc
import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from actors.routing import Listener, Policy, Router, listen
from tests.routing.apps import happened
from tests.routing.certificates import Certified
from tests.routing.serving_nodes import FakeNode, connect, fds, run
from tests.routing.virtual_loop import VirtualLoop


class Rig:
    """A router on a virtual loop with nodes in this process."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.facts: list[object] = []
        self.routers: list[Router] = []
        self.nodes: list[FakeNode] = []
        self.clients: list[socket.socket] = []

    def router(
        self,
        policy: Policy | None = None,
        *,
        spec: Listener | None = None,
        max_pending: int = 1024,
        max_connections: int | None = None,
        max_peeking: int = 1024,
        max_batch: int = 8,
    ) -> Router:
        spec = spec or listen(
            "app:handle",
            "127.0.0.1:0",
            policy=policy,
            max_pending=max_pending,
            max_connections=max_connections,
            max_peeking=max_peeking,
        )
        router = Router(spec, self.loop.as_loop(), self.facts.append, max_batch=max_batch)
        router.open()
        self.routers.append(router)
        return router

    def join(
        self, router: Router, count: int = 1, *, auto_ack: bool = True, auto_close: bool = False
    ) -> list[FakeNode]:
        first = len(self.nodes)
        made = [
            FakeNode(router, f"web-{slot}", slot, auto_ack=auto_ack, auto_close=auto_close)
            for slot in range(first, first + count)
        ]
        self.nodes += made
        for node in made:
            router.add_node(node)
        return made

    def connect(self, router: Router, count: int = 1) -> list[socket.socket]:
        made = [connect(router) for _ in range(count)]
        self.clients += made
        return made

    def reported(self, kind: type) -> list[object]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for node in self.nodes:
            node.close()
        for router in self.routers:
            router.close()
        self.loop.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


@pytest.fixture(scope="session", autouse=True)
def _uvloop_has_opened_its_descriptors() -> None:
    """Let libuv open the descriptors it never closes: a signal pipe, a spare descriptor."""

    async def connect_once(_: object) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            await (await anyio.connect_tcp("127.0.0.1", listening.getsockname()[1])).aclose()

    run("uvloop", connect_once)


@pytest.fixture(autouse=True)
def _descriptors_are_flat(_uvloop_has_opened_its_descriptors: None) -> Iterator[None]:
    before = fds()
    yield
    if fds() > before:
        gc.collect()  # a failed connection attempt may leave a cycle that holds its socket
    assert fds() <= before, "descriptors leaked"


@pytest.fixture(autouse=True)
def _nothing_has_happened() -> None:
    happened.clear()


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    return Certified(tmp_path)
