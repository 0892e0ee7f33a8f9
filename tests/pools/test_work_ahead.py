"""Brief tasks on real workers, which have some in advance: each runs once, whatever happens among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import Actor, Pool, System
from actors._pools import pool_map
from actors.errors import ActorsError, DeadlineExceeded, TaskExited, WorkerLost
from tests.pools import tasks
from tests.pools.conftest import Pools
from tests.pools.functions import nap, square


class Ends:
    """Runs tasks at the same time and keeps what each has returned or raised."""

    def __init__(self, work: Pool[Any]) -> None:
        self.work = work
        self.results: list[Any] = []
        self.errors: list[ActorsError] = []

    async def run(self, fn: Any, *args: Any, **options: Any) -> None:
        try:
            self.results.append(await self.work.run(fn, *args, **options))
        except ActorsError as error:
            self.errors.append(error)


async def warm_up(work: Pool[Any]) -> None:
    """Have the pool know that its tasks are brief."""
    assert [each async for each in work.map(square, range(200), window=100)] == [
        number * number for number in range(200)
    ]


def noted(log: Path) -> Counter[str]:
    return Counter(log.read_text(encoding="utf-8").split())


@pytest.mark.parametrize(
    "fn, args, options, error",
    [
        (tasks.exit_at_once, (9,), {}, WorkerLost),
        (tasks.kill_self, (), {}, WorkerLost),
        (tasks.exit_politely, (3,), {}, TaskExited),
        (nap, (20,), {"timeout": 0.3}, DeadlineExceeded),
    ],
)
async def test_all_others_run_once_when_a_task_among_them_ends_its_worker(
    pools: Pools, tmp_path: Path, fn: Any, args: Any, options: Any, error: type
) -> None:
    log = tmp_path / "log"
    if fn is tasks.kill_self:
        args = (str(tmp_path / "killed"),)
    async with pools(size=2) as work:
        await warm_up(work)
        ends = Ends(work)
        async with anyio.create_task_group() as running:
            for number in range(120):
                running.start_soon(ends.run, tasks.note, str(log), f"{number}\n")
                if number == 60:
                    running.start_soon(lambda: ends.run(fn, *args, **options))
        assert [type(each) for each in ends.errors] == [error]
        assert noted(log) == {str(number): 1 for number in range(120)}


async def test_no_brief_task_waits_for_a_long_one_while_another_worker_is_idle(
    pools: Pools,
) -> None:
    async with pools(size=2) as work:
        await warm_up(work)
        long, brief = Ends(work), Ends(work)
        async with anyio.create_task_group() as running:
            for number in range(100):
                running.start_soon(brief.run, square, number)
                if number == 50:
                    running.start_soon(long.run, nap, 1)
            while len(brief.results) < 100:  # noqa: ASYNC110 - no event says it
                await anyio.sleep(0.005)
            assert not long.results
            running.cancel_scope.cancel()
        assert not brief.errors


async def test_a_task_that_is_cancelled_among_others_ends_alone(
    pools: Pools, tmp_path: Path
) -> None:
    async with pools(size=1, grace=0) as work:
        await warm_up(work)
        ends = Ends(work)
        async with anyio.create_task_group() as running:
            for number in range(100):
                running.start_soon(ends.run, square, number)
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await work.run(tasks.note, str(tmp_path / "log"), "cancelled")
        assert len(ends.results) == 100
        assert not ends.errors


async def test_what_a_thread_of_the_worker_keeps_is_there_for_every_task(pools: Pools) -> None:
    async with pools(size=1) as work:
        names = {await work.run(tasks.thread_name, number) for number in range(3)}
        await warm_up(work)
        async for name in work.map(tasks.thread_name, range(100), window=100):
            names.add(name)
        names.add(await work.run(tasks.thread_name, [1, 2]))
    assert len(names) == 1


class Submitter(Actor):
    """Submits from its node."""

    async def submit(self, work: Pool[Any], log: str) -> tuple[int, list[str]]:
        await warm_up(work)
        ends = Ends(work)
        async with anyio.create_task_group() as running:
            for number in range(100):
                running.start_soon(ends.run, tasks.note, log, f"{number}\n")
                if number == 50:
                    running.start_soon(ends.run, tasks.exit_at_once, 9)
        return len(ends.results), [type(error).__name__ for error in ends.errors]


async def test_tasks_of_another_node_are_as_those_of_the_parent(
    system: System, pools: Pools, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    async with pools(size=1) as work:
        boss = await system.spawn(Submitter, on="box")
        assert await boss.ask(Submitter.submit, work, str(log)) == (100, ["WorkerLost"])
        await boss.stop()
        await boss.wait()
    assert noted(log) == {str(number): 1 for number in range(100)}


@pytest.mark.parametrize(
    "fn, value, options, least, most",
    [
        (square, 3, {}, 9, 32),
        (square, 3, {"chunk": 4}, 33, 128),
        (square, 3, {"window": 3}, 3, 3),
        (nap, 0.02, {}, 4, 4),
    ],
)
async def test_a_map_takes_more_input_at_once_while_its_calls_are_brief(
    pools: Pools,
    monkeypatch: pytest.MonkeyPatch,
    fn: Any,
    value: Any,
    options: Any,
    least: int,
    most: int,
) -> None:
    if fn is square:  # brief on the slowest machine
        monkeypatch.setattr(pool_map, "_BRIEF", 60)
    taken = read = ahead = 0

    def inputs() -> Iterator[Any]:
        nonlocal taken
        for _ in range(10 if fn is nap else 400):
            taken += 1
            yield value

    async with pools(size=1) as work:
        await warm_up(work)
        async for _ in work.map(fn, inputs(), **options):
            ahead = max(ahead, taken - read)
            read += 1
    assert least <= ahead <= most
