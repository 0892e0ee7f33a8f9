"""An address is given back only when nothing can be lost by that; an actor is stopped only when it is idle."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Actor, System
from actors._keyed import IdleWatch, KeyedFacts
from actors._keyed.client import KeyedClient
from actors._system.system import coordinator_of
from actors.testing import eventually
from tests.keyed.rooms import Room

pytestmark = pytest.mark.within(20)


class Office:
    """Stands for the parent: answers when it is told to, with one address after the other."""

    def __init__(self, *refs: Any) -> None:
        self.refs = list(refs)
        self.asked = 0
        self.answers = anyio.Event()

    def starting(self, _name: str) -> None:
        """Nobody starts."""

    async def find(self, *_asked: Any) -> Any:
        self.asked += 1
        await self.answers.wait()
        return self.refs.pop(0)


async def test_an_address_that_is_recalled_before_the_one_who_asked_has_it_is_not_used(
    system: System,
) -> None:
    old, new = await system.spawn(Room, "old"), await system.spawn(Room, "new")
    office: Any = Office(old, new)
    client = KeyedClient(
        coordinator_of(system).host, KeyedFacts(1, "rooms", old.cls_path, 10), office
    )
    got: list[Any] = []

    async def use() -> None:
        got.append(await client.ask("x", Room.greet, (), {}))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(use)
        await eventually(lambda: office.asked == 1)
        office.answers.set()
        # The answer is there; the task that waits for it has not run yet.
        assert await client.recall("x", old.uid, idle=False)

    assert got[0][1] == "new"
    assert office.asked == 2
    for ref in (old, new):
        await ref.stop()


async def test_an_idle_recall_is_refused_while_an_answer_is_awaited_and_keeps_the_address(
    system: System,
) -> None:
    ref = await system.spawn(Room, "x")
    office: Any = Office(ref)
    office.answers.set()
    client = KeyedClient(
        coordinator_of(system).host, KeyedFacts(1, "rooms", ref.cls_path, 10), office
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.ask, "x", Room.stay, (0.2,), {})
        await eventually(lambda: "x" in client.places)
        assert not await client.recall("x", ref.uid, idle=True)
        assert "x" in client.places

    assert await client.recall("x", ref.uid, idle=True)
    assert client.places == {}
    await ref.stop()


async def test_an_actor_that_has_got_a_message_since_it_was_reported_is_not_stopped(
    system: System,
) -> None:
    watch = IdleWatch(coordinator_of(system).host, lambda _book, _uid: None)
    room = await system.spawn(Room, "x")
    await room.tell(Room.say_slowly, 1)
    assert not watch.stop_if_idle(room.uid)

    await room.ask(Room.greet)
    await eventually(lambda: watch.stop_if_idle(room.uid))
    assert not (await room.wait()).abnormal
    assert watch.stop_if_idle(room.uid)  # it has ended


class Slow(Actor):
    """Notes what it has handled, where the test of this process sees it."""

    handled: list[int] = []  # noqa: RUF012 - of this process

    async def work(self, number: int) -> None:
        await anyio.sleep(0.02)
        self.handled.append(number)


async def test_an_address_is_given_back_when_what_was_told_has_been_handled(system: System) -> None:
    Slow.handled.clear()
    ref = await system.spawn(Slow, mailbox=2)
    office: Any = Office(ref)
    office.answers.set()
    client = KeyedClient(
        coordinator_of(system).host, KeyedFacts(1, "slow", ref.cls_path, 2), office
    )
    async with anyio.create_task_group() as tasks:
        await client.tell("x", Slow.work, (0,), {})
        for number in range(1, 5):  # some of them wait for room
            tasks.start_soon(client.tell, "x", Slow.work, (number,), {})
        await eventually(lambda: client.places["x"].sends)
        assert await client.recall("x", ref.uid, idle=False)
        assert sorted(Slow.handled) == [0, 1, 2, 3, 4]
    await ref.stop()
