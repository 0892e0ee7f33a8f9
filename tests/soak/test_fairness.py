"""Fairness over real processes: 5,000 short connections over 12 nodes, and long ones that come and go."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from actors import LeastConnections, RoundRobin, System, Topology, listen, nodes
from actors._system.system import coordinator_of
from actors.routing import AcceptRouter, Policy
from actors.testing import running_system

NODES = 12
SHORT = 5000
AT_A_TIME = 8
PATIENCE = 240.0

pytestmark = [pytest.mark.soak, pytest.mark.timeout(PATIENCE + 60)]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return ("asyncio", {"use_uvloop": True})


def topology(policy: Policy) -> Topology:
    handler = "tests.end_to_end.echo_handler:echo"
    return Topology(
        nodes=[nodes("web", count=NODES)], listeners=[listen(handler, "127.0.0.1:0", policy=policy)]
    )


def router_of(system: System) -> AcceptRouter:
    router = coordinator_of(system).listeners[0].router
    assert isinstance(router, AcceptRouter)
    return router


def opens(router: AcceptRouter) -> list[int]:
    return [place.open for place in router.snapshot().nodes]


async def settled(router: AcceptRouter, count: int) -> None:
    while sum(opens(router)) != count:  # noqa: ASYNC110 - it has no event to give
        await anyio.sleep(0.01)


async def answered(stream: SocketStream) -> str:
    """Return which node answers."""
    await stream.send(b"x")
    return (await stream.receive()).decode().partition(" ")[0]


@pytest.mark.parametrize(
    "policy, most",
    [(RoundRobin(), 1.05), (LeastConnections(), 1.2)],
    ids=str,
)
async def test_5000_short_connections_over_12_nodes(
    policy: Policy, most: float, no_leaks: None
) -> None:
    with anyio.fail_after(PATIENCE):
        async with running_system(topology(policy)) as system:
            router = router_of(system)
            served: Counter[str] = Counter()

            async def client(count: int) -> None:
                for _ in range(count):
                    async with await anyio.connect_tcp("127.0.0.1", router.port) as stream:
                        served[await answered(stream)] += 1

            async with anyio.create_task_group() as tasks:
                for number in range(AT_A_TIME):
                    tasks.start_soon(client, len(range(number, SHORT, AT_A_TIME)))
            print(f"\n{policy}: {sorted(served.values())}")  # noqa: T201 - a soak shows what it has counted
            assert (len(served), served.total()) == (NODES, SHORT)
            assert max(served.values()) <= most * min(served.values())


async def test_long_connections_that_come_and_go_stay_within_one(no_leaks: None) -> None:
    chance = random.Random(12)
    with anyio.fail_after(PATIENCE):
        async with running_system(topology(LeastConnections())) as system:
            router = router_of(system)
            held: list[SocketStream] = []
            for _ in range(10):
                while len(held) < 20 * NODES:
                    held.append(await anyio.connect_tcp("127.0.0.1", router.port))
                assert {await answered(stream) for stream in held} == {
                    f"web/{slot}" for slot in range(NODES)
                }
                assert opens(router) == [20] * NODES
                chance.shuffle(held)
                for stream in held[3 * NODES :]:
                    await stream.aclose()
                held = held[: 3 * NODES]
                await settled(router, len(held))
            for stream in held:
                await stream.aclose()
            await settled(router, 0)
