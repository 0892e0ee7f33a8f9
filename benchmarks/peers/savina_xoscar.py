"""The six Savina benchmarks on xoscar: all actors in the main process of its pool."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import xoscar

from benchmarks import _savina as savina

Create = Callable[..., Awaitable[Any]]


class Latch:
    """Opens when so many have arrived."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.opened = asyncio.Event()

    def arrive(self) -> None:
        """Count one."""
        self._left -= 1
        if self._left == 0:
            self.opened.set()


LATCHES: dict[str, Latch] = {}
"""By benchmark: they cannot be sent."""


class Pong(xoscar.Actor):
    """Sends each ping back."""

    async def ping(self, sender: Any) -> None:
        """Answer."""
        await sender.pong.tell()


class Ping(xoscar.Actor):
    """Sends the next ping when the last one has come back."""

    def __init__(self, pong: Any) -> None:
        super().__init__()
        self._pong = pong
        self._left = savina.ROUND_TRIPS

    async def pong(self) -> None:
        """Send one more, or end."""
        if self._left == 0:
            LATCHES["ping-pong"].arrive()
            return
        self._left -= 1
        await self._pong.ping.tell(self.ref())


async def ping_pong(create: Create) -> None:
    """Two actors, one message under way."""
    latch = LATCHES["ping-pong"] = Latch(1)
    ping = await create(Ping, await create(Pong))
    watch = savina.Stopwatch()
    await ping.pong.tell()
    await latch.opened.wait()
    watch.report("round trips/s", "ping-pong", savina.ROUND_TRIPS)


class Counter(xoscar.Actor):
    """Counts."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    async def increment(self) -> None:
        """Count one more."""
        self._count += 1

    async def retrieve(self, producer: Any) -> None:
        """Send the count."""
        await producer.result.tell(self._count)


class Producer(xoscar.Actor):
    """Sends all that is to be counted, and asks for the count."""

    def __init__(self, counter: Any) -> None:
        super().__init__()
        self._counter = counter

    async def produce(self) -> None:
        """Send it."""
        for _ in range(savina.NUMBERS):
            await self._counter.increment.tell()
        await self._counter.retrieve.tell(self.ref())

    async def result(self, count: int) -> None:
        """Check the count, and end."""
        assert count == savina.NUMBERS
        LATCHES["counting"].arrive()


async def counting(create: Create) -> None:
    """One actor sends to another as fast as it can."""
    latch = LATCHES["counting"] = Latch(1)
    producer = await create(Producer, await create(Counter))
    watch = savina.Stopwatch()
    await producer.produce.tell()
    await latch.opened.wait()
    watch.report("messages/s", "counting", savina.NUMBERS)


class Once(xoscar.Actor):
    """Works once, and stops."""

    async def work(self) -> None:
        """Compute."""
        savina.compute()
        LATCHES["create"].arrive()
        await self.ref().destroy()


async def fork_join_create(create: Create) -> None:
    """Many actors with one message each."""
    latch = LATCHES["create"] = Latch(savina.CREATED)
    watch = savina.Stopwatch()
    for _ in range(savina.CREATED):
        once = await create(Once)
        await once.work.tell()
    await latch.opened.wait()
    watch.report("actors/s", "fork-join, creation", savina.CREATED)


class Worker(xoscar.Actor):
    """Works at each message."""

    def __init__(self) -> None:
        super().__init__()
        self._left = savina.WORK_EACH

    async def work(self) -> None:
        """Compute."""
        savina.compute()
        self._left -= 1
        if self._left == 0:
            LATCHES["work"].arrive()


async def fork_join(create: Create) -> None:
    """Some actors with many messages each, sent in turn."""
    latch = LATCHES["work"] = Latch(savina.WORKERS)
    workers = [await create(Worker) for _ in range(savina.WORKERS)]
    watch = savina.Stopwatch()
    for _ in range(savina.WORK_EACH):
        for worker in workers:
            await worker.work.tell()
    await latch.opened.wait()
    watch.report("messages/s", "fork-join, throughput", savina.WORKERS * savina.WORK_EACH)


class Neighbour(xoscar.Actor):
    """Sends a ping to a neighbour by chance when its last one has come back, and answers those of others."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number
        self._left = savina.PINGS
        self._all: list[Any] = []

    async def meet(self, everybody: list[Any]) -> None:
        """Know all neighbours."""
        self._all = everybody

    async def ping(self, sender: int) -> None:
        """Answer."""
        await self._all[sender].pong.tell()

    async def pong(self) -> None:
        """Send one more, or end."""
        if self._left == 0:
            LATCHES["big"].arrive()
            return
        self._left -= 1
        await self._all[savina.other_than(self._number)].ping.tell(self._number)


async def big(create: Create) -> None:
    """Many actors that all send to each other."""
    latch = LATCHES["big"] = Latch(savina.NEIGHBOURS)
    everybody = [await create(Neighbour, number) for number in range(savina.NEIGHBOURS)]
    for one in everybody:
        await one.meet(everybody)
    watch = savina.Stopwatch()
    for one in everybody:
        await one.pong.tell()
    await latch.opened.wait()
    watch.report("round trips/s", "big", savina.NEIGHBOURS * savina.PINGS)


class Mall(xoscar.Actor):
    """Where chameneos meet, two by two, and so many times."""

    def __init__(self) -> None:
        super().__init__()
        self._left = savina.MEETINGS
        self._waiting: Any = None
        self._faded = 0
        self._met = 0

    async def meet(self, colour: str, sender: Any) -> None:
        """Send who comes to whom waits."""
        if self._left == 0:
            await sender.fade.tell()
        elif self._waiting is None:
            self._waiting = sender
        else:
            waiting, self._waiting = self._waiting, None
            self._left -= 1
            await waiting.meet.tell(colour, sender)

    async def count(self, met: int) -> None:
        """Add how often one has met another; end with the last."""
        self._faded += 1
        self._met += met
        if self._faded == savina.CHAMENEOS:
            assert self._met == 2 * savina.MEETINGS
            LATCHES["chameneos"].arrive()


class Chameneo(xoscar.Actor):
    """Goes to the mall, and changes its colour when it meets another."""

    def __init__(self, mall: Any, colour: str) -> None:
        super().__init__()
        self._mall = mall
        self._colour = colour
        self._met = 0

    async def go(self) -> None:
        """Go to the mall."""
        await self._mall.meet.tell(self._colour, self.ref())

    async def meet(self, colour: str, other: Any) -> None:
        """Take the colour of both, and tell the other one."""
        self._colour = savina.complement(self._colour, colour)
        self._met += 1
        await other.change.tell(self._colour)
        await self.go()

    async def change(self, colour: str) -> None:
        """Take a colour."""
        self._colour = colour
        self._met += 1
        await self.go()

    async def fade(self) -> None:
        """Say how often it has met another."""
        await self._mall.count.tell(self._met)


async def chameneos(create: Create) -> None:
    """Many actors that all send to one, which sends some of them to others."""
    latch = LATCHES["chameneos"] = Latch(1)
    mall = await create(Mall)
    colours = savina.COLOURS
    everybody = [
        await create(Chameneo, mall, colours[number % len(colours)])
        for number in range(savina.CHAMENEOS)
    ]
    watch = savina.Stopwatch()
    for one in everybody:
        await one.go.tell()
    await latch.opened.wait()
    watch.report("meetings/s", "chameneos", savina.MEETINGS)


class Arbitrator(xoscar.Actor):
    """Has the forks."""

    def __init__(self) -> None:
        super().__init__()
        self._forks = savina.Forks()

    async def hungry(self, number: int, sender: Any) -> None:
        """Give both forks, or neither."""
        if self._forks.take(number):
            await sender.eat.tell()
        else:
            await sender.denied.tell()

    async def done(self, number: int) -> None:
        """Take both back."""
        self._forks.put_back(number)

    async def leave(self) -> None:
        """Count who leaves."""
        LATCHES["philosophers"].arrive()


class Philosopher(xoscar.Actor):
    """Asks for the forks until it gets them, eats, and gives them back."""

    def __init__(self, number: int, arbitrator: Any) -> None:
        super().__init__()
        self._number = number
        self._arbitrator = arbitrator
        self._left = savina.MEALS

    async def denied(self) -> None:
        """Ask for them, again."""
        await self._arbitrator.hungry.tell(self._number, self.ref())

    async def eat(self) -> None:
        """Eat; be hungry again, or leave."""
        self._left -= 1
        await self._arbitrator.done.tell(self._number)
        if self._left:
            await self.denied()
        else:
            await self._arbitrator.leave.tell()


async def philosophers(create: Create) -> None:
    """Many actors that ask one, which refuses most of them."""
    latch = LATCHES["philosophers"] = Latch(savina.PHILOSOPHERS)
    arbitrator = await create(Arbitrator)
    everybody = [
        await create(Philosopher, number, arbitrator) for number in range(savina.PHILOSOPHERS)
    ]
    watch = savina.Stopwatch()
    for one in everybody:
        await one.denied.tell()
    await latch.opened.wait()
    watch.report("meals/s", "philosophers", savina.PHILOSOPHERS * savina.MEALS)


class Runner(xoscar.Actor):
    """Runs all from inside the pool, as its actors talk to each other."""

    async def run(self) -> None:
        """Run all."""

        async def create(cls: type[Any], *args: Any) -> Any:
            return await xoscar.create_actor(cls, *args, address=self.address)

        for run in (ping_pong, counting, fork_join_create, fork_join, big, chameneos, philosophers):
            await run(create)


async def main() -> None:
    """Make the pool, and run all in it."""
    pool = await xoscar.create_actor_pool(address="127.0.0.1", n_process=0)
    try:
        runner = await xoscar.create_actor(Runner, address=pool.external_address)
        await runner.run()
    finally:
        await pool.stop()


if __name__ == "__main__":
    asyncio.run(main())
