"""joblib's `Parallel` runs on a pool: `parallel_config("actors")`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import joblib
import pytest

import actors
import actors.joblib
from actors.errors import InvalidSpec, NoSystem, NotSendable
from tests.pools.functions import add, fail, pid, square


@pytest.fixture
async def pool() -> AsyncIterator[actors.Pool[Any]]:
    async with actors.System() as system:
        yield await system.start(actors.pool(size=2, name="work"))


async def _parallel(pool: actors.Pool[Any], calls: Any, **options: Any) -> Any:
    def run() -> Any:
        with joblib.parallel_config("actors", pool=pool):
            return joblib.Parallel(**options)(calls)

    return await anyio.to_thread.run_sync(run)


async def test_calls_run_on_the_workers_and_their_results_come_in_order(
    pool: actors.Pool[Any],
) -> None:
    results = await _parallel(pool, [joblib.delayed(square)(number) for number in range(100)])
    assert results == [number**2 for number in range(100)]
    pids = {member.pid for member in actors.current().nodes}
    assert set(await _parallel(pool, [joblib.delayed(pid)() for _ in range(20)])) <= pids

    assert await _parallel(pool, [joblib.delayed(add)(1, right=5)], n_jobs=1) == [6]
    lazily = await _parallel(
        pool, [joblib.delayed(square)(number) for number in range(3)], return_as="generator"
    )
    assert await anyio.to_thread.run_sync(list, lazily) == [0, 1, 4]


async def test_an_error_of_a_call_is_raised_as_itself_and_the_pool_goes_on(
    pool: actors.Pool[Any],
) -> None:
    with pytest.raises(ValueError, match="bad number 3"):
        await _parallel(pool, [joblib.delayed(fail)(3)])
    with pytest.raises(NotSendable, match="a lambda has no name"):
        await _parallel(pool, [joblib.delayed(lambda: 1)()])
    assert await _parallel(pool, [joblib.delayed(square)(3)]) == [9]


async def test_the_default_pool_is_used_unless_one_is_given(pool: actors.Pool[Any]) -> None:
    def run() -> Any:
        with joblib.parallel_config("actors"):
            return joblib.Parallel()([joblib.delayed(square)(4)])

    assert await anyio.to_thread.run_sync(run) == [16]
    found = await actors.current().pool("offload")
    assert found is not None
    assert found != pool


def test_without_a_system_or_with_no_pool_it_says_what_is_missing() -> None:
    with joblib.parallel_config("actors"), pytest.raises(NoSystem, match="needs a running system"):
        joblib.Parallel()([joblib.delayed(square)(1)])
    with (
        pytest.raises(InvalidSpec, match="pool must be a Pool, got 3"),
        joblib.parallel_config("actors", pool=3),
    ):
        pass
