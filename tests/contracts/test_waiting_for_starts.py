"""A wait for a start or an end that can never come is refused by name, on every kind of node."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Actor, Exit, Ref, concurrent
from actors.errors import ActorStopped, CallCycle, StartFailed
from actors.testing import Recorder
from tests.contracts.contract_actors import Gate
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

    async def get(self, name: str, *args: Any) -> None:
        on = self.context.node
        await self.context.system.spawn(Latecomer, *args, name=name, on=on, if_exists="return")

    async def look_up_later(self, name: str, gate: Ref[Gate]) -> None:
        await gate.ask(Gate.wait)
        await self.context.system.lookup(name)

    async def have_answered(self, whom: Ref[Any]) -> Any:
        return await whom.ask(Parent.ping)

    async def end(self) -> Exit:
        await self.context.ref.stop()
        return await self.context.ref.wait()

    async def wait_for(self, whom: Ref[Any]) -> Exit:
        return await whom.wait()

    async def have_waited_for(self, by: Ref[Any]) -> Exit:
        return await by.ask(Parent.wait_for, self.context.ref)


class Latecomer(Parent):
    """Asks whom it is told to while it starts, after a gate was opened."""

    def __init__(
        self,
        probe: Ref[Recorder],
        gate: Ref[Gate],
        whom: Ref[Parent],
        by: Ref[Parent] | None = None,
    ) -> None:
        self.probe = probe
        self.gate = gate
        self.whom = whom
        self.by = by

    async def on_start(self) -> None:
        await self.probe.tell(Recorder.record, self.context.ref)
        await self.gate.ask(Gate.wait)
        if self.by is None:
            await self.whom.ask(Parent.ping)
        else:
            await self.by.ask(Parent.have_answered, self.whom)


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


async def outcomes_of(*calls: Any) -> list[str]:
    """Return how each call ended, by the type of its error."""
    outcomes: list[str] = []

    async def run(call: Any) -> None:
        try:
            await call
        except (StartFailed, CallCycle, ActorStopped) as error:
            outcomes.append(type(error).__name__)
        else:
            outcomes.append("done")

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(run, call)
    return outcomes


async def until_waiting(node: NodeUnderTest, who: Ref[Any], whom: str) -> None:
    """Return when *who* waits for an actor of that name, and some time after, when that was probed."""
    place = next(place for place in node.system.nodes if place.name == who.node)
    while True:
        actors = (await place.stats())["actors"]
        if any(whom in actor["waiting_for"] for actor in actors if actor["uid"] == who.uid):
            break
        await anyio.sleep(0.01)
    await anyio.sleep(0.15)


@pytest.mark.parametrize("how", ["look up", "get", "through another"])
async def test_who_looks_an_actor_up_cannot_be_asked_by_its_start(
    node: NodeUnderTest, how: str
) -> None:
    gate, parent, late = await node.gate(), await node.spawn(Parent), "late"
    by = await node.spawn(Parent) if how == "through another" else None

    async def look_up() -> None:
        await node.probe.next()
        if how == "get":
            await parent.ask(Parent.get, late, node.probe.ref, gate, parent)
        else:
            await parent.ask(Parent.look_up, late)

    async def open_gate() -> None:
        await until_waiting(node, parent, late)
        await gate.ask(Gate.open)

    with anyio.fail_after(20):
        spawning = node.spawn(Latecomer, node.probe.ref, gate, parent, by, name=late)
        outcomes = await outcomes_of(spawning, look_up(), open_gate())
        assert {"StartFailed", "CallCycle"} & set(outcomes), outcomes
        assert await parent.ask(Parent.ping) == "pong"


async def test_who_is_asked_by_a_start_cannot_look_that_actor_up(node: NodeUnderTest) -> None:
    gate, opened, late = await node.gate(), await node.gate(), "late"
    await opened.ask(Gate.open)
    parent = await node.spawn(Parent)

    async def open_gate() -> None:
        await node.probe.next()
        await anyio.sleep(0.15)  # the start asks, and its wait is probed: nothing is wrong yet
        await gate.ask(Gate.open)

    with anyio.fail_after(20):
        looking = parent.ask(Parent.look_up_later, late, gate)
        spawning = node.spawn(Latecomer, node.probe.ref, opened, parent, name=late)
        outcomes = await outcomes_of(looking, spawning, open_gate())
        assert {"StartFailed", "CallCycle"} & set(outcomes), outcomes
        assert await parent.ask(Parent.ping) == "pong"


@pytest.mark.parametrize("where", ["same node", "other node"])
async def test_who_asks_a_starting_actor_cannot_be_asked_by_its_start(
    node: NodeUnderTest, where: str
) -> None:
    here = node.on if where == "same node" else node.system.node.name
    gate, parent = await node.gate(), await node.spawn(Parent, on=here)

    async def ask() -> None:
        await parent.ask(Parent.have_answered, await node.probe.next())

    async def open_gate() -> None:
        await until_waiting(node, parent, "late")
        await gate.ask(Gate.open)

    with anyio.fail_after(20):
        spawning = node.spawn(Latecomer, node.probe.ref, gate, parent, name="late")
        outcomes = await outcomes_of(spawning, ask(), open_gate())
        assert {"StartFailed", "CallCycle"} & set(outcomes), outcomes
        assert await parent.ask(Parent.ping) == "pong"


async def test_a_handler_may_look_up_whoever_takes_long_to_start(node: NodeUnderTest) -> None:
    gate, late = await node.gate(), "late"
    parent, other = await node.spawn(Parent), await node.spawn(Parent)

    async def look_up() -> None:
        await node.probe.next()
        await parent.ask(Parent.look_up, late)

    async def open_gate() -> None:
        await until_waiting(node, parent, late)
        await gate.ask(Gate.open)

    with anyio.fail_after(20):
        spawning = node.spawn(Latecomer, node.probe.ref, gate, other, name=late)
        assert await outcomes_of(spawning, look_up(), open_gate()) == ["done"] * 3


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
