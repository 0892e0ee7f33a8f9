"""Tell and ask an actor on another node, of the given kind. The peer: `peers/node_messages.js`."""

import sys
from typing import Any

import actors
from benchmarks.ours._workload import Counter, measure


async def main(kind: Any) -> None:
    """Measure an actor on the node."""
    topology = actors.Topology(nodes=[actors.nodes("w", kind=kind)])
    async with actors.System(topology) as system:
        await measure(await system.spawn(Counter, on="w"))


if __name__ == "__main__":
    actors.run(main, sys.argv[1])
