"""Tasks that wait for their own pool run while it has workers, and are refused when none will be free."""

from __future__ import annotations

from typing import Any

import pytest

from actors import Pool
from actors.errors import CallCycle, TaskExited
from actors.testing import eventually
from tests.pools import tasks
from tests.pools.conftest import Pools


@pytest.mark.parametrize("fn", [tasks.nested, tasks.nested_blocking])
@pytest.mark.parametrize("kind", ["process", "thread"])
async def test_a_task_that_waits_for_its_own_pool_is_refused_only_when_no_worker_is_left(
    pools: Pools, fn: Any, kind: str
) -> None:
    async with pools(size=2, kind=kind) as extra:
        assert await extra.run(fn, extra, 1) == 1
        with pytest.raises(CallCycle, match="every worker runs a task that waits for another one"):
            await extra.run(fn, extra, 2)

        assert await extra.run(fn, extra, 1) == 1
        stats = await extra.stats()
        assert (stats.queued, stats.running) == (0, 0)


@pytest.mark.parametrize("fn", [tasks.nested, tasks.nested_blocking, tasks.nested_by_actor])
@pytest.mark.parametrize("kind", ["process", "thread"])
async def test_workers_that_run_several_are_free_until_all_of_those_wait(
    pools: Pools, fn: Any, kind: str
) -> None:
    async with pools(size=2, at_once=2, kind=kind) as extra:
        assert await extra.run(fn, extra, 3) == 3
        with pytest.raises(CallCycle, match="every worker runs a task that waits for another one"):
            await extra.run(fn, extra, 4)

        assert await extra.run(fn, extra, 3) == 3

        async def at_rest() -> bool:
            stats = await extra.stats()
            return (stats.queued, stats.running) == (0, 0)

        await eventually(at_rest)  # a node says that its task is over behind the result


async def test_a_pool_that_may_grow_does_so_for_a_task_that_waits_for_it(pools: Pools) -> None:
    async with pools(size=None, min=1, max=3, kind="thread") as extra:
        assert await extra.run(tasks.nested, extra, 2) == 2
        with pytest.raises(CallCycle):
            await extra.run(tasks.nested, extra, 3)


async def test_a_function_that_raises_what_is_no_exception_fails_alone(work: Pool[Any]) -> None:
    with pytest.raises(TaskExited, match=r"raise_from_below raised GeneratorExit\(\)"):
        await work.run(tasks.raise_from_below)

    assert await work.run(tasks.add, 1) == 2
