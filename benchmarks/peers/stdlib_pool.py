"""`ProcessPoolExecutor` with two workers, and two processes that know nothing of each other."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Process

from benchmarks.ours import pictures, work
from benchmarks.ours._figures import figure


def noops(pool: ProcessPoolExecutor) -> None:
    """Measure how many tasks that do nothing run in a second."""
    list(pool.map(work.noop, range(work.UNDER_WAY)))
    began = time.perf_counter()
    for first in range(0, work.NOOPS, work.UNDER_WAY):
        futures = [pool.submit(work.noop, first + number) for number in range(work.UNDER_WAY)]
        for future in futures:
            future.result()
    figure("tasks/s", "500 under way", work.NOOPS / (time.perf_counter() - began))
    began = time.perf_counter()
    for _ in pool.map(work.noop, range(10 * work.NOOPS), chunksize=work.CHUNK):
        pass
    figure("tasks/s", "chunks of 32", 10 * work.NOOPS / (time.perf_counter() - began))


def arrays(pool: ProcessPoolExecutor) -> None:
    """Measure the way of 100 MB there, and of its sum back."""
    array = pictures.big_array()
    pool.submit(pictures.total, array[:10]).result()
    for name in ("the first time", "the second time", "the third time"):
        began = time.perf_counter()
        pool.submit(pictures.total, array).result()
        figure("100 MB ms", name, 1e3 * (time.perf_counter() - began))


def _apart(fn: Callable[[int], int], count: int) -> None:
    for number in range(count):
        fn(number)


def computing() -> None:
    """Measure what two processes do together without a pool."""
    for name, fn, count in (
        ("scrypt/s", work.scrypt, work.HASHES),
        ("pictures/s", pictures.resize, work.IMAGES),
    ):
        each = count // work.WORKERS
        processes = [Process(target=_apart, args=(fn, each)) for _ in range(work.WORKERS)]
        began = time.perf_counter()
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        figure(name, "two workers", count / (time.perf_counter() - began))


def main(what: str) -> None:
    """Measure what the command line says."""
    if what == "computing":
        computing()
        return
    with ProcessPoolExecutor(work.WORKERS) as pool:
        {"noops": noops, "arrays": arrays}[what](pool)


if __name__ == "__main__":
    main(sys.argv[1])
