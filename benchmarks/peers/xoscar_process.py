"""Tell and ask a xoscar actor in another process of its pool, or in the same one (`local`)."""

import asyncio
import sys
from typing import Any

import xoscar

from benchmarks.peers._workload import SLOW_ASKS, SLOW_TELLS, measure_async


class Counter(xoscar.Actor):
    """Counts what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    async def take(self, payload: Any) -> int:  # noqa: ARG002 - to arrive is all a payload does here
        """Count one more and return how many there were."""
        self.seen += 1
        return self.seen


class Sender(xoscar.Actor):
    """Measures from inside the pool, as its actors talk to each other."""

    async def measure(self, address: str) -> None:
        """Measure a new counter at *address*."""
        counter = await xoscar.create_actor(Counter, address=address, uid="counter")
        await measure_async(
            counter.take.tell, counter.take, tells=SLOW_TELLS, asks=SLOW_ASKS, warm_up=100
        )


async def main(place: str) -> None:
    """Measure one actor."""
    pool = await xoscar.create_actor_pool(address="127.0.0.1", n_process=1)
    try:
        here = pool.external_address
        sender = await xoscar.create_actor(Sender, address=here, uid="sender")
        there = here if place == "local" else next(iter(pool.sub_processes))
        await sender.measure(there)
    finally:
        await pool.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
