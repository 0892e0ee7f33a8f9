"""A wait for a start or an end that can never come is refused by name, on every kind of node."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Actor, Exit, Ref, concurrent
from actors.errors import CallCycle, StartFailed
from tests.contracts.node_under_test import NodeUnderTest


class Finder(Actor):
    """Looks up, or spawns unless it is there, whoever it is told to, while it starts."""

    def __init__(self, how: str, *names: str) -> None:
        self.how = how
        self.names = names

    async def on_start(self) -> None:
        system, [name, *others] = self.context.system, self.names
        if self.how == "lookup":
            await system.lookup(name)
        else:
            on = self.context.node
            ring = (*others, name)
            await system.spawn(Finder, "spawn", *ring, name=name, on=on, if_exists="return")

    async def ping(self) -> str:
        return "pong"


class Asker(Actor):
    """Has somebody look up its own name while it starts."""

    def __init__(self, by: Ref[Parent]) -> None:
        self.by = by

    async def on_start(self) -> None:
        await self.by.ask(Parent.look_up, self.context.name)


class Meeting(Actor):
    """Lets two go on when both have come."""

    def __init__(self) -> None:
        self.come_already = 0
        self.both = anyio.Event()

    @concurrent
    async def come(self) -> None:
        self.come_already += 1
        if self.come_already > 1:
            self.both.set()
        await self.both.wait()


class Patient(Actor):
    """Looks somebody up when two such have begun to start."""

    def __init__(self, meeting: Ref[Meeting], name: str) -> None:
        self.meeting = meeting
        self.name = name

    async def on_start(self) -> None:
        await self.meeting.ask(Meeting.come)
        await self.context.system.lookup(self.name)


class Child(Actor):
    """Asks its parent while it starts."""

    def __init__(self, parent: Ref[Any]) -> None:
        self.parent = parent

    async def on_start(self) -> None:
        await self.parent.ask(Parent.ping)

    async def ask(self, whom: Ref[Any]) -> Any:
        return await whom.ask(Parent.ping)


class Parent(Actor):
    """Waits for starts and ends in its handlers."""

    async def ping(self) -> str:
        return "pong"

    async def adopt(self, where: str) -> None:
        me = self.context.ref
        if where == "child":
            await self.context.spawn(Child, me)
        else:
            await self.context.system.spawn(Child, me, on=self.context.node)

    async def look_up(self, name: str) -> None:
        await self.context.system.lookup(name)

    async def end(self) -> Exit:
        await self.context.ref.stop()
        return await self.context.ref.wait()

    async def wait_for(self, whom: Ref[Any]) -> Exit:
        return await whom.wait()

    async def have_waited_for(self, by: Ref[Any]) -> Exit:
        return await by.ask(Parent.wait_for, self.context.ref)


@pytest.mark.parametrize("names", [("one",), ("two", "one"), ("two", "three", "one")])
async def test_actors_that_spawn_each_other_while_they_start_are_refused(
    node: NodeUnderTest, names: tuple[str, ...]
) -> None:
    with anyio.fail_after(10):
        with pytest.raises(StartFailed, match="would wait for the asking actor itself"):
            await node.spawn(Finder, "spawn", *names, name="one")
        for name in names:
            assert await node.system.lookup(name) is None


async def test_an_actor_that_looks_itself_up_while_it_starts_is_refused(
    node: NodeUnderTest,
) -> None:
    with anyio.fail_after(10):
        with pytest.raises(StartFailed, match="CallCycle: actor 'own': finding it by its name"):
            await node.spawn(Finder, "lookup", "own", name="own")


async def test_who_is_asked_by_a_starting_actor_cannot_look_it_up(node: NodeUnderTest) -> None:
    with anyio.fail_after(10):
        with pytest.raises(StartFailed, match="CallCycle: actor 'asker'"):
            await node.spawn(Asker, await node.spawn(Parent), name="asker")


async def test_of_two_that_look_each_other_up_while_they_start_one_is_refused(
    node: NodeUnderTest,
) -> None:
    meeting = await node.spawn(Meeting)
    outcomes: list[Any] = []

    async def spawn(name: str, other: str) -> None:
        try:
            outcomes.append(await node.spawn(Patient, meeting, other, name=name))
        except StartFailed as error:
            outcomes.append(error)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spawn, "left", "right")
            tasks.start_soon(spawn, "right", "left")
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Ref", "StartFailed"]


async def test_who_is_started_by_another_may_look_up_who_runs(node: NodeUnderTest) -> None:
    with anyio.fail_after(10):
        await node.spawn(Finder, "lookup", "nobody", name="runs")
        finder = await node.spawn(Finder, "lookup", "runs", name="finds")
        assert await finder.ask(Finder.ping) == "pong"


@pytest.mark.parametrize("where", ["child", "system"])
async def test_a_start_that_asks_whoever_waits_for_it_is_refused(
    node: NodeUnderTest, where: str
) -> None:
    parent = await node.spawn(Parent)
    with anyio.fail_after(10):
        with pytest.raises(StartFailed, match="CallCycle"):
            await parent.ask(Parent.adopt, where)
        assert await parent.ask(Parent.ping) == "pong"


async def test_a_handler_that_waits_for_its_own_end_is_refused(node: NodeUnderTest) -> None:
    parent = await node.spawn(Parent)
    with anyio.fail_after(10):
        with pytest.raises(CallCycle, match="it cannot end before this handler is done"):
            await parent.ask(Parent.end)
        assert await parent.wait() == Exit.SHUTDOWN


async def test_who_is_asked_cannot_wait_for_the_end_of_the_asker(node: NodeUnderTest) -> None:
    parent, other = await node.spawn(Parent), await node.spawn(Parent)
    with anyio.fail_after(10):
        with pytest.raises(
            CallCycle, match=r"waits for the asking actor|before this handler is done"
        ):
            await parent.ask(Parent.have_waited_for, other)


async def test_a_handler_may_wait_for_the_end_of_another(node: NodeUnderTest) -> None:
    parent, other = await node.spawn(Parent), await node.spawn(Parent)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                assert await parent.ask(Parent.wait_for, other) == Exit.SHUTDOWN

            tasks.start_soon(wait)
            await anyio.sleep(0.05)
            await other.stop()
