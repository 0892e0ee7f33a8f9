"""What users of piscina and of concurrent.futures know, on every kind of worker."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from actors import Buffer, Pool, System, Topology, move, pool
from actors.errors import MailboxFull, NotSendable
from actors.testing import eventually, running_system
from tests.contracts.variables import PROPAGATED, request_id, seen
from tests.pools import functions, tasks
from tests.pools.conftest import Pools

KINDS = ["process", "thread"] + ["interpreter"] * (sys.version_info >= (3, 14))

pytestmark = pytest.mark.parametrize("kind", KINDS)


async def _runs(some: Pool[Any], count: int) -> None:
    with anyio.fail_after(20):
        while (await some.stats()).running < count:  # noqa: ASYNC110 - no event says it
            await anyio.sleep(0.01)


async def test_c59_every_worker_gets_tasks_and_the_rest_serve_when_some_have_gone(
    pools: Pools, kind: str
) -> None:
    async with pools(size=None, min=1, max=4, kind=kind) as extra:
        assert await extra.resize(4) == 4
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(extra.run, time.sleep, 0.1)
            await _runs(extra, 4)
        assert await extra.resize(2) == 2
        for number in range(5):
            assert await extra.run(functions.square, number) == number**2
        assert {worker.name for worker in (await extra.stats()).workers} == {"extra/0", "extra/1"}


async def test_results_are_those_of_a_plain_map_in_order_also_in_chunks(
    pools: Pools, kind: str
) -> None:
    async with pools(size=2, kind=kind) as extra:
        for chunk in (1, 3):
            results = [
                got async for got in extra.map(functions.add, range(10), range(10), chunk=chunk)
            ]
            assert results == [2 * number for number in range(10)]


async def test_an_error_is_raised_where_its_result_would_be_and_the_worker_goes_on(
    pools: Pools, kind: str
) -> None:
    async with pools(kind=kind) as extra:
        with pytest.raises(ValueError, match="bad number 3"):
            await extra.run(functions.fail, 3)
        assert await extra.run(functions.square, 3) == 9


async def test_a_task_that_is_cancelled_while_it_waits_is_never_begun(
    pools: Pools, kind: str, tmp_path: Path
) -> None:
    go, mark = tmp_path / "go", tmp_path / "mark"
    async with pools(kind=kind) as extra, anyio.create_task_group() as group:
        group.start_soon(extra.run, tasks.wait_for, str(go))
        await _runs(extra, 1)
        with anyio.move_on_after(0.05):
            await extra.run(functions.mark_and_nap, str(mark), 0)
        go.touch()
        assert await extra.run(functions.square, 2) == 4
        assert not mark.exists()


async def test_the_highest_priority_is_first_and_equals_come_in_order(
    pools: Pools, kind: str, tmp_path: Path
) -> None:
    go, log = tmp_path / "go", tmp_path / "log"
    async with pools(kind=kind) as extra, anyio.create_task_group() as group:
        group.start_soon(extra.run, tasks.wait_for, str(go))
        await _runs(extra, 1)
        for queued, (what, priority) in enumerate([("c", 0), ("a", 5), ("d", 0), ("b", 5)]):
            group.start_soon(partial(extra.run, tasks.note, str(log), what, priority=priority))
            while (await extra.stats()).queued <= queued:  # noqa: ASYNC110 - no event says it
                await anyio.sleep(0.005)
        go.touch()
        await eventually(lambda: log.exists() and log.read_text() == "abcd")


async def test_what_was_to_be_moved_is_its_senders_again_when_the_task_is_cancelled_in_the_queue(
    pools: Pools, kind: str, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    buffer = Buffer(100_000)
    async with pools(kind=kind) as extra, anyio.create_task_group() as group:
        group.start_soon(extra.run, tasks.wait_for, str(go))
        await _runs(extra, 1)
        with anyio.move_on_after(0.05):
            await extra.run(len, move(buffer))
        assert not buffer.moved
        assert len(buffer) == 100_000
        go.touch()
        assert await extra.run(len, move(buffer)) == 100_000
        assert buffer.moved


async def test_who_was_refused_waits_for_room_and_the_events_say_that_there_is_some(
    system: System, pools: Pools, kind: str, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    events = system.events()
    async with pools(kind=kind, queue=1) as extra, anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(extra.run, tasks.wait_for, str(go))
        await _runs(extra, 1)
        await eventually(lambda: not extra.client._has_room)
        with pytest.raises(MailboxFull):
            await extra.run_nowait(functions.square, 2)
        go.touch()
        with anyio.fail_after(20):
            await extra.wait_for_room()
            assert await extra.run_nowait(functions.square, 2) == 4
    events.close()
    kinds = [event.kind async for event in events if event.kind.startswith("pool_")]
    assert kinds[:2] == ["pool_full", "pool_has_room"]


async def test_other_threads_are_refused_at_the_call_and_get_results_in_order(
    pools: Pools, kind: str
) -> None:
    async with pools(kind=kind) as extra:

        def in_thread() -> list[int]:
            blocking = extra.blocking()
            with pytest.raises(NotSendable, match="a lambda"):
                blocking.map(lambda x: x, [1])
            return list(blocking.map(functions.square, range(4)))

        assert await anyio.to_thread.run_sync(in_thread) == [0, 1, 4, 9]


async def test_a_task_sees_the_context_variables_that_the_system_propagates(kind: Any) -> None:
    with anyio.fail_after(60):
        async with running_system(Topology(propagate=PROPAGATED)) as system:
            work = await system.start(pool(name="work", size=1, kind=kind))
            token = request_id.set("r-7")
            try:
                assert await work.run(seen) == ("r-7", "no tenant", None)
            finally:
                request_id.reset(token)
            assert (await work.run(seen))[0] is None
