"""Work through many arrays on a pool, in order, with a progress bar; Ctrl-C ends it at once.

Uses numpy; shows progress by tqdm where that is installed, else by a line of its own.
"""

import argparse
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np

import actors

try:
    from tqdm import tqdm
except ImportError:
    tqdm = None


def summary(values: np.ndarray) -> tuple[float, float]:
    """Return the mean and the spread of an array."""
    return float(values.mean()), float(np.percentile(values, 90) - np.percentile(values, 10))


def arrays(count: int) -> Iterator[np.ndarray]:
    """Make the input one by one: `map` takes only as much as it has under way."""
    random = np.random.default_rng(7)
    for _ in range(count):
        yield random.normal(size=1000)


async def with_progress(results: Any, total: int) -> AsyncIterator[tuple[float, float]]:
    """Yield the results, and show how many there are."""
    bar = None if tqdm is None else tqdm(total=total, unit="array")
    read = 0
    try:
        async for result in results:
            read += 1
            if bar is not None:
                bar.update()
            elif read % 1000 == 0:
                print(f"{read} of {total}", file=sys.stderr)
            yield result
    finally:
        if bar is not None:
            bar.close()


async def main(count: int, workers: int | None, chunk: int) -> None:
    """Summarise *count* arrays and print what was found."""
    async with actors.System() as system:
        pool = await system.start(actors.pool(name="summaries", size=workers))
        means: list[float] = []
        widest = 0.0
        async with pool.map(summary, arrays(count), chunk=chunk) as results:
            async for mean, spread in with_progress(results, count):
                means.append(mean)
                widest = max(widest, spread)
        print(
            f"{len(means)} arrays, in order: mean of means {np.mean(means):+.4f}, widest {widest:.2f}"
        )


def positive(text: str) -> int:
    """Return a number of 1 or more, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {number}")
    return number


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--count", type=positive, default=10_000, metavar="N")
    arguments.add_argument(
        "--workers", type=positive, metavar="N", help="as many as there are CPUs"
    )
    arguments.add_argument(
        "--chunk", type=positive, default=16, metavar="N", help="arrays that travel together"
    )
    chosen = arguments.parse_args()
    actors.run(
        main, chosen.count, chosen.workers, chosen.chunk
    )  # Ctrl-C ends it, with exit code 130
