"""What an operation costs among many of its kind, in that of the same among a tenth: 1 is flat."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import actors
from actors.routing import RouterNode
from actors.routing.balancer.records import Member
from actors.routing.balancer.snapshots import Snapshots
from benchmarks.ours._figures import figure

FEW = 10_000
MANY = 100_000
LOOKUPS = 5_000
MESSAGES = 100_000
PUBLISHED = 20
CONNECTIONS = 50_000


class Sink(actors.Actor):
    """Takes what it gets."""

    async def take(self, _number: int) -> None:
        """Do nothing."""


async def _us(count: int, act: Callable[[int], Awaitable[object]]) -> float:
    """Return the microseconds of processor time that each of *count* takes."""
    start = time.process_time()
    for number in range(count):
        await act(number)
    return 1e6 * (time.process_time() - start) / count


async def spawns(*, named: bool) -> tuple[float, float, float]:
    """Return how the cost of a spawn, of a lookup and of a message grows from `FEW` actors to `MANY`."""
    async with actors.System() as system:
        refs: list[actors.Ref[Sink]] = []

        async def spawn(_number: int) -> None:
            name = f"sink {len(refs)}" if named else None
            refs.append(await system.spawn(Sink, name=name))

        async def look(number: int) -> None:
            await system.lookup(f"sink {number}")

        async def ask(number: int) -> None:
            await refs[number].ask(Sink.take, number)

        grown: list[tuple[float, float, float]] = []
        for size in (FEW, MANY):
            await _us(size - len(refs) - FEW // 2, spawn)
            gc.collect()
            costs = await _us(FEW // 2, spawn), await _us(LOOKUPS, look), await _us(LOOKUPS, ask)
            grown.append(costs)
        few, many = grown
        return many[0] / few[0], many[1] / few[1], many[2] / few[2]


async def fan_in(senders: int) -> float:
    """Return the microseconds of a tell when so many senders, made before, share one full mailbox."""
    async with actors.System() as system:
        sink = await system.spawn(Sink)
        gate = asyncio.Event()

        async def send() -> None:
            await gate.wait()
            for number in range(MESSAGES // senders):
                await sink.tell(Sink.take, number)

        tasks = [asyncio.create_task(send()) for _ in range(senders)]
        await asyncio.sleep(0)
        start = time.process_time()
        gate.set()
        await asyncio.gather(*tasks)
        await sink.ask(Sink.take, 0)
        return 1e6 * (time.process_time() - start) / MESSAGES


async def publish(subscribers: int) -> tuple[float, float]:
    """Return the microseconds for each of so many subscribers: of a published value, and of leaving."""
    async with actors.System() as system:
        topic = system.topic("news")
        over, joined = asyncio.Event(), asyncio.Semaphore(0)

        async def subscribe() -> None:
            async with topic.subscribe():
                joined.release()
                await over.wait()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(subscribers):
                tasks.create_task(subscribe())
            for _ in range(subscribers):
                await joined.acquire()
            start = time.process_time()
            for number in range(PUBLISHED):
                topic.publish(number)
            published = time.process_time() - start
            start = time.process_time()
            over.set()
        left = time.process_time() - start
        return 1e6 * published / subscribers / PUBLISHED, 1e6 * left / subscribers


@dataclass(frozen=True)
class Place:
    """Stands for a node, of which nothing else is asked here."""

    name: str
    slot: int


def choose(nodes: int) -> float:
    """Return the microseconds in which the node with the fewest connections is chosen, by the parent."""
    members = [Member(cast("RouterNode", Place(f"web-{slot}", slot))) for slot in range(nodes)]
    snapshots = Snapshots(lambda _slot: None)
    snapshots.reset(members)
    start = time.process_time()
    for number in range(1, CONNECTIONS + 1):
        found = snapshots.least(0.0)
        if found is not None:
            chosen = members[found.slot]
            chosen.last_turn = number
            chosen.open.add(number)
            snapshots.changed(chosen)
    return 1e6 * (time.process_time() - start) / CONNECTIONS


async def main() -> None:
    """Measure all."""
    figure("choose of 256 / of 4", "node", choose(256) / choose(4))
    spawn, _, ask = await spawns(named=False)
    figure("spawn at 100000 / at 10000", "actors", spawn)
    figure("ask at 100000 / at 10000", "actors", ask)
    spawn, lookup, _ = await spawns(named=True)
    figure("spawn at 100000 / at 10000", "names", spawn)
    figure("lookup at 100000 / at 10000", "names", lookup)
    figure("fan-in of 1000 / of 10", "tell", await fan_in(1_000) / await fan_in(10))
    (few, few_left), (many, many_left) = await publish(1_000), await publish(10_000)
    figure("publish to 10000 / to 1000", "subscriber", many / few)
    figure("leave of 10000 / of 1000", "subscriber", many_left / few_left)


if __name__ == "__main__":
    actors.run(main)
