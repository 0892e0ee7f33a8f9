"""The six Savina benchmarks, all actors on the local node. The peers: `savina_*` in `peers/`."""

import asyncio

import actors
from actors import Ref
from benchmarks import _savina as savina


class Pong(actors.Actor):
    """Sends each ping back."""

    async def ping(self, sender: Ref["Ping"]) -> None:
        """Answer."""
        await sender.tell(Ping.pong)


class Ping(actors.Actor):
    """Sends the next ping when the last one has come back."""

    def __init__(self, pong: Ref[Pong], over: asyncio.Event) -> None:
        self._pong = pong
        self._over = over
        self._left = savina.ROUND_TRIPS

    async def pong(self) -> None:
        """Send one more, or end."""
        if self._left == 0:
            self._over.set()
            return
        self._left -= 1
        await self._pong.tell(Pong.ping, self.context.ref)


async def ping_pong(system: actors.System) -> None:
    """Two actors, one message under way."""
    over = asyncio.Event()
    pong = await system.spawn(Pong)
    ping = await system.spawn(Ping, pong, actors.local(over))
    watch = savina.Stopwatch()
    await ping.tell(Ping.pong)
    await over.wait()
    watch.report("round trips/s", "ping-pong", savina.ROUND_TRIPS)


class Counter(actors.Actor):
    """Counts."""

    def __init__(self) -> None:
        self._count = 0

    async def increment(self) -> None:
        """Count one more."""
        self._count += 1

    async def retrieve(self, producer: Ref["Producer"]) -> None:
        """Send the count."""
        await producer.tell(Producer.result, self._count)


class Producer(actors.Actor):
    """Sends all that is to be counted, and asks for the count."""

    def __init__(self, counter: Ref[Counter], over: asyncio.Event) -> None:
        self._counter = counter
        self._over = over

    async def produce(self) -> None:
        """Send it."""
        for _ in range(savina.NUMBERS):
            await self._counter.tell(Counter.increment)
        await self._counter.tell(Counter.retrieve, self.context.ref)

    async def result(self, count: int) -> None:
        """Check the count, and end."""
        assert count == savina.NUMBERS
        self._over.set()


async def counting(system: actors.System) -> None:
    """One actor sends to another as fast as it can."""
    over = asyncio.Event()
    producer = await system.spawn(Producer, await system.spawn(Counter), actors.local(over))
    watch = savina.Stopwatch()
    await producer.tell(Producer.produce)
    await over.wait()
    watch.report("messages/s", "counting", savina.NUMBERS)


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


class Once(actors.Actor):
    """Works once, and stops."""

    def __init__(self, latch: Latch) -> None:
        self._latch = latch

    async def work(self) -> None:
        """Compute."""
        savina.compute()
        self._latch.arrive()
        self.context.stop()


async def fork_join_create(system: actors.System) -> None:
    """Many actors with one message each."""
    latch = Latch(savina.CREATED)
    watch = savina.Stopwatch()
    for _ in range(savina.CREATED):
        once = await system.spawn(Once, actors.local(latch))
        await once.tell(Once.work)
    await latch.opened.wait()
    watch.report("actors/s", "fork-join, creation", savina.CREATED)


class Worker(actors.Actor):
    """Works at each message."""

    def __init__(self, latch: Latch) -> None:
        self._latch = latch
        self._left = savina.WORK_EACH

    async def work(self) -> None:
        """Compute."""
        savina.compute()
        self._left -= 1
        if self._left == 0:
            self._latch.arrive()


async def fork_join(system: actors.System) -> None:
    """Some actors with many messages each, sent in turn."""
    latch = Latch(savina.WORKERS)
    workers = [await system.spawn(Worker, actors.local(latch)) for _ in range(savina.WORKERS)]
    watch = savina.Stopwatch()
    for _ in range(savina.WORK_EACH):
        for worker in workers:
            await worker.tell(Worker.work)
    await latch.opened.wait()
    watch.report("messages/s", "fork-join, throughput", savina.WORKERS * savina.WORK_EACH)


class Neighbour(actors.Actor):
    """Sends a ping to a neighbour by chance when its last one has come back, and answers those of others."""

    def __init__(self, number: int, latch: Latch) -> None:
        self._number = number
        self._latch = latch
        self._left = savina.PINGS
        self._all: list[Ref[Neighbour]] = []

    async def meet(self, everybody: list[Ref["Neighbour"]]) -> None:
        """Know all neighbours."""
        self._all = everybody

    async def ping(self, sender: int) -> None:
        """Answer."""
        await self._all[sender].tell(Neighbour.pong)

    async def pong(self) -> None:
        """Send one more, or end."""
        if self._left == 0:
            self._latch.arrive()
            return
        self._left -= 1
        await self._all[savina.other_than(self._number)].tell(Neighbour.ping, self._number)


async def big(system: actors.System) -> None:
    """Many actors that all send to each other."""
    latch = Latch(savina.NEIGHBOURS)
    everybody = [
        await system.spawn(Neighbour, number, actors.local(latch))
        for number in range(savina.NEIGHBOURS)
    ]
    for one in everybody:
        await one.ask(Neighbour.meet, everybody)
    watch = savina.Stopwatch()
    for one in everybody:
        await one.tell(Neighbour.pong)
    await latch.opened.wait()
    watch.report("round trips/s", "big", savina.NEIGHBOURS * savina.PINGS)


class Mall(actors.Actor):
    """Where chameneos meet, two by two, and so many times."""

    def __init__(self, over: asyncio.Event) -> None:
        self._over = over
        self._left = savina.MEETINGS
        self._waiting: Ref[Chameneo] | None = None
        self._faded = 0
        self._met = 0

    async def meet(self, colour: str, sender: Ref["Chameneo"]) -> None:
        """Send who comes to whom waits."""
        if self._left == 0:
            await sender.tell(Chameneo.fade)
        elif self._waiting is None:
            self._waiting = sender
        else:
            waiting, self._waiting = self._waiting, None
            self._left -= 1
            await waiting.tell(Chameneo.meet, colour, sender)

    async def count(self, met: int) -> None:
        """Add how often one has met another; end with the last."""
        self._faded += 1
        self._met += met
        if self._faded == savina.CHAMENEOS:
            assert self._met == 2 * savina.MEETINGS
            self._over.set()


class Chameneo(actors.Actor):
    """Goes to the mall, and changes its colour when it meets another."""

    def __init__(self, mall: Ref[Mall], colour: str) -> None:
        self._mall = mall
        self._colour = colour
        self._met = 0

    async def go(self) -> None:
        """Go to the mall."""
        await self._mall.tell(Mall.meet, self._colour, self.context.ref)

    async def meet(self, colour: str, other: Ref["Chameneo"]) -> None:
        """Take the colour of both, and tell the other one."""
        self._colour = savina.complement(self._colour, colour)
        self._met += 1
        await other.tell(Chameneo.change, self._colour)
        await self.go()

    async def change(self, colour: str) -> None:
        """Take a colour."""
        self._colour = colour
        self._met += 1
        await self.go()

    async def fade(self) -> None:
        """Say how often it has met another."""
        await self._mall.tell(Mall.count, self._met)


async def chameneos(system: actors.System) -> None:
    """Many actors that all send to one, which sends some of them to others."""
    over = asyncio.Event()
    mall = await system.spawn(Mall, actors.local(over))
    colours = savina.COLOURS
    everybody = [
        await system.spawn(Chameneo, mall, colours[number % len(colours)])
        for number in range(savina.CHAMENEOS)
    ]
    watch = savina.Stopwatch()
    for one in everybody:
        await one.tell(Chameneo.go)
    await over.wait()
    watch.report("meetings/s", "chameneos", savina.MEETINGS)


class Arbitrator(actors.Actor):
    """Has the forks."""

    def __init__(self, over: asyncio.Event) -> None:
        self._over = over
        self._forks = savina.Forks()
        self._left = savina.PHILOSOPHERS

    async def hungry(self, number: int, sender: Ref["Philosopher"]) -> None:
        """Give both forks, or neither."""
        if self._forks.take(number):
            await sender.tell(Philosopher.eat)
        else:
            await sender.tell(Philosopher.denied)

    async def done(self, number: int) -> None:
        """Take both back."""
        self._forks.put_back(number)

    async def leave(self) -> None:
        """End with the last one."""
        self._left -= 1
        if self._left == 0:
            self._over.set()


class Philosopher(actors.Actor):
    """Asks for the forks until it gets them, eats, and gives them back."""

    def __init__(self, number: int, arbitrator: Ref[Arbitrator]) -> None:
        self._number = number
        self._arbitrator = arbitrator
        self._left = savina.MEALS

    async def denied(self) -> None:
        """Ask for them, again."""
        await self._arbitrator.tell(Arbitrator.hungry, self._number, self.context.ref)

    async def eat(self) -> None:
        """Eat; be hungry again, or leave."""
        self._left -= 1
        await self._arbitrator.tell(Arbitrator.done, self._number)
        if self._left:
            await self.denied()
        else:
            await self._arbitrator.tell(Arbitrator.leave)


async def philosophers(system: actors.System) -> None:
    """Many actors that ask one, which refuses most of them."""
    over = asyncio.Event()
    arbitrator = await system.spawn(Arbitrator, actors.local(over))
    everybody = [
        await system.spawn(Philosopher, number, arbitrator) for number in range(savina.PHILOSOPHERS)
    ]
    watch = savina.Stopwatch()
    for one in everybody:
        await one.tell(Philosopher.denied)
    await over.wait()
    watch.report("meals/s", "philosophers", savina.PHILOSOPHERS * savina.MEALS)


async def main() -> None:
    """Run all."""
    for run in (ping_pong, counting, fork_join_create, fork_join, big, chameneos, philosophers):
        async with actors.System() as system:
            await run(system)


if __name__ == "__main__":
    actors.run(main)
