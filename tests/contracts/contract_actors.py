"""Actors that the contract tests run on every kind of node; a process node imports them from here."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from actors import Actor, Exit, Ref, concurrent, register
from actors.testing import Recorder


class Gate(Actor):
    """Holds whoever waits at it until it is opened."""

    def __init__(self) -> None:
        self.opened = anyio.Event()
        self.waiting = 0

    @concurrent
    async def wait(self) -> None:
        self.waiting += 1
        await self.opened.wait()

    async def waiters(self) -> int:
        return self.waiting

    async def open(self) -> None:
        self.opened.set()


class Worker(Actor):
    """Keeps a log of what it handled, and can be held, crashed and asked."""

    def __init__(self, probe: Ref[Recorder] | None = None) -> None:
        self.log: list[Any] = []
        self.probe = probe

    async def tell(self, value: Any) -> None:
        assert self.probe is not None
        await self.probe.tell(Recorder.record, value)

    async def note(self, value: Any) -> None:
        self.log.append(value)

    async def block_the_loop(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - that is what the test is about

    async def add(self, a: int, b: int = 1) -> int:
        self.log.append(("add", a, b))
        return a + b

    async def measure(self, payload: bytes | str) -> int:
        self.log.append(len(payload))
        return len(payload)

    async def logged(self) -> list[Any]:
        return self.log

    async def incarnation(self) -> int:
        return self.context.incarnation

    async def where(self) -> tuple[str, str]:
        return self.context.node, self.context.name

    async def hold(self, gate: Ref[Gate], label: Any = "held") -> Any:
        await self.tell((label, "begins"))
        try:
            await gate.ask(Gate.wait)
        except BaseException as error:
            # A message of its own: this one is being broken off and may not wait.
            assert self.probe is not None
            self.probe.tell_nowait(Recorder.record, (label, type(error).__name__))
            raise
        self.log.append(label)
        return label

    async def sleep(self) -> None:
        await self.tell("asleep")
        try:
            await anyio.sleep_forever()
        finally:
            assert self.probe is not None
            self.probe.tell_nowait(Recorder.record, "awake")

    @concurrent
    async def hold_beside(self, gate: Ref[Gate], label: Any) -> Any:
        await self.hold(gate, label)
        return label

    async def numbers(self) -> AsyncIterator[int]:
        for number in range(3):
            yield number

    async def crash(self, text: str = "boom") -> None:
        raise RuntimeError(text)

    async def crash_in_task(self) -> None:
        async def fail() -> None:
            raise RuntimeError("task failed")

        self.context.tasks.start_soon(fail)

    async def finish(self) -> None:
        self.context.stop()

    async def _secret(self) -> None: ...

    def plain(self) -> None: ...


class Impatient(Worker, ask_timeout=0.05):
    """As `Worker`; an ask of it ends soon."""


class Other(Actor):
    async def note(self, value: Any) -> None: ...


class Counting(Actor):
    """Streams."""

    def __init__(self, probe: Ref[Recorder] | None = None) -> None:
        self.probe = probe
        self.made = 0

    async def upto(self, n: int) -> AsyncIterator[int]:
        try:
            for i in range(n):
                self.made += 1
                yield i
        finally:
            if self.probe is not None:
                self.probe.tell_nowait(Recorder.record, "generator closed")

    async def failing(self, after: int) -> AsyncIterator[int]:
        for i in range(after):
            yield i
        raise LookupError("no more of these")

    async def waiting(self, gate: Ref[Gate]) -> AsyncIterator[str]:
        yield "first"
        await gate.ask(Gate.wait)
        yield "second"

    async def endless_wait(self) -> AsyncIterator[str]:
        yield "first"
        try:
            await anyio.sleep_forever()
        finally:
            if self.probe is not None:
                self.probe.tell_nowait(Recorder.record, "wait cancelled")

    async def read_itself(self) -> list[int]:
        async with self.context.ref.stream(Counting.upto, 3) as items:
            return [item async for item in items]

    @concurrent
    async def read_itself_beside(self) -> list[int]:
        return await self.read_itself()

    async def peek_at(self, other: Ref[Counting], times: int) -> int:
        for _ in range(times):
            async with other.stream(Counting.upto, 1000) as items:
                await anext(items)
        return times

    async def how_many(self) -> int:
        return self.made

    async def crash(self) -> None:
        raise RuntimeError("boom")


@dataclass
class Cart:
    """A mutable value."""

    owner: str
    items: list[str] = field(default_factory=list)


class Circle:
    """Holds itself, so that only a pickle can carry it."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.me = self


register(Circle, via="pickle")


class Keeper(Actor):
    """Keeps what it is given and changes it."""

    def __init__(self, cart: Cart | None = None) -> None:
        self.cart = cart or Cart("nobody")

    async def take(self, cart: Cart) -> None:
        self.cart = cart

    async def spoil(self, cart: Cart) -> Cart:
        cart.items.append("spoilt by the receiver")
        return cart

    async def add(self, item: str) -> None:
        self.cart.items.append(item)

    async def show(self) -> Cart:
        return self.cart

    async def echo(self, value: Any) -> Any:
        return value

    async def call(self, item: int, *args: Any) -> Any:
        function: Any = self.cart.items[item]
        return function(*args)

    async def zeros(self, size: int) -> bytes:
        return bytes(size)

    async def spaces(self, size: int) -> str:
        return " " * size

    async def lock(self) -> Any:
        return [anyio.Lock()]

    async def crash(self) -> None:
        raise RuntimeError("boom")


class OutOfStock(Exception):
    """An error with attributes and a constructor that cannot be called again."""

    def __init__(self, item: str, *, left: int) -> None:
        super().__init__(f"{item}: {left} left")
        self.item = item
        self.left = left


class Shop(Actor):
    """Raises."""

    prices: Mapping[str, int] = {}

    async def buy(self, item: str) -> None:
        try:
            self.prices[item]
        except KeyError as error:
            problem = OutOfStock(item, left=3)
            problem.add_note("order more on Monday")
            raise problem from error

    async def local_error(self) -> None:
        class Unheard(Exception):
            pass

        raise Unheard("of a class nobody can import")

    async def alive(self) -> bool:
        return True


class Caller(Actor):
    """Asks others, itself included."""

    def __init__(self) -> None:
        self.friend: Ref[Caller] | None = None
        self.counted = 0

    async def befriend(self, friend: Ref[Caller]) -> None:
        self.friend = friend

    async def ask_myself(self) -> str:
        return await self.context.ref.ask(Caller.name)

    async def name(self) -> str:
        return self.context.name

    async def ask_friend(self) -> str:
        assert self.friend is not None
        return await self.friend.ask(Caller.ask_friend)

    async def ask_name_of_friend(self) -> str:
        assert self.friend is not None
        return await self.friend.ask(Caller.name)

    @concurrent
    async def ask_myself_beside(self) -> str:
        return await self.context.ref.ask(Caller.name)

    async def have_told(self, friend: Ref[Caller], gate: Ref[Gate], probe: Ref[Recorder]) -> int:
        return await friend.ask(Caller.tell_friend, "tell", 10, gate, probe)

    async def tell_friend(
        self, verb: str, times: int, gate: Ref[Gate], probe: Ref[Recorder]
    ) -> int:
        """Send the friend more than it has room for, from the moment the gate is open."""
        await probe.tell(Recorder.record, "begins")
        await gate.ask(Gate.wait)
        assert self.friend is not None
        for _ in range(times):
            await getattr(self.friend, verb)(Caller.count_one)
        return times

    async def count_one(self) -> None:
        self.counted += 1

    async def tell_myself(self, times: int) -> int:
        for _ in range(times):
            await self.context.ref.tell(Caller.befriend, self.context.ref)
            self.context.ref.tell_nowait(Caller.befriend, self.context.ref)
        return times

    async def ask_held(self, worker: Ref[Worker], gate: Ref[Gate]) -> Any:
        return await worker.ask(Worker.hold, gate, "inner")


class Hooked(Actor):
    """Tells its probe of every hook, in order."""

    def __init__(self, probe: Ref[Recorder]) -> None:
        self.probe = probe
        probe.tell_nowait(Recorder.record, ("init", self.context.incarnation))

    async def on_start(self) -> None:
        await self.probe.tell(Recorder.record, ("on_start", self.context.incarnation))

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002 - the hook's name
        await self.probe.tell(Recorder.record, ("on_stop", str(exit)))

    async def on_exit(self, ref: Ref[Any], exit: Exit) -> None:  # noqa: A002 - the hook's name
        await self.probe.tell(Recorder.record, ("on_exit", ref.name, str(exit)))

    async def watch(self, ref: Ref[Any]) -> None:
        self.context.watch(ref)

    async def unwatch(self, ref: Ref[Any]) -> None:
        self.context.unwatch(ref)

    async def work(self) -> None:
        await self.probe.tell(Recorder.record, "work")

    async def crash(self) -> None:
        raise RuntimeError("boom")


class Parent(Actor):
    """Starts children of its own."""

    async def start_child(self, probe: Ref[Recorder], name: str | None = None) -> Ref[Hooked]:
        return await self.context.spawn(Hooked, probe, name=name)

    async def crash(self) -> None:
        raise RuntimeError("boom")


class BadInit(Actor):
    def __init__(self, text: str) -> None:
        raise ValueError(text)


class BadStart(Actor):
    async def on_start(self) -> None:
        raise ConnectionError("no database")

    async def ping(self) -> None: ...


class StuckParent(Actor):
    """Has a child that does not end by being asked to."""

    async def start_stuck_child(self, probe: Ref[Recorder], gate: Ref[Gate]) -> None:
        child = await self.context.spawn(Worker, probe)
        await child.tell(Worker.hold, gate)


class Brief(Actor):
    """Ends at once."""

    async def on_start(self) -> None:
        self.context.stop()


class Flash(Actor):
    """Crashes at once, but not before it is ready."""

    async def on_start(self) -> None:
        async def fail() -> None:
            raise RuntimeError("over already")

        self.context.tasks.start_soon(fail)
