"""Wrong uses of the public face: mypy and pyright, both strict, report every line that ends with a mark.

Nothing here is run: the checkers read it; see `test_checkers`.
"""

from __future__ import annotations

from functools import partial

import actors
from actors import Pool, Ref, child, dynamic, nodes, pool, supervisor
from tests.typing.right import Blocking, Box, Counter, Plain, fetch, main, square


class Timed(actors.Actor):
    """Sets timers and starts children."""

    async def tick(self, number: int) -> None:
        """Be sent by a timer."""

    async def on_start(self) -> None:
        """Make one mistake after another."""
        timers = self.context.timers
        timers.once(1.0, Timed.tick, "one")  # wrong
        timers.once(1.0, Timed.tick)  # wrong
        timers.every(1.0, Timed.tick, number="one")  # wrong
        timers.every(1.0, Timed.tick, 1, 2)  # wrong
        timers.every(1.0, Timed.tick, "one", key="k")  # wrong
        timers.idle(1.0, Timed.tick, "one")  # wrong
        await self.context.spawn(Counter, "one")  # wrong
        await self.context.spawn(Plain, 1)  # wrong
        await self.context.spawn(Counter, 1, nmae="c")  # wrong
        await self.context.system.lookup(1)  # wrong
        await self.context.system.spwan(Counter, 1)  # wrong


async def spawning(system: actors.System) -> None:
    """Constructors."""
    await system.spawn(Counter, "one")  # wrong
    await system.spawn(Counter)  # wrong
    await system.spawn(Counter, 1, "one", 2)  # wrong
    await system.spawn(Plain, 1)  # wrong
    await system.spawn(Counter, 1, step=2)  # wrong
    await system.spawn(Counter, 1, nmae="c")  # wrong
    await system.spawn(partial(Counter, stpe=2), 1)  # wrong
    await system.spawn(partial(Counter, step="two"), 1)  # wrong
    await system.spawn(Counter, 1, if_exists="retrun")  # wrong
    await system.spawn(Counter, 1, restart="TRANSIENT")  # wrong
    await system.spawn(Counter, 1, mailbox=actors.Priority)  # wrong
    await system.spawn(int, 1)  # wrong
    await system.spawn(square, 1)  # wrong
    await system.spawn(Counter(1))  # wrong
    await system.spawn(Blocking, 1)  # wrong
    await system.spawn(Box[int], "one")  # wrong


async def messages(counter: Ref[Counter], box: Ref[Box[str]]) -> None:
    """Verbs of a ref."""
    await counter.ask(Counter.add, "one")  # wrong
    await counter.ask(Counter.add, bye=1)  # wrong
    await counter.ask(Plain.total, [1.0])  # wrong
    await counter.tell(Counter.add, 1, 2)  # wrong
    counter.tell_nowait(Counter.add, "one")  # wrong
    await counter.priority(1).tell(Counter.add, "one")  # wrong
    counter.priority("high")  # wrong
    await counter.ask("add", 1)  # wrong
    text: str = await counter.ask(Counter.add, 1)  # wrong
    counter.stream(Counter.add, 1)  # wrong
    number: int = await box.ask(Box[str].get)  # wrong
    await counter.tell(Counter.add, len(text) + number)


async def finding(system: actors.System) -> None:
    """Lookups."""
    await (await system.lookup("c", Counter)).ask(Counter.add)  # wrong
    await system.lookup("c", "Counter")  # wrong
    found = await system.lookup("c", Counter)
    assert found is not None
    await found.ask(Plain.total, [1.0])  # wrong


async def trees(system: actors.System) -> None:
    """Data."""
    child(Counter, "one")  # wrong
    child(Plain, mailbx=5)  # wrong
    child(Plain, on=3)  # wrong
    pool(Counter, size=2)  # wrong
    pool(Counter, 1, sise=2)  # wrong
    pool(size="two")  # wrong
    pool(Plain, kind="proces")  # wrong
    nodes("x", kind="proces")  # wrong
    nodes("x", backend="curio")  # wrong
    supervisor("s", [Plain])  # wrong
    dynamic("d", max_childern=3)  # wrong
    plain: Ref[Plain] = await system.start(child(Counter, 1))  # wrong
    await plain.wait()


async def pools(system: actors.System, workers: Pool[Counter]) -> None:
    """Functions and messages."""
    await system.offload(square, "three")  # wrong
    workers.map(square, ["one", "two"])  # wrong
    workers.map(square, [1, 2], windw=3)  # wrong
    pictures: list[str] = [item async for item in workers.map(fetch, ["u"])]  # wrong
    await system.offload(partial(square, pwoer=3), 3)  # wrong
    await workers.run(square, 3, retires=2)  # wrong
    data: str = await workers.run(fetch, "u")  # wrong
    await workers.ask(Counter.add, "one")  # wrong
    await workers.ask(Plain.total, [1.0])  # wrong
    await workers.run(fetch, data + pictures[0])


def threads(system: actors.System, counter: Ref[Counter]) -> None:
    """The verbs that block."""
    system.blocking(counter).ask(Counter.add, "one")  # wrong
    system.blocking(counter).tell(Plain.total, [1.0])  # wrong


async def from_outside() -> None:
    """A program that is connected."""
    async with actors.connect(1.5) as system:  # wrong
        counter: Ref[Plain] | None = await system.lookup("counter", Counter)  # wrong
        assert counter is not None
    with actors.connect("orders") as plain:
        await plain.tree()  # wrong
        rooms = plain.start(actors.keyed(Counter))
        rooms["hall"].ask(Counter.add, "one")  # wrong


def serving() -> None:
    """Words and programs."""
    actors.listen("pkg:echo", policy="round-robbin")  # wrong
    actors.asgi("pkg:app", lifespan="of")  # wrong
    actors.run(main)  # wrong
    actors.run(main, 3, backend="curio")  # wrong
