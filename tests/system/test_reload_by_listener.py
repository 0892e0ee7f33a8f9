"""Nodes go on with new code however work comes to them: accepted by themselves, over TLS, as datagrams."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, Self

import anyio
import pytest

from actors import Topology, asgi, listen, nodes
from actors._system.system import coordinator_of
from actors.keys import ip
from actors.policies import LeastConnections, ReusePort, Sticky
from actors.routing import AnyRouter
from actors.testing import running_system
from tests.routing.certificates import Certified
from tests.system.reload_rig import Code, Load

PATIENCE: Final = 60.0
ANYWHERE: Final = "127.0.0.1:0"


class Sender(asyncio.DatagramProtocol):
    """One client of a UDP port: sends numbers at an even rate, and expects each of them back, once."""

    def __init__(self, rate: float) -> None:
        self.version = ""
        self.missing: set[int] = set()
        self.wrong: list[str] = []
        self._every = 1 / rate
        self._news = anyio.Event()

    def datagram_received(self, data: bytes, _addr: object) -> None:
        """Take an answer."""
        number, _, self.version = data.decode().partition(" ")
        if int(number) in self.missing:
            self.missing.remove(int(number))
        else:
            self.wrong.append(data.decode())
        self._news.set()
        self._news = anyio.Event()

    @asynccontextmanager
    async def running(self, port: int) -> AsyncIterator[Self]:
        """Send for as long as the block runs; what was sent last is waited for."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: self, remote_addr=("127.0.0.1", port)
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send, transport)
            yield self
            tasks.cancel_scope.cancel()
        while self.missing:
            await self._news.wait()
        transport.close()

    async def _send(self, transport: asyncio.DatagramTransport) -> None:
        for number in itertools.count():
            self.missing.add(number)
            transport.sendto(b"%d" % number)
            await anyio.sleep(self._every)

    async def see(self, version: str) -> None:
        """Wait for an answer of *version*."""
        while self.version != version:
            await self._news.wait()


async def renew_under_load(code: Code, folder: Path, *, rate: float, reloads: int) -> None:
    """Reload a system with a listener of every way while clients ask each of them; nobody may lose anything."""
    certified = Certified(folder)
    served = asgi(code.app)
    topology = Topology(
        nodes=[nodes("web", count=2)],
        listeners=[
            listen(served, ANYWHERE, policy=ReusePort(), name="own"),
            listen(served, ANYWHERE, policy=LeastConnections(), name="shared"),
            listen(served, ANYWHERE, name="tls", **certified.files),
            listen(code.datagrams, f"udp://{ANYWHERE}"),
        ],
    )
    with anyio.fail_after(PATIENCE + 30 * reloads):
        async with running_system(topology) as system, AsyncExitStack() as stack:
            routers = [listener.router for listener in coordinator_of(system).listeners]
            own, shared, tls, udp = [router.port for router in routers if router is not None]
            trust = certified.client()
            loads = [
                Load(own, rate=rate, keep=False),
                Load(own, rate=rate),
                Load(shared, rate=rate, keep=False),
                Load(tls, rate=rate, tls=trust),
                Load(tls, rate=rate / 4, keep=False, tls=trust),
            ]
            for load in loads:
                await stack.enter_async_context(load.running())
            senders = [
                await stack.enter_async_context(Sender(rate / 4).running(udp)) for _ in "1234"
            ]
            for number in range(reloads):
                version = f"version {number}"
                certified.renew()
                code.write(version)
                await system.reload(surge=number % 2 == 1)
                for load in loads:
                    await load.see(version)
                for sender in senders:
                    await sender.see(version)
            await stack.aclose()
            assert [load.failures for load in loads] == [[] for _ in loads]
            assert [(sender.wrong, sender.missing) for sender in senders] == [([], set())] * 4
            assert dropped(routers) == 0


def dropped(routers: list[AnyRouter | None]) -> int:
    return sum(router.snapshot().dropped for router in routers if router is not None)


@pytest.fixture
def anyio_backend() -> str:
    """One loop: the clients are written for it, and the nodes have their own."""
    return "asyncio"


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Code:
    monkeypatch.syspath_prepend(str(tmp_path))
    written = Code(tmp_path)
    written.write("first")
    return written


async def test_a_reload_loses_nothing_however_work_comes_to_the_nodes(
    code: Code, tmp_path: Path
) -> None:
    await renew_under_load(code, tmp_path, rate=40, reloads=1)


async def test_after_a_reload_of_a_single_node_and_after_scaling_nobody_is_told_that_there_is_no_node(
    code: Code,
) -> None:
    policies = (LeastConnections(), ReusePort(), Sticky(ip()))
    topology = Topology(
        nodes=[nodes("web")],
        listeners=[
            listen(
                asgi(code.app), ANYWHERE, policy=policy, name=repr(policy), unavailable_after=0.1
            )
            for policy in policies
        ],
    )
    with anyio.fail_after(PATIENCE):
        async with running_system(topology) as system, AsyncExitStack() as stack:
            routers = [listener.router for listener in coordinator_of(system).listeners]
            ports = [router.port for router in routers if router is not None]
            loads = [Load(port, rate=100, keep=keep) for port in ports for keep in (True, False)]
            for load in loads:
                await stack.enter_async_context(load.running())
            code.write("second")
            await system.reload()
            for load in loads:
                await load.see("second")
            for count in (3, 1):
                await system.scale("web", count)
                for load in loads:
                    await load.see("second")
            await stack.aclose()
    assert [load.failures for load in loads] == [[] for _ in loads]
