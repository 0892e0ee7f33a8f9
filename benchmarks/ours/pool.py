"""A pool of two process workers: no-op tasks, hashes, pictures, a big array, a skewed load."""

import sys
import time
from typing import Any

import anyio

import actors
from benchmarks.ours import pictures, work
from benchmarks.ours._figures import figure


async def _map_seconds(pool: actors.Pool[Any], fn: Any, count: int, **options: Any) -> float:
    began = time.perf_counter()
    async for _ in pool.map(fn, range(count), **options):
        pass
    return time.perf_counter() - began


async def singly(pool: actors.Pool[Any]) -> None:
    """Measure how many tasks that do nothing run in a second."""
    await _map_seconds(pool, work.noop, work.UNDER_WAY, window=work.UNDER_WAY)
    seconds = await _map_seconds(pool, work.noop, work.NOOPS, window=work.UNDER_WAY)
    figure("tasks/s", "500 under way", work.NOOPS / seconds)


async def noops(pool: actors.Pool[Any]) -> None:
    """Measure how many tasks that do nothing run in a second, one by one and in chunks."""
    await singly(pool)
    seconds = await _map_seconds(pool, work.noop, 10 * work.NOOPS, chunk=work.CHUNK)
    figure("tasks/s", "chunks of 32", 10 * work.NOOPS / seconds)


async def computing(pool: actors.Pool[Any]) -> None:
    """Measure work that keeps both workers busy."""
    for name, fn, count in (
        ("scrypt/s", work.scrypt, work.HASHES),
        ("pictures/s", pictures.resize, work.IMAGES),
    ):
        await _map_seconds(pool, fn, work.WORKERS)
        figure(name, "two workers", count / await _map_seconds(pool, fn, count))


async def arrays(pool: actors.Pool[Any]) -> None:
    """Measure the way of 100 MB there, and of its sum back."""
    array = pictures.big_array()
    for _ in range(work.WORKERS):  # they take turns: each has imported numpy
        await pool.run(pictures.total, array[:10])
    for name in ("the first time", "the second time", "the third time"):
        began = time.perf_counter()
        await pool.run(pictures.total, array)
        figure("100 MB ms", name, 1e3 * (time.perf_counter() - began))


async def skewed(pool: actors.Pool[Any]) -> None:
    """Measure one task of 2 s and ten of 0.1 s, which two workers can do in 2 s."""
    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for seconds in (2.0, *[0.1] * 10):
            tasks.start_soon(pool.run, time.sleep, seconds)
    figure("skewed s", "1 x 2 s, 10 x 0.1 s", time.perf_counter() - began)


async def cancelled(pool: actors.Pool[Any]) -> None:
    """Measure when a worker serves again whose computation was cancelled."""
    await pool.run(work.noop, 1)
    with anyio.move_on_after(0.3):
        async with anyio.create_task_group() as tasks:
            for _ in range(work.WORKERS):
                tasks.start_soon(pool.run, _spin)
    began = time.perf_counter()
    await pool.run(work.noop, 1)
    grace = 0.1
    figure("serves again ms", "after its grace", 1e3 * (time.perf_counter() - began - grace))


def _spin() -> None:
    while True:
        pass


async def main(what: str) -> None:
    """Measure what the command line says."""
    async with actors.System() as system:
        pool = await system.start(actors.pool(name="work", size=work.WORKERS))
        await {
            "singly": singly,
            "noops": noops,
            "computing": computing,
            "arrays": arrays,
            "skewed": skewed,
            "cancelled": cancelled,
        }[what](pool)


if __name__ == "__main__":
    actors.run(main, sys.argv[1])
