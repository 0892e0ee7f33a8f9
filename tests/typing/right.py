"""Right uses of the public face: every type is what `assert_type` says, to mypy and to pyright, both strict.

Nothing here is run: the checkers read it; see `test_checkers`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Generic, TypeVar, assert_type

import actors
from actors import Node, Pool, Ref, Restart, Topology, child, dynamic, nodes, pool, supervisor
from actors.errors import NodeDown

T = TypeVar("T")


class Counter(actors.Actor):
    """Has a constructor of every kind of parameter."""

    def __init__(self, start: int, by: str = "one", *, step: int = 1) -> None:
        self.n = start
        self.by = by
        self.step = step

    async def on_start(self) -> None:
        """Set timers and start a child, typed as `tell` and `spawn` are."""
        timers = self.context.timers
        timers.every(1.0, Counter.add, 1)
        timers.once(1.0, Counter.add, by=1)
        timers.once(1.0, Counter.add, 1, key="one")
        timers.every(0.5, Counter.slow)
        timers.idle(30.0, Counter.add, 2)
        self.context.tasks.start_soon(self.loop, 1)
        assert_type(await self.context.spawn(Plain), Ref[Plain])
        assert_type(
            await self.context.spawn(partial(Counter, step=3), 1, restart=Restart.TEMPORARY),
            Ref[Counter],
        )

    async def loop(self, turns: int) -> None:
        """Run beside the messages."""

    async def add(self, by: int = 1) -> int:
        """Add and return the sum."""
        self.n += by
        return self.n

    async def upto(self) -> AsyncIterator[int]:
        """Count."""
        for i in range(self.n):
            yield i

    @actors.concurrent
    async def slow(self) -> str:
        """Run beside others."""
        return "x"


class Plain(actors.Actor):
    """Has no constructor of its own."""

    async def total(self, values: Sequence[float]) -> float:
        """Add up."""
        return sum(values)


class Box(actors.Actor, Generic[T]):
    """Has a type parameter."""

    def __init__(self, item: T) -> None:
        self.item = item

    async def get(self) -> T:
        """Return the item."""
        return self.item


class Blocking(actors.Actor, blocking=True):
    """Has plain methods."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths

    def count(self) -> int:
        """Return how many there are, and ask another on the way."""
        ref = self.context.run(lambda: self.context.spawn(Counter, 1, name="beside"))
        assert_type(ref, Ref[Counter])
        total = self.context.blocking(ref).ask(Counter.add, 1)
        assert_type(total, int)
        return total


def square(number: int, power: int = 2) -> int:
    """Be run by a pool."""
    return number * power


async def fetch(url: str) -> bytes:
    """Be run by a pool, too."""
    return url.encode()


async def spawning(system: actors.System) -> None:
    """Constructors with and without arguments, and partials of them."""
    assert_type(await system.spawn(Plain), Ref[Plain])
    assert_type(await system.spawn(Counter, 1), Ref[Counter])
    assert_type(await system.spawn(Counter, 1, "two", name="c", on="web"), Ref[Counter])
    assert_type(await system.spawn(partial(Counter, step=2), 1), Ref[Counter])
    assert_type(await system.spawn(partial(Counter, 1, step=2), if_exists="return"), Ref[Counter])
    assert_type(await system.spawn(Box, 1), Ref[Box[int]])
    assert_type(await system.spawn(Box[str], "a"), Ref[Box[str]])
    assert_type(await system.spawn(Blocking, "a", "b"), Ref[Blocking])


async def messages(counter: Ref[Counter], box: Ref[Box[str]], books: Ref[Blocking]) -> None:
    """Every verb of a ref."""
    assert_type(await counter.ask(Counter.add, 1), int)
    assert_type(await counter.ask(Counter.add, by=1), int)
    assert_type(await counter.ask(Counter.slow), str)
    assert_type(await counter.within(0.5).ask(Counter.add), int)
    assert_type(await counter.priority(1).within(0.5).ask(Counter.add), int)
    counter.priority(1).tell_nowait(Counter.add, 1)
    assert_type(await box.ask(Box[str].get), str)
    assert_type(await books.ask(Blocking.count), int)
    await counter.tell(Counter.add, 1)
    counter.tell_nowait(Counter.add, 1)
    await counter.wait_ready()
    await counter.within(1).wait_ready()
    async with counter.stream(Counter.upto) as items:
        assert_type(items, AsyncIterator[int])
    assert_type(await counter.wait(), actors.Exit)


async def finding(system: actors.System) -> None:
    """Lookups with and without a class."""
    assert_type(await system.lookup("c", Counter), Ref[Counter] | None)
    assert_type(await system.lookup("c"), Ref[Any] | None)
    assert_type(await system.pool("p", Counter), Pool[Counter] | None)
    assert_type(await system.pool("p"), Pool[Any] | None)


async def trees(system: actors.System) -> None:
    """Children as data, and what their start returns."""
    assert_type(await system.start(child(Counter, 1)), Ref[Counter])
    assert_type(await system.start(child(partial(Counter, step=1), 1, on="web")), Ref[Counter])
    assert_type(await system.start(pool(Counter, 1, size=2)), Pool[Counter])
    assert_type(await system.start(pool(partial(Counter, step=1), 1, size=2)), Pool[Counter])
    assert_type(await system.start(nodes("x", kind="thread", backend="trio")), list[Node])
    await system.start(supervisor("s", [child(Plain), dynamic("d")]))
    branch = system.supervisor("s/d")
    assert_type(await branch.start_child(child(Plain, restart=Restart.TRANSIENT)), Ref[Plain])
    Topology(nodes=[nodes("web")], children=[child(Plain), pool(size=2), dynamic("more")])


async def pools(system: actors.System, workers: Pool[Counter]) -> None:
    """Functions and messages of a pool."""
    assert_type(await system.offload(square, 3), int)
    assert_type(await system.offload(partial(square, power=3), 3), int)
    assert_type(await system.offload(fetch, "u"), bytes)
    assert_type(await workers.run(square, 3, timeout=1), int)
    assert_type(await workers.run(fetch, "u", retry=2), bytes)
    assert_type([item async for item in workers.map(square, [1, 2])], list[int])
    assert_type([item async for item in workers.map(fetch, ["u"], window=3)], list[bytes])
    assert_type([item async for item in workers.map(square, [1, 2], [3, 4])], list[int])
    assert_type([item async for item in workers.as_completed(fetch, ["u"])], list[bytes])
    assert_type(list(workers.blocking().map(fetch, ["u"])), list[bytes])
    assert_type(workers.blocking().run(fetch, "u"), bytes)
    assert_type(await workers.ask(Counter.add, 1), int)
    assert_type(await workers.ask_all(Counter.add, 1), list[int])
    await workers.tell(Counter.add, 1)
    assert_type(workers.blocking().ask(Counter.add, 1), int)


def threads(system: actors.System, counter: Ref[Counter]) -> None:
    """The verbs that block."""
    blocking = system.blocking(counter)
    assert_type(blocking.ask(Counter.add, 1), int)
    assert_type(blocking.within(1).ask(Counter.slow), str)
    blocking.wait_ready()
    with blocking.stream(Counter.upto) as items:
        for item in items:
            assert_type(item, int)


def serving() -> None:
    """Words are Literals, other policies are made."""
    actors.listen("pkg:echo", policy="round-robin")
    actors.listen(actors.asgi("pkg:app", lifespan="off"), policy=actors.Sticky(actors.keys.ip()))


async def main(count: int, *, times: int = 1) -> str:
    """Be run."""
    try:
        return str(count * times)
    except NodeDown as error:
        return str(error.restarting)


def running() -> None:
    """A program's start."""
    assert_type(actors.run(main, 3), str)
    assert_type(actors.run(partial(main, times=2), 3, backend="trio"), str)
