"""CPython's own tests of executors, pointed at ours, where this Python has them.

They are in the package `test`, which distributions often leave out, and are mixins since Python 3.13.
"""

from __future__ import annotations

import threading
import unittest
from collections.abc import Iterator
from concurrent.futures import Executor
from importlib import import_module
from typing import Any

import anyio
import anyio.to_thread
import pytest

import actors

PLACE = "test.test_concurrent_futures"
pytest.importorskip(
    f"{PLACE}.executor",
    reason="this Python does not have CPython's tests of executors as mixins",
    exc_type=ImportError,
)

MIXINS = {
    "executor": "ExecutorTest",
    "test_as_completed": "AsCompletedTests",
    "test_shutdown": "ExecutorShutdownTest",
    "test_wait": "WaitTests",
}

INAPPLICABLE = {
    "test_cancel_futures": "it wants a call to begin before 50 are submitted, which the loop need not manage",
    "test_free_reference": "its calls return objects of a class that does not travel",
    "test_free_reference_yielded_future": "it submits nothing to its executor",
    "test_hang_gh83386": "it starts executors of its own, by their type",
    "test_hang_gh94440": "it starts executors of its own, by their type",
    "test_interpreter_shutdown": "it starts executors of its own, by their type",
    "test_map_timeout": "it waits for five seconds; test_executor has such a map that does not",
    "test_max_workers_negative": "the size of a pool is checked where the pool is described",
    "test_no_stale_references": "it submits a method of an object that would have to travel: refused",
    "test_submit_after_interpreter_shutdown": "it starts executors of its own, by their type",
}
"""Tests of the mixins that do not apply to this executor, and why."""

WORKERS = 2
PATIENCE = 30.0

Test = tuple[type, str]


def chosen_tests() -> list[Test]:
    found = [getattr(import_module(f"{PLACE}.{module}"), name) for module, name in MIXINS.items()]
    return [
        (mixin, name)
        for mixin in found
        for name in unittest.TestLoader().getTestCaseNames(mixin)
        if name not in INAPPLICABLE
    ]


@pytest.fixture(scope="module")
def pool(no_leaks_in_file: None) -> Iterator[actors.Pool[Any]]:
    """A pool whose loop runs in another thread than the tests, as in a synchronous program."""
    made: list[actors.Pool[Any]] = []
    ready, over = threading.Event(), threading.Event()

    async def main() -> None:
        async with actors.System() as system:
            made.append(await system.start(actors.pool(name="work", size=WORKERS)))
            ready.set()
            await anyio.to_thread.run_sync(over.wait)

    thread = threading.Thread(target=anyio.run, args=[main])
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield made[0]
    finally:
        over.set()
        thread.join(PATIENCE)


@pytest.mark.parametrize("test", chosen_tests(), ids=lambda test: test[1])
def test_cpythons_test_of_an_executor_passes(pool: actors.Pool[Any], test: Test) -> None:
    mixin, name = test

    class Case(mixin, unittest.TestCase):  # type: ignore[misc, valid-type] # chosen at run time
        worker_count = WORKERS
        executor: Executor = pool.executor()

    case = Case(name)
    result = unittest.TestResult()
    case.run(result)
    case.executor.shutdown()
    assert [text for _, text in [*result.errors, *result.failures]] == []
    assert result.testsRun == 1
