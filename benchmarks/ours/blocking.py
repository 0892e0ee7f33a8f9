"""The round trip of an ask to a blocking actor, and of a call in an executor of one thread."""

import argparse
import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import actors
from benchmarks.ours._figures import figure

CALLS = 5_000
WARM_UP = 500


class Adder(actors.Actor, blocking=True):
    """Adds in its own thread."""

    def add(self, number: int) -> int:
        """Return one more."""
        return number + 1


def _add(number: int) -> int:
    return number + 1


def _print(start: float) -> None:
    figure("round trip us", "int", 1e6 * (time.perf_counter() - start) / CALLS)


async def ask() -> None:
    """Time asks from the loop."""
    async with actors.System() as system:
        adder = await system.spawn(Adder)
        for number in range(WARM_UP):
            await adder.ask(Adder.add, number)
        start = time.perf_counter()
        for number in range(CALLS):
            await adder.ask(Adder.add, number)
        _print(start)


async def in_loop() -> None:
    """Time ``await loop.run_in_executor(...)``."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as executor:
        for number in range(WARM_UP):
            await loop.run_in_executor(executor, _add, number)
        start = time.perf_counter()
        for number in range(CALLS):
            await loop.run_in_executor(executor, _add, number)
        _print(start)


def submit() -> None:
    """Time ``executor.submit(...).result()``."""
    with ThreadPoolExecutor(1) as executor:
        for number in range(WARM_UP):
            executor.submit(_add, number).result()
        start = time.perf_counter()
        for number in range(CALLS):
            executor.submit(_add, number).result()
        _print(start)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["ask", "submit", "await"])
    what = parser.parse_args().what
    if what == "submit":
        submit()
    else:
        actors.run(ask if what == "ask" else in_loop)
