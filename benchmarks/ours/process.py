"""Tell and ask an actor in another process. The peer: `peers/node_cluster.js`."""

import actors
from benchmarks.ours._workload import Counter, measure


async def main() -> None:
    """Measure an actor on the only process node of a system."""
    topology = actors.Topology(nodes=[actors.nodes("w", count=1)])
    async with actors.System(topology) as system:
        await measure(await system.spawn(Counter, on="w"))


if __name__ == "__main__":
    actors.run(main)
