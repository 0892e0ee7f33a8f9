"""Ask and tell an actor by the key of an address book, or by its plain address."""

import argparse
import time
from typing import Any

import actors
from benchmarks.ours._figures import figure

ASKS = 10_000
FIRST_USES = 1_000


class Room(actors.Actor):
    """Counts."""

    def __init__(self, key: int) -> None:
        self.count = key

    async def add(self, by: int) -> int:
        """Add to the count, and return it."""
        self.count += by
        return self.count


async def main(how: str) -> None:
    """Time messages to one actor of this process and to one of a process node, and first uses of keys there."""
    topology = actors.Topology(nodes=[actors.nodes("rooms")])
    async with actors.System(topology) as system:
        for place, on in (("local", None), ("process", "rooms")):
            rooms = await system.start(actors.keyed(Room, name=place, on=on))
            by_key = how == "key"
            room: Any = rooms[0] if by_key else await rooms[0].ref()
            await room.ask(Room.add, 1)
            start = time.perf_counter()
            for _ in range(ASKS):
                await (rooms[0] if by_key else room).ask(Room.add, 1)
            figure("ask us", place, 1e6 * (time.perf_counter() - start) / ASKS)
            start = time.perf_counter()
            for _ in range(ASKS):
                await (rooms[0] if by_key else room).tell(Room.add, 1)
            await room.ask(Room.add, 1)
            figure("tell/s", place, ASKS / (time.perf_counter() - start))
        start = time.perf_counter()
        for key in range(1, FIRST_USES):
            await rooms[key].ask(Room.add, 1)
        figure("first use us", "process", 1e6 * (time.perf_counter() - start) / FIRST_USES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=["key", "address"])
    actors.run(main, parser.parse_args().how)
