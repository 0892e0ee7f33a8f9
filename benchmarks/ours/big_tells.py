"""Tells of 64 to 256 KiB to a process node. The peer: `peers/stdlib_pipe.py`."""

import time
from typing import Final

import actors
from benchmarks.ours._figures import figure

KIB: Final = 1024
SIZES: Final = {"64 KiB": 64 * KIB, "128 KiB": 128 * KIB, "256 KiB": 256 * KIB}
WARM_UP: Final = 500
TELLS: Final = 4_000


class Scale(actors.Actor):
    """Adds up the sizes of what it is sent."""

    def __init__(self) -> None:
        self._total = 0

    async def put(self, payload: bytes) -> None:
        """Add the length."""
        self._total += len(payload)

    async def total(self) -> int:
        """Return the sum."""
        return self._total


async def main() -> None:
    """Measure each size."""
    async with actors.System(actors.Topology(nodes=[actors.nodes("w")])) as system:
        for name, size in SIZES.items():
            scale = await system.spawn(Scale, on="w")
            payload = bytes(size)
            for _ in range(WARM_UP):
                await scale.tell(Scale.put, payload)
            before = await scale.ask(Scale.total)
            start = time.perf_counter()
            for _ in range(TELLS):
                await scale.tell(Scale.put, payload)
            total = await scale.ask(Scale.total)
            figure("us", name, 1e6 * (time.perf_counter() - start) / TELLS)
            assert total - before == TELLS * size


if __name__ == "__main__":
    actors.run(main)
