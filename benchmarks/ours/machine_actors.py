"""The actors that other machines import: what is in a main file stays on its own."""

import os

import anyio

import actors
from benchmarks.ours._workload import Counter, timed


class Node(Counter):
    """Says who it is, and can be waited for."""

    async def pid(self) -> int:
        """Return the process."""
        return os.getpid()

    async def hang(self) -> None:
        """Never return."""
        await anyio.sleep_forever()


class Asker(actors.Actor):
    """Times an actor of another node."""

    async def measure(self, counter: actors.Ref[Counter]) -> list[tuple[str, str, float]]:
        """Return the figures, as `timed`."""
        return [found async for found in timed(counter)]
