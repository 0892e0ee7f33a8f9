"""Tell and ask an actor in this thread. The peer: `peers/pykka_local.py`."""

import actors
from benchmarks.ours._workload import Counter, measure


async def main() -> None:
    """Measure an actor on the system's own local node."""
    async with actors.System() as system:
        await measure(await system.spawn(Counter))


if __name__ == "__main__":
    actors.run(main)
