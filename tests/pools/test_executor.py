"""A pool as a `concurrent.futures.Executor`, as a stranger to pools uses it."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from concurrent import futures
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import actors
from actors.errors import ActorStopped, InvalidSpec, NotSendable, SystemStopped, WorkerLost
from actors.testing import eventually
from tests.pools.functions import add, fail, square
from tests.pools.waiting import double_later, wait_for_file

PATIENCE = 20.0
LATER: Any = double_later
"""A coroutine function, which an executor runs to its result: no type of the interface says so."""


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
async def one_worker(no_leaks_in_file: None, anyio_backend: str) -> AsyncIterator[actors.Pool[Any]]:
    """A pool of one worker, so that what is submitted second waits."""
    async with actors.System() as system:
        yield await system.start(actors.pool(name="one", size=1))


@pytest.fixture
def executor(one_worker: actors.Pool[Any]) -> Executor:
    return one_worker.executor()


class Gate:
    """Keeps a worker busy until it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def close(self, executor: Executor, result: Any = None) -> Future[Any]:
        """Submit a call that ends when the gate is opened, and wait until it runs."""
        future = executor.submit(wait_for_file, str(self.path), result)
        while not future.running():
            threading.Event().wait(0.002)  # a future has no event for this
        return future

    def open(self) -> None:
        self.path.touch()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "open")


async def beside(body: Callable[[], Any]) -> Any:
    """Run *body* in a thread that is not the loop's."""
    with anyio.fail_after(PATIENCE):
        return await anyio.to_thread.run_sync(body)


async def test_calls_return_with_arguments_by_position_and_by_keyword(executor: Executor) -> None:
    def body() -> None:
        assert executor.submit(pow, 2, 8).result() == 256
        assert executor.submit(add, 2, right=9).result() == 11
        assert executor.submit(partial(add, 1), right=2).result() == 3
        assert executor.submit(dict, self=1, fn=2).result() == {"self": 1, "fn": 2}
        assert executor.submit(LATER, 4).result() == 8
        assert executor.submit(os.getpid).result() != os.getpid()

    await beside(body)


async def test_what_a_call_raises_is_the_exception_of_its_future(executor: Executor) -> None:
    def body() -> None:
        with pytest.raises(ValueError, match="bad number 3"):
            executor.submit(fail, 3).result()
        assert isinstance(executor.submit(divmod, 1, 0).exception(), ZeroDivisionError)
        # An argument that cannot travel is found when the call is sent.
        unsendable = executor.submit(str, threading.Lock())
        assert isinstance(unsendable.exception(), NotSendable)
        assert executor.submit(abs, -1).result() == 1

    await beside(body)


async def test_what_can_never_run_is_refused_at_the_call(executor: Executor) -> None:
    with pytest.raises(NotSendable, match="a lambda: a worker cannot import it"):
        executor.submit(lambda: 1)
    for size in (1, 2):
        with pytest.raises(NotSendable, match="a lambda: a worker cannot import it"):
            executor.map(lambda: 1, [1], chunksize=size)
    with pytest.raises(InvalidSpec, match="run takes a function"):
        executor.submit(3)  # type: ignore[arg-type] # the point
    for size in (0, -2):
        with pytest.raises(
            ValueError, match=f"chunksize must be a whole number of 1 or more, got {size}"
        ):
            executor.map(abs, [1], chunksize=size)
    await beside(executor.shutdown)  # nothing of these is waited for


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_a_map_yields_in_the_order_of_its_input_in_chunks_of_any_size(
    executor: Executor, size: int
) -> None:
    def body() -> None:
        assert list(executor.map(pow, range(10), [2] * 12, chunksize=size)) == [
            number**2 for number in range(10)
        ]
        assert list(executor.map(abs, [], chunksize=size)) == []
        assert list(executor.map(LATER, range(4), chunksize=size)) == [0, 2, 4, 6]
        failing = executor.map(LATER, [1, None, 3], chunksize=size)
        first: Any = next(failing)
        assert first == 2
        with pytest.raises(TypeError, match="NoneType"):
            next(failing)

    await beside(body)


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_a_map_yields_what_comes_before_an_error_and_then_raises_it(
    executor: Executor, size: int
) -> None:
    def body() -> None:
        results = executor.map(divmod, [1, 1, 1, 1], [2, 3, 0, 5], chunksize=size)
        assert [next(results), next(results)] == [(0, 1), (0, 1)]
        with pytest.raises(ZeroDivisionError):
            next(results)
        with pytest.raises(StopIteration):
            next(results)

    await beside(body)


@pytest.mark.parametrize("size", [1, 2])
async def test_a_map_whose_time_is_up_raises_and_cancels_what_waits(
    one_worker: actors.Pool[Any], gate: Gate, size: int
) -> None:
    executor = one_worker.executor()

    def body() -> None:
        busy = gate.close(executor)
        results = executor.map(abs, range(4), timeout=0.01, chunksize=size)
        with pytest.raises(TimeoutError):
            next(results)
        gate.open()
        busy.result()

    await beside(body)

    async def idle() -> bool:
        stats = await one_worker.stats()
        return not stats.queued and not stats.running

    await eventually(idle)


async def test_a_map_keeps_no_result_that_was_read(executor: Executor) -> None:
    def body() -> None:
        found: Any
        for size in (1, 2):
            for found in executor.map(set, [[1]] * 4, chunksize=size):
                there = weakref.ref(found)
                del found
                gc.collect()
                assert there() is None

    await beside(body)


async def test_a_future_that_is_over_keeps_no_worker_busy_and_nothing_of_the_call_but_its_result(
    executor: Executor,
) -> None:
    def body() -> None:
        future = executor.submit(set, [1])
        there = weakref.ref(future.result())
        gc.collect()
        gc.disable()
        try:
            del future  # no cycle keeps the result
            assert there() is None
        finally:
            gc.enable()

    await beside(body)


async def test_a_future_that_waits_can_be_cancelled_and_one_that_runs_cannot(
    executor: Executor, gate: Gate, tmp_path: Path
) -> None:
    def body() -> None:
        busy = gate.close(executor, "done")
        waiting = executor.submit(Path.touch, tmp_path / "never")
        assert not waiting.running()
        assert waiting.cancel()
        assert not busy.cancel()
        with pytest.raises(futures.CancelledError):
            waiting.result()
        gate.open()
        assert busy.result() == "done"
        assert executor.submit(abs, -1).result() == 1
        assert not (tmp_path / "never").exists()

    await beside(body)


async def test_what_was_cancelled_does_not_run_though_its_place_was_free_before_that_was_heard(
    executor: Executor, gate: Gate, tmp_path: Path
) -> None:
    busy = await beside(partial(gate.close, executor))
    waiting = executor.submit(Path.touch, tmp_path / "never")
    gate.open()

    def cancel() -> None:
        threading.Event().wait(0.2)  # the worker's reply comes meanwhile, and is not read
        assert waiting.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    thread.join()  # blocks the loop: it finds the reply, and behind it the cancellation
    await beside(busy.result)
    assert await beside(partial(executor.submit(abs, -1).result)) == 1
    assert not (tmp_path / "never").exists()


async def test_those_who_wait_for_several_futures_hear_of_a_cancelled_one(
    executor: Executor, gate: Gate
) -> None:
    def body() -> None:
        busy = gate.close(executor)
        waiting = [executor.submit(abs, number) for number in range(3)]
        seen: list[Future[int]] = []
        thread = threading.Thread(target=lambda: seen.extend(futures.as_completed(waiting)))
        thread.start()
        for future in waiting:
            assert future.cancel()
        thread.join(PATIENCE)
        assert set(seen) == set(waiting)
        assert futures.wait(waiting, PATIENCE).done == set(waiting)
        gate.open()
        busy.result()

    await beside(body)


async def test_wait_and_as_completed_take_its_futures(executor: Executor, gate: Gate) -> None:
    def body() -> None:
        busy = gate.close(executor)
        others = [executor.submit(abs, number) for number in range(5)]
        assert futures.wait([busy, *others], 0).done == set()
        gate.open()
        done = futures.wait([busy, *others], PATIENCE)
        assert done.done == {busy, *others}
        failing = [executor.submit(fail, 1), executor.submit(abs, 1)]
        assert failing[0] in futures.wait(failing, PATIENCE, futures.FIRST_EXCEPTION).done
        assert {f.result() for f in futures.as_completed(others, PATIENCE)} == set(range(5))

    await beside(body)


async def test_callbacks_are_called_once_whether_added_before_or_after_the_end(
    executor: Executor, gate: Gate
) -> None:
    def body() -> list[str]:
        told: list[str] = []
        heard = threading.Semaphore(0)

        def tell(what: str, _: Future[Any]) -> None:
            told.append(what)
            heard.release()

        busy = gate.close(executor)
        waiting = executor.submit(abs, 1)
        busy.add_done_callback(partial(tell, "result"))
        waiting.add_done_callback(partial(tell, "cancelled"))
        waiting.cancel()
        gate.open()
        for _ in range(2):
            assert heard.acquire(timeout=PATIENCE)
        busy.add_done_callback(partial(tell, "late"))
        return told

    assert await beside(body) == ["cancelled", "result", "late"]


async def test_many_threads_submit_at_once_and_each_gets_its_own_results(
    executor: Executor,
) -> None:
    results: dict[int, list[int]] = {}

    def submit_some(first: int) -> None:
        made = [executor.submit(square, number) for number in range(first, first + 25)]
        results[first] = [future.result(PATIENCE) for future in made]

    async with anyio.create_task_group() as tasks:
        for first in range(0, 200, 25):
            tasks.start_soon(beside, partial(submit_some, first))
    assert results == {
        first: [number**2 for number in range(first, first + 25)] for first in range(0, 200, 25)
    }


async def test_cancelling_races_with_beginning_and_every_future_is_over(
    executor: Executor,
) -> None:
    def body() -> None:
        made = [executor.submit(abs, number) for number in range(200)]
        cancelled = {future for future in made if future.cancel()}
        assert futures.wait(made, PATIENCE).not_done == set()
        assert {future for future in made if future.cancelled()} == cancelled
        assert [f.result() for f in made if f not in cancelled] == [
            number for number, f in enumerate(made) if f not in cancelled
        ]

    await beside(body)


async def test_on_the_loops_own_thread_it_submits_and_shuts_down_without_waiting(
    one_worker: actors.Pool[Any], gate: Gate
) -> None:
    with one_worker.executor() as executor:
        future = executor.submit(wait_for_file, str(gate.path), 5)
        mapped = executor.map(abs, [-1])
    assert not future.done()
    gate.open()
    assert await beside(future.result) == 5
    assert await beside(partial(list, mapped)) == [1]


async def test_an_asyncio_loop_runs_in_it(one_worker: actors.Pool[Any]) -> None:
    if not _asyncio_runs():
        pytest.skip("run_in_executor is of asyncio's loop")
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(one_worker.executor(), math.factorial, 5) == 120
    with pytest.raises(ValueError, match="bad number 2"):
        await loop.run_in_executor(one_worker.executor(), fail, 2)


def _asyncio_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def test_leaving_the_block_waits_for_what_was_submitted_and_refuses_more(
    executor: Executor, gate: Gate
) -> None:
    def body() -> None:
        with executor:
            made = executor.submit(wait_for_file, str(gate.path), 3)
            threading.Timer(0.01, gate.open).start()
        assert made.done()
        assert made.result() == 3
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            executor.submit(abs, 1)
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            executor.map(abs, [1])
        executor.shutdown()

    await beside(body)


async def test_shutdown_cancels_what_waits_when_asked_and_never_what_runs(
    executor: Executor, gate: Gate
) -> None:
    def body() -> None:
        busy = gate.close(executor, "done")
        waiting = [executor.submit(abs, number) for number in range(5)]
        executor.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in waiting)
        assert not busy.done()
        gate.open()
        executor.shutdown()
        assert busy.done()
        assert busy.result() == "done"

    await beside(body)


async def test_shutdown_ends_the_executor_and_not_the_pool(one_worker: actors.Pool[Any]) -> None:
    first, second = one_worker.executor(), one_worker.executor()
    await beside(first.shutdown)
    assert await beside(second.submit(abs, -2).result) == 2


async def test_when_the_system_ends_its_futures_fail_and_nobody_hangs(
    anyio_backend: str, gate: Gate
) -> None:
    ended = threading.Event()
    submitted = threading.Event()

    def keep_submitting(executor: Executor, made: list[Future[Any]]) -> str:
        gate.close(executor)
        while True:
            try:
                made.append(executor.submit(abs, 1))
            except (ActorStopped, SystemStopped) as error:
                return type(error).__name__
            if len(made) == 50:
                submitted.set()
            ended.wait(0.001)

    made: list[Future[Any]] = []
    results: list[str] = []
    async with anyio.create_task_group() as tasks:

        async def others(executor: Executor) -> None:
            results.append(await beside(partial(keep_submitting, executor, made)))

        async with actors.System() as system:
            pool = await system.start(actors.pool(name="short", size=1, shutdown=0.1))
            executor = pool.executor()
            tasks.start_soon(others, executor)
            await beside(submitted.wait)
    assert results[0] in {"ActorStopped", "SystemStopped"}
    over = futures.wait(made, PATIENCE)
    assert not over.not_done
    refused = {ActorStopped, SystemStopped, WorkerLost}
    assert {type(future.exception()) for future in made} <= refused
    for _ in range(2):
        with pytest.raises((ActorStopped, SystemStopped)):
            await beside(partial(executor.submit, abs, 1))
        await beside(executor.shutdown)
