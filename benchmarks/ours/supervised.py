"""Tell and ask an actor deep in a tree, in this thread. The peer is `local`: a spawned one."""

from typing import Any

import actors
from benchmarks.ours._workload import Counter, measure


async def main() -> None:
    """Measure an actor below eight supervisors."""
    item: Any = actors.child(Counter, name="counter")
    for level in range(8):
        item = actors.supervisor(f"level-{level}", [item])
    async with actors.System(actors.Topology(children=[item])) as system:
        counter = await system.lookup("counter")
        assert counter is not None
        await measure(counter)


if __name__ == "__main__":
    actors.run(main)
