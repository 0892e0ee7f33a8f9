"""The actor of `machines.py`, which the other machine imports: what is in a main file stays on its own."""

import os

import anyio

from benchmarks.ours._workload import Counter


class Node(Counter):
    """Says who it is, and can be waited for."""

    async def pid(self) -> int:
        """Return the process."""
        return os.getpid()

    async def hang(self) -> None:
        """Never return."""
        await anyio.sleep_forever()
