"""The default pool, and workers that hold too much memory between two tasks."""

from __future__ import annotations

import anyio

from actors import System, Topology
from actors.testing import running_system
from tests.pools import tasks
from tests.pools.conftest import Pools
from tests.pools.functions import square


async def test_the_first_callers_of_offload_at_once_share_one_pool() -> None:
    with anyio.fail_after(60):
        async with running_system(Topology()) as system:
            results: list[int] = []

            async def one(number: int) -> None:
                results.append(await system.offload(square, number))

            async with anyio.create_task_group() as group:
                for number in range(10):
                    group.start_soon(one, number)

            assert sorted(results) == [number**2 for number in range(10)]
            assert {node.group for node in system.nodes} - {"local"} == {"offload"}
            found = await system.pool("offload")
            assert found is not None
            assert (await found.stats()).completed == 10


async def test_a_worker_that_holds_too_much_is_renewed_between_two_tasks_and_none_fails(
    system: System, pools: Pools
) -> None:
    events = system.events()
    async with pools(max_rss=150 << 20) as extra:
        first = await extra.run(tasks.hold, 130 << 20)
        with anyio.fail_after(20):
            while await extra.run(tasks.pid) == first:  # noqa: ASYNC110 - it is looked at now and then
                await anyio.sleep(0.05)
        assert (await extra.stats()).failed == 0
    events.close()
    assert "worker_renewed" in [event.kind async for event in events]
