"""Random families of actors that fail in every hook: all end once, nothing runs after its end (C54, 3.6)."""

from __future__ import annotations

import math
from contextlib import suppress
from random import Random
from typing import Any

import anyio
import pytest
import trio.testing

from actors import Actor, Backoff, Exit, Ref, Restart, System
from actors.errors import ActorsError, StartFailed
from actors.testing import VirtualTimeLoop, running_system
from actors.transport import local

DAY = 86_400.0
DEPTH = 3
STEPS = 120
ROOTS = 3
ENDING = ("finish", "stop", "grace")
BACKOFF = Backoff(first=0.01, factor=2, cap=1, give_up_after=6)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": VirtualTimeLoop}
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Book:
    """Rolls the dice for everybody, and keeps the accounts.

    Attributes:
        refs: Everybody who was ever ready.
        made: How many objects there were.
        beating: Whose background task is running.
        wrong: What may never happen, in words.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.refs: list[Ref[Any]] = []
        self.made = 0
        self.beating: set[tuple[str, int]] = set()
        self.wrong: list[str] = []

    def chance(self, of: float) -> bool:
        return self.random.random() < of

    def fail(self, of: float, where: str) -> None:
        if self.chance(of):
            raise ArithmeticError(where)


class Limb(Actor):
    """Grows children, and fails at random in whatever it does."""

    def __init__(self, book: Book, depth: int) -> None:
        self.book = book
        self.depth = depth
        self.over = False
        self.hooks = {"on_start": 0, "on_stop": 0}
        book.made += 1
        if self.context.incarnation > 1:
            book.fail(0.1, "constructor")

    def _see(self, what: str) -> None:
        if self.over:
            self.book.wrong.append(f"{what} of {self.context.name} after its end")
        if what in self.hooks:
            self.hooks[what] += 1
            if self.hooks[what] > 1:
                self.book.wrong.append(f"{what} of {self.context.name} twice")

    def _may_fail(self) -> bool:
        """Whether failing here cannot keep the test itself from its three families."""
        return self.context.incarnation > 1 or self.depth < DEPTH

    async def on_start(self) -> None:
        self._see("on_start")
        self.context.tasks.start_soon(self._beat)
        for _ in range(self.book.random.randrange(3) if self.depth else 0):
            with suppress(StartFailed):
                await self._grow()
        if self._may_fail():
            self.book.fail(0.1, "on_start")

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002, ARG002 - the hook's name
        self._see("on_stop")
        try:
            if self.book.chance(0.2):
                await anyio.sleep(self.book.random.choice([0.01, 1, 8]))
            self.book.fail(0.2, "on_stop")
        finally:
            self.over = True

    async def on_exit(self, ref: Ref[Any], exit: Exit) -> None:  # noqa: A002, ARG002 - as above
        self._see("on_exit")
        self.book.fail(0.1, "on_exit")

    async def _grow(self) -> None:
        child = await self.context.spawn(
            Limb,
            local(self.book),
            self.depth - 1,
            backoff=BACKOFF,
            restart=self.book.random.choice(list(Restart)),
        )
        self.book.refs.append(child)
        if self.book.chance(0.5):
            self.context.watch(child)

    async def _beat(self) -> None:
        me = (self.context.name, self.context.incarnation)
        self.book.beating.add(me)
        try:
            await anyio.sleep(self.book.random.choice([5, math.inf]))
            if self._may_fail():
                self.book.fail(0.5, "task")
        finally:
            self.book.beating.discard(me)

    async def grow(self) -> None:
        self._see("a message")
        if self.depth:
            await self._grow()

    async def crash(self) -> None:
        self._see("a message")
        raise ArithmeticError("a message")

    async def ping(self) -> int:
        self._see("a message")
        return self.context.incarnation

    async def hang(self) -> None:
        self._see("a message")
        await anyio.sleep(self.book.random.choice([1, math.inf]))

    async def finish(self) -> None:
        self._see("a message")
        self.context.stop()


class Witness(Actor):
    """Counts the ends of everybody."""

    def __init__(self, ends: dict[Ref[Any], int]) -> None:
        self.ends = ends

    async def watch(self, ref: Ref[Any]) -> None:
        self.ends.setdefault(ref, 0)
        self.context.watch(ref)

    async def on_exit(self, ref: Ref[Any], exit: Exit) -> None:  # noqa: A002, ARG002 - as above
        self.ends[ref] += 1


async def _step(book: Book) -> None:
    ref = book.random.choice(book.refs)
    what = book.random.choice(["crash", "kill", "ping", "grow", "grow", "hang", *ENDING])
    if ref in book.refs[:ROOTS] and what in ENDING:
        return  # they are to bear it all
    with suppress(ActorsError, ArithmeticError):
        if what == "kill":
            ref.kill()
        elif what in {"stop", "grace"}:
            await ref.stop(grace=0.5 if what == "grace" else None)
        elif book.chance(0.5):
            ref.tell_nowait(getattr(Limb, what))
        else:
            await ref.within(0.5).ask(getattr(Limb, what))
    await anyio.sleep(book.random.choice([0, 0, 0.01, 0.3]))


async def _live(system: System, book: Book, ends: dict[Ref[Any], int]) -> Ref[Witness]:
    """Grow three families and disturb them."""
    witness = await system.spawn(Witness, local(ends))
    roots = [
        await system.spawn(Limb, local(book), DEPTH, backoff=BACKOFF, restart=Restart.PERMANENT)
        for _ in range(ROOTS)
    ]
    book.refs[:0] = roots
    for _ in range(STEPS):
        await _step(book)
        for ref in [ref for ref in book.refs if ref not in ends]:
            await witness.ask(Witness.watch, ref)
    for root in roots:
        await root.stop(grace=20)
        await root.wait()
    for ref in book.refs:
        if ref not in ends:
            await witness.ask(Witness.watch, ref)
        await ref.wait()
    return witness


async def live_and_end(seed: int) -> None:
    """Have three families live, and look at what they left."""
    book = Book(seed)
    ends: dict[Ref[Any], int] = {}
    with anyio.fail_after(DAY):
        async with running_system() as system:
            witness = await _live(system, book, ends)
            await witness.wait_ready()  # behind all notices
            assert len(book.refs) > 10
            assert book.made > len(book.refs)
            assert ends == dict.fromkeys(book.refs, 1)
            assert [ref.name for ref in book.refs if await system.lookup(ref.name)] == []
            spawned = next(c for c in (await system.tree())["children"] if c["name"] == "spawned")
            assert [info["name"] for info in spawned["children"]] == [witness.name]
            assert book.beating == set()
    assert book.wrong == []


@pytest.mark.parametrize("seed", range(5))
async def test_c54_whatever_fails_everybody_ends_once_and_nothing_is_left(seed: int) -> None:
    await live_and_end(seed)
