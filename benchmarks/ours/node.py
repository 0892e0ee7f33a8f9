"""Tell and ask an actor on another node, of the given kind or engine. The peer: `peers/node_messages.js`."""

import sys
from typing import Any, Final

import actors
from benchmarks.ours._workload import Counter, measure

_ENGINES: Final = ("hosts",)
"""Of nodes that are linked as if they were on another machine."""


async def main(kind: Any) -> None:
    """Measure an actor on the node."""
    node = actors.nodes("w", engine=kind) if kind in _ENGINES else actors.nodes("w", kind=kind)
    topology = actors.Topology(nodes=[node])
    async with actors.System(topology) as system:
        await measure(await system.spawn(Counter, on="w"))


if __name__ == "__main__":
    actors.run(main, sys.argv[1])
