"""Tell and ask an actor on another node, from a node: two processes of this machine, or of one place."""

import sys

import actors
from benchmarks.ours._figures import figure
from benchmarks.ours._workload import Counter
from benchmarks.ours.machine_actors import Asker


async def main(engine: str) -> None:
    """Measure an actor on one node from another one."""
    group = actors.nodes("w", count=2, engine=None if engine == "process" else engine)
    async with actors.System(actors.Topology(nodes=[group])) as system:
        asked = await system.spawn(Counter, on="w/1")
        asker = await system.spawn(Asker, on="w/0")
        for found in await asker.ask(Asker.measure, asked):
            figure(*found)


if __name__ == "__main__":
    actors.run(main, sys.argv[1])
