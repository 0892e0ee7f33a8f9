"""Ask an actor whose handler costs as much for 32 calls as for one: by batches, or one by one."""

import argparse
import time

import anyio

import actors
from benchmarks.ours._figures import figure

CALLS = 1_024
AT_ONCE = 64
COST = 0.0005
"""Seconds that the handler computes, however many calls it was given."""


class Model(actors.Actor):
    """Doubles numbers, after a computation of `COST`."""

    @actors.batched(most=32, within=0.01)
    async def together(self, numbers: list[int]) -> list[int]:
        """Double the numbers of up to 32 calls."""
        _compute()
        return [2 * number for number in numbers]

    async def alone(self, number: int) -> int:
        """Double one."""
        _compute()
        return 2 * number


def _compute() -> None:
    end = time.perf_counter() + COST
    while time.perf_counter() < end:
        pass


async def main(how: str) -> None:
    """Time `CALLS` asks of `AT_ONCE` askers."""
    method = Model.together if how == "together" else Model.alone

    async def ask(model: actors.Ref[Model]) -> None:
        for number in range(CALLS // AT_ONCE):
            if await model.ask(method, number) != 2 * number:
                raise RuntimeError("a reply went to another asker")

    async with actors.System() as system:
        model = await system.spawn(Model)
        await model.ask(method, 1)
        start = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(ask, model)
        figure("ask/s", "64 askers", CALLS / (time.perf_counter() - start))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=["together", "alone"])
    actors.run(main, parser.parse_args().how)
