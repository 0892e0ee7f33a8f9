"""What an array of `nodes(preload=)` costs in memory, with all nodes that read it."""

from typing import Final

import psutil

import actors
from benchmarks.ours import preloaded_array
from benchmarks.ours._figures import figure

NODES: Final = 4
SIZE: Final = 500
"""MiB of the array."""


class Reader(actors.Actor):
    """Reads the array."""

    async def total(self) -> int:
        """Return the sum of all elements."""
        return int(preloaded_array.ARRAY.sum())


async def _shares_of_nodes(mib: int) -> int:
    """Return the bytes of all processes of a system whose nodes have read *mib* MiB, each page shared out."""
    group = actors.nodes(
        "w",
        count=NODES,
        preload=[preloaded_array.__name__],
        env={preloaded_array.MIB: str(mib)},
        boot_timeout=120.0,
    )
    async with actors.System(actors.Topology(nodes=[group])) as system:
        for slot in range(NODES):
            reader = await system.spawn(Reader, on=group.named(slot))
            if await reader.ask(Reader.total) != mib * 2**20:
                raise RuntimeError("the array is not what it should be")
        children = psutil.Process().children(recursive=True)
        shares = [int(child.memory_full_info().pss) for child in children]
    return sum(shares)


async def main() -> None:
    """Measure the share of an array in the memory of all processes."""
    without = await _shares_of_nodes(0)
    shared = await _shares_of_nodes(SIZE)
    figure("memory / array", f"{SIZE} MiB, {NODES} nodes", (shared - without) / (SIZE * 2**20))


if __name__ == "__main__":
    actors.run(main)
