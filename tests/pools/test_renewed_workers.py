"""A worker that the pool itself ends comes back at once, and nobody is charged for it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

import actors
from actors import Actor
from actors.errors import DeadlineExceeded
from tests.pools.functions import nap, pid

_CHARGED = {"node_died", "restart_scheduled", "child_start_failed", "restarts_given_up"}


class Teller(Actor):
    """Says in which process it is."""

    async def pid(self) -> int:
        return pid()


@pytest.fixture
def anyio_backend() -> str:
    """One loop: nothing depends on the parent's."""
    return "asyncio"


async def _kinds(events: Any) -> Counter[str]:
    counted: Counter[str] = Counter()
    async for event in events:
        counted[event.kind] += 1
    return counted


@pytest.mark.parametrize("cls", [None, Teller])
async def test_a_pool_that_recycles_after_each_task_has_a_fresh_process_for_each(
    cls: type[Teller] | None,
) -> None:
    async with actors.System() as system:
        events = system.events()
        work = [] if cls is None else [cls]
        pool = await system.start(actors.pool(*work, name="p", size=1, recycle=1))
        with anyio.fail_after(60):
            pids = [await (pool.ask(Teller.pid) if cls else pool.run(pid)) for _ in range(6)]
    assert len(set(pids)) == 6
    counted = await _kinds(events)
    assert not _CHARGED & set(counted)
    assert counted["worker_renewed"] == 6
    assert counted["node_replaced"] >= 5


async def test_a_worker_whose_task_is_late_is_ended_and_comes_back_uncharged() -> None:
    async with actors.System() as system:
        events = system.events()
        pool = await system.start(actors.pool(name="p", size=1, grace=0.0))
        before = await pool.run(pid)
        for _ in range(3):
            with pytest.raises(DeadlineExceeded):
                await pool.within(0.05).run(nap, 30.0)
            with anyio.fail_after(20):
                after = await pool.run(pid)
            assert after != before
            before = after
    counted = await _kinds(events)
    assert not _CHARGED & set(counted)
    assert counted["worker_ended"] == counted["node_replaced"] == 3
