"""Functions on workers: what can be run, what is refused, and how each end of a task is told."""

from __future__ import annotations

import gc
import operator
import os
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import Pool, System, pool
from actors.errors import (
    DeadlineExceeded,
    InvalidSpec,
    MailboxFull,
    NotSendable,
    OutOfMemory,
    PoisonTask,
    StartFailed,
    TaskExited,
    WorkerLost,
)
from actors.testing import eventually
from tests.pools import tasks
from tests.pools.conftest import Pools

Work = Pool[Any]


@pytest.mark.parametrize(
    "fn, args, result",
    [
        (tasks.add, (1, 2), 3),
        (tasks.add_soon, (1, 2), 3),
        (tasks.coroutine_of, (1, 2), 3),
        (tasks.own_loop, (), "inside"),
        (operator.add, (1, 2), 3),
        (len, ([1, 2],), 2),
        (complex, (1, 2), 1 + 2j),
        (tasks.Point.named, (3,), "Point 3"),
        (tasks.Point.twice, (3,), 6),
        (partial(tasks.add, right=5), (1,), 6),
        (partial(partial(tasks.add_soon, right=5), left=2), (), 7),
        (tasks.fork_and_exit, (), 3),
    ],
)
async def test_what_can_be_imported_can_be_run(
    work: Work, fn: Callable[..., Any], args: Any, result: Any
) -> None:
    assert await work.run(fn, *args) == result


@pytest.mark.parametrize("fn", [tasks.raise_odd, tasks.raise_odd_soon])
async def test_an_error_is_raised_as_itself_with_the_traceback_of_its_function(
    work: Work, fn: Callable[..., Any]
) -> None:
    with pytest.raises(tasks.OddError) as caught:
        await work.run(fn)

    assert caught.value.args == (7, "odd")
    assert f"in {fn.__name__}" in "".join(traceback.format_exception(caught.value))


def _closure() -> Callable[[], int]:
    value = 1

    def inner() -> int:
        return value

    return inner


REFUSED = {
    "a lambda": (lambda: 1, (), NotSendable, "is a lambda: a worker cannot import it"),
    "a closure": (_closure(), (), NotSendable, "inner is defined inside another function"),
    "a bound method": (
        tasks.Unsendable().method,
        (),
        NotSendable,
        "Unsendable.method is a method bound to Unsendable",
    ),
    "a generator function": (
        tasks.generate,
        (),
        InvalidSpec,
        "pool 'work': generate is a generator function",
    ),
    "no function": (3, (), InvalidSpec, "run takes a function and its arguments, got 3"),
    "an argument": (
        tasks.pid,
        (tasks.Unsendable(),),
        NotSendable,
        "Unsendable is not a known type",
    ),
    "a result": (
        tasks.unsendable_result,
        (),
        NotSendable,
        "reply: cannot send .*Unsendable is not a known type",
    ),
    "too few arguments": (tasks.add, (), TypeError, "missing 1 required positional argument"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_cannot_run_has_one_clear_error_and_the_worker_goes_on(
    work: Work, what: str
) -> None:
    fn, args, kind, message = REFUSED[what]
    before = await work.run(tasks.pid)

    with pytest.raises(kind, match=message):
        await work.run(fn, *args)  # type: ignore[call-overload] # wrong on purpose

    assert await work.run(tasks.pid) == before


async def test_a_coroutine_in_place_of_a_function_is_refused_and_closed(work: Work) -> None:
    with pytest.raises(InvalidSpec, match="give run the function and its arguments, not a coro"):
        await work.run(tasks.add_soon(1, 2))  # type: ignore[call-overload] # wrong on purpose
    gc.collect()  # a coroutine that was not closed would warn, which fails the test


@pytest.mark.parametrize(
    "options, message",
    [
        ({"timeout": 0}, "timeout must be more than 0 seconds, or None, got 0"),
        ({"timeout": True}, "timeout must be more than 0 seconds, or None, got True"),
        ({"retry": -1}, "retry must be a whole number of 0 or more, got -1"),
        ({"priority": "high"}, "of 64 bits at most; higher runs first, got 'high'"),
    ],
)
async def test_options_that_can_never_work_are_refused(
    work: Work, options: Any, message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message):
        await work.run(tasks.pid, **options)


@pytest.mark.parametrize(
    "fn, args, raised",
    [
        (tasks.exit_politely, (3,), r"SystemExit\(3\)"),
        (tasks.exit_politely_soon, (3,), r"SystemExit\(3\)"),
        (tasks.interrupt, (), r"KeyboardInterrupt\(\)"),
    ],
)
async def test_a_task_that_wants_to_exit_fails_alone_and_its_worker_is_renewed(
    work: Work, fn: Any, args: Any, raised: str
) -> None:
    before = await work.run(tasks.pid)

    with pytest.raises(TaskExited, match=f"{fn.__name__} raised {raised}"):
        await work.run(fn, *args)

    assert await work.run(tasks.pid) != before


@pytest.mark.parametrize(
    "fn, how", [(tasks.exit_at_once, "exit code 9"), (tasks.segfault, "killed by SIGSEGV")]
)
async def test_a_task_whose_worker_dies_fails_with_how_it_died(
    work: Work, fn: Any, how: str
) -> None:
    with pytest.raises(WorkerLost, match=f"{fn.__name__}: its worker has ended: {how}"):
        await work.run(fn)

    assert await work.run(tasks.add, 1, 2) == 3


async def test_c68_what_waits_for_a_worker_that_dies_runs_on_the_next(work: Work) -> None:
    results: list[Any] = [None] * 4

    async def run(number: int, fn: Any, *args: Any) -> None:
        try:
            results[number] = await work.run(fn, *args)
        except WorkerLost:
            results[number] = "lost"

    async with anyio.create_task_group() as group:
        group.start_soon(run, 0, tasks.exit_at_once)
        for number in (1, 2, 3):
            group.start_soon(run, number, tasks.add, number)

    assert sorted(map(str, results)) == ["2", "3", "4", "lost"]


async def test_a_task_with_a_retry_survives_one_death(work: Work, tmp_path: Path) -> None:
    assert await work.run(tasks.kill_self_once, str(tmp_path / "died"), retry=1) == "second"


async def test_a_task_that_ended_two_workers_is_not_tried_again(work: Work, tmp_path: Path) -> None:
    log = tmp_path / "log"

    with pytest.raises(PoisonTask, match="kill_self has ended two workers and is not tried again"):
        await work.run(tasks.kill_self, str(log), retry=5)

    assert log.read_text() == "xx"


async def test_a_late_coroutine_is_cancelled_and_its_process_goes_on(
    work: Work, tmp_path: Path
) -> None:
    log, before = tmp_path / "log", await work.run(tasks.pid)
    late: Any = tasks.note_and_wait

    with pytest.raises(DeadlineExceeded, match=r"note_and_wait had 0\.3 s, .* while it ran"):
        await work.run(late, str(log), timeout=0.3)

    assert await work.run(tasks.pid) == before
    assert log.read_text() == "wc"


async def test_c68_a_late_function_loses_its_process_and_the_worker_serves_again(
    system: System, work: Work, tmp_path: Path
) -> None:
    log, before = tmp_path / "log", await work.run(tasks.pid)
    events = system.events()

    with pytest.raises(DeadlineExceeded, match=r"note_and_spin had 0\.3 s, .* while it ran"):
        await work.run(tasks.note_and_spin, str(log), timeout=0.3)

    assert await work.run(tasks.pid) != before
    seen = []
    async for event in events:
        seen.append(event.kind)
        if event.kind == "node_ready":
            break
    assert "worker_ended" in seen
    assert "node_replaced" in seen
    assert "node_died" not in seen


async def test_a_task_is_late_also_while_it_waits(work: Work, tmp_path: Path) -> None:
    go, before = tmp_path / "go", await work.run(tasks.pid)
    async with anyio.create_task_group() as group:
        group.start_soon(partial(work.run, tasks.wait_for, str(go)))
        await _runs(work, 1)
        with pytest.raises(DeadlineExceeded, match=r"pid had 0\.05 s, which ended in the queue"):
            await work.run(tasks.pid, timeout=0.05)
        assert (await work.stats()).queued == 0
        go.touch()

    assert await work.run(tasks.pid) == before


@pytest.mark.parametrize(
    "fn, grace, same", [(tasks.note_and_wait, 30.0, True), (tasks.note_and_spin, 0.1, False)]
)
async def test_a_cancelled_coroutine_leaves_its_process_and_a_spinning_function_does_not(
    pools: Pools, tmp_path: Path, fn: Any, grace: float, same: bool
) -> None:
    log = tmp_path / "log"
    async with pools(grace=grace) as extra:
        before = await extra.run(tasks.pid)
        async with anyio.create_task_group() as group:
            group.start_soon(extra.run, fn, str(log))
            await eventually(log.exists)
            group.cancel_scope.cancel()

        assert (await extra.run(tasks.pid) == before) is same


async def test_a_full_queue_makes_run_wait_and_refuses_run_nowait(
    pools: Pools, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    async with pools(queue=0) as extra:
        async with anyio.create_task_group() as group:
            group.start_soon(extra.run, tasks.wait_for, str(go))
            await _runs(extra, 1)
            with pytest.raises(MailboxFull, match=r"pool 'extra'.*its queue of 0 is full"):
                await extra.run_nowait(tasks.pid)
            with pytest.raises(DeadlineExceeded, match="ended before the queue had room"):
                await extra.run(tasks.pid, timeout=0.05)
            value = [1]
            later: list[Any] = []

            async def run() -> None:
                later.append(await extra.run(sum, value))

            group.start_soon(run)
            await anyio.wait_all_tasks_blocked()
            value.append(5)  # after its snapshot
            assert (await extra.stats()).queued == 0
            go.touch()

        assert later == [1]


async def test_what_runs_beside_a_killed_task_is_lost_and_tried_again_by_its_own_retry(
    pools: Pools, tmp_path: Path
) -> None:
    log, once, twice = tmp_path / "log", tmp_path / "once", tmp_path / "twice"
    ends: dict[str, Any] = {}
    async with pools(at_once=3) as extra:

        async def beside(name: str, retry: int) -> None:
            try:
                ends[name] = await extra.run(
                    tasks.note_and_wait_for, str(tmp_path / name), retry=retry
                )
            except WorkerLost as error:
                ends[name] = str(error)

        async with anyio.create_task_group() as group:
            group.start_soon(beside, once.name, 0)
            group.start_soon(beside, twice.name, 1)
            await eventually(lambda: once.exists() and twice.exists())
            with pytest.raises(DeadlineExceeded):
                await extra.run(tasks.note_and_spin, str(log), timeout=0.2)

    assert "note_and_spin ran longer than its 0.2 s" in ends["once"]
    assert ends["twice"] == "nn"


async def test_too_much_memory_ends_the_worker_and_the_task_is_not_tried_again(
    pools: Pools,
) -> None:
    async with pools(max_rss=150 << 20) as extra:
        with pytest.raises(OutOfMemory, match="MiB resident, max_rss is 150 MiB"):
            await extra.run(tasks.fill_memory, 4 << 20, retry=3)

        assert await extra.run(tasks.add, 1) == 2


async def test_a_worker_is_recycled_after_so_many_tasks(pools: Pools) -> None:
    async with pools(recycle=2) as extra:
        pids = [await extra.run(tasks.pid) for _ in range(5)]

    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


async def test_each_worker_begins_with_init_and_has_its_environment_and_niceness(
    pools: Pools,
) -> None:
    async with pools(init=tasks.begin, env={"COLOUR": "red"}, nice=3) as extra:
        assert await extra.run(tasks.begun) == ["begun"]
        assert await extra.run(tasks.variable, "COLOUR") == "red"
        assert await extra.run(tasks.niceness) == os.nice(0) + 3


async def test_an_init_that_raises_fails_whoever_starts_the_pool(
    system: System, work: Work
) -> None:
    with pytest.raises(StartFailed, match=r"failed to start: OddError: .*no licence"):
        await system.start(pool(name="extra", size=1, init=tasks.fail_to_begin))

    assert await system.pool("extra") is None
    assert await work.run(tasks.add, 1) == 2


async def test_a_second_pool_of_a_name_is_refused(system: System, work: Work) -> None:
    with pytest.raises(InvalidSpec, match="there is a pool 'work' already"):
        await system.start(pool(name="work", size=1))

    assert await work.run(tasks.add, 1) == 2


async def test_a_pool_grows_while_tasks_wait_and_shrinks_when_workers_are_idle(
    pools: Pools, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    async with pools(size=None, min=1, max=2, idle=0.05) as extra:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(extra.run, tasks.wait_for, str(go))
            await _runs(extra, 2)
            go.touch()
        with anyio.fail_after(20):
            while len((await extra.stats()).workers) > 1:  # noqa: ASYNC110 - no event says it
                await anyio.sleep(0.02)

        assert await extra.resize(9) == 2
        assert await extra.resize(1) == 1
        assert await extra.run(tasks.add, 1) == 2


@pytest.mark.parametrize(
    "options, message",
    [
        ({"recycle": 3}, "recycle=3 needs workers with process nodes of their own"),
        ({"max_rss": 3}, "max_rss=3 needs workers with process nodes of their own"),
        ({"nice": 3}, "nice=3 needs workers with process nodes of their own"),
    ],
)
def test_what_a_thread_cannot_do_is_refused_by_name(options: Any, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        pool(kind="thread", **options)


async def test_workers_in_threads_refuse_timeouts_and_survive_an_exit(pools: Pools) -> None:
    async with pools(kind="thread") as extra:
        with pytest.raises(InvalidSpec, match=r"timeout=1 needs workers .* cannot be ended"):
            await extra.run(tasks.pid, timeout=1)
        with pytest.raises(TaskExited, match="exit_politely raised"):
            await extra.run(tasks.exit_politely, 3)

        assert await extra.run(tasks.add, 1) == 2


async def test_workers_may_be_spread_over_a_group_that_runs_others(pools: Pools) -> None:
    async with pools(on="box", size=2) as extra:
        with pytest.raises(InvalidSpec, match="on='box' also runs others"):
            await extra.run(tasks.pid, timeout=1)

        assert await extra.run(tasks.pid) == await extra.run(tasks.pid)


async def _runs(some: Any, count: int) -> None:
    with anyio.fail_after(20):
        while (await some.stats()).running < count:  # noqa: ASYNC110 - no event says it
            await anyio.sleep(0.01)
