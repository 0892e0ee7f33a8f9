"""Process nodes that accept in turn: exact shares, and whom a kill, a reload and scaling cost under load."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream

from actors import Backoff, LeastConnections, RoundRobin, System, Topology, listen, nodes
from actors._system.system import coordinator_of
from actors.testing import running_system

PATIENCE = 60.0
RATE = 200

pytestmark = pytest.mark.usefixtures("no_leaks")


async def answer(stream: ByteStream) -> None:
    """Say each word again after a moment, with the number of this process."""
    async for word in stream:
        await anyio.sleep(0.01)
        await stream.send(word + b" %d" % os.getpid())


@asynccontextmanager
async def serving(policy: Any = None, count: int = 4) -> AsyncIterator[System]:
    group = nodes("web", count=count, backoff=Backoff(first=0.05, cap=0.2), shutdown=5.0)
    topology = Topology(nodes=[group], listeners=[listen(answer, "127.0.0.1:0", policy=policy)])
    with anyio.fail_after(PATIENCE):
        async with running_system(topology) as system:
            yield system


def router_of(system: System) -> Any:
    router = coordinator_of(system).listeners[0].router
    assert router is not None
    return router


def opens(system: System) -> list[int]:
    return [place.open for place in router_of(system).snapshot().nodes]


async def eventually(true: Callable[[], object]) -> None:
    while not true():  # noqa: ASYNC110 - what is waited for has no event to give
        await anyio.sleep(0.01)


@pytest.mark.parametrize("policy", [LeastConnections(), RoundRobin()], ids=str)
async def test_120_held_connections_over_four_processes_are_30_each(policy: Any) -> None:
    async with serving(policy) as system, AsyncExitStack() as stack:
        for _ in range(120):
            await stack.enter_async_context(
                await anyio.connect_tcp("127.0.0.1", router_of(system).port)
            )
        await eventually(lambda: sum(opens(system)) == 120)
        assert opens(system) == [30] * 4


class Load:
    """Clients at an even rate, whatever becomes of those before."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.ends: Counter[str] = Counter()
        self.stop = anyio.Event()

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            while not self.stop.is_set():
                tasks.start_soon(self._client)
                await anyio.sleep(1 / RATE)

    async def _client(self) -> None:
        try:
            async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
                await stream.send(b"x")
                self.ends["served" if await stream.receive() else "closed"] += 1
        except OSError:
            self.ends["refused"] += 1
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            self.ends["closed"] += 1


async def under_load(system: System, blow: Callable[[], Awaitable[None]]) -> Counter[str]:
    """Return how the clients ended that came before, during and after *blow*."""
    load = Load(router_of(system).port)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(load.run)
        for step in (None, blow, None):
            if step is not None:
                await step()
            begin = load.ends["served"]
            await eventually(lambda begin=begin: load.ends["served"] > begin + 50)  # type: ignore[misc]
        load.stop.set()
    return load.ends


async def test_a_kill_costs_what_the_node_was_serving_and_one_more_at_most() -> None:
    async with serving() as system:
        core = coordinator_of(system)
        serves: list[int] = []

        async def kill() -> None:
            for name in ("web/0", "web/1", "web/2"):
                node = core.nodes[name]
                pid = node.pid
                assert pid is not None
                os.kill(pid, signal.SIGSTOP)  # so that what it shows is what it dies with
                await eventually(lambda pid=pid: _is_stopped(pid))  # type: ignore[misc]
                shown = {place.name: place.open for place in router_of(system).snapshot().nodes}
                serves.append(shown[node.address])
                os.kill(pid, signal.SIGKILL)
                await eventually(lambda node=node, pid=pid: node.ready and node.pid != pid)  # type: ignore[misc]

        ends = await under_load(system, kill)
        lost = router_of(system).snapshot().lost_unread
        assert lost <= 3
        assert set(ends) <= {"served", "closed"}
        assert ends["closed"] <= sum(serves) + lost


def _is_stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:  # noqa: PTH123 - not a file of a disk
        return stat.read().rpartition(")")[2].split()[0] == "T"


async def test_reload_and_scaling_under_load_cost_nobody_anything() -> None:
    async with serving(count=2) as system:

        async def change() -> None:
            await system.scale("web", 3)
            await system.reload("web")
            await system.scale("web", 1)

        ends = await under_load(system, change)
        assert set(ends) == {"served"}
        assert router_of(system).snapshot().lost_unread == 0
