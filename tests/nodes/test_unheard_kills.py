"""A kill, or a stop whose grace is over, that the node does not read: its parent sees to it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

from actors import Ref, Restart, System, Topology, child, nodes
from actors._system import kill_deadlines
from actors._system.system import coordinator_of
from actors.errors import ActorCrashed, ActorStopped, NodeDown
from actors.supervisors import Exit
from actors.testing import Probe, eventually, running_system
from tests.conftest import LOOPS
from tests.nodes.hanging_actors import GATE, NOTES, Hanger

pytestmark = pytest.mark.within(40)


@pytest.fixture(params=["uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """One loop: nothing depends on the parent's."""
    return LOOPS[request.param]


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill_deadlines, "_PATIENCE", 1.5)


@pytest.fixture
async def system() -> AsyncIterator[System]:
    groups = [nodes("a"), nodes("b"), nodes("t", kind="thread")]
    async with running_system(Topology(nodes=groups)) as system:
        yield system


async def how_it_ends(ref: Ref[Any], method: Any) -> type[BaseException] | None:
    try:
        await ref.ask(method)
    except Exception as error:  # noqa: BLE001 - that is what is looked at
        return type(error)
    return None


async def until_blocked(beside: Ref[Hanger]) -> None:
    """Wait until the loop of an actor's node does not turn."""
    answered = True
    while answered:
        answered = False
        with anyio.move_on_after(0.5):
            await beside.ask(Hanger.node)
            answered = True


def restarts(system: System, name: str) -> int:
    return next(node.restarts for node in system.nodes if node.name == name)


@pytest.mark.parametrize("by", ["the program", "an actor"])
async def test_a_process_that_does_not_read_a_kill_is_ended_and_the_actor_is_restarted(
    system: System, by: str
) -> None:
    computing, beside = await system.spawn(Hanger, on="a"), await system.spawn(Hanger, on="a")
    killer = await system.spawn(Hanger, on="b")
    before = await computing.ask(Hanger.pid)
    ends: dict[str, Any] = {}
    events = system.events()

    async def ask(name: str, ref: Ref[Hanger], method: Any) -> None:
        ends[name] = await how_it_ends(ref, method)

    async with anyio.create_task_group() as asks:
        asks.start_soon(ask, "computing", computing, Hanger.match)
        await until_blocked(beside)
        asks.start_soon(ask, "beside", beside, Hanger.pid)
        if by == "an actor":
            await killer.ask(Hanger.kill, computing)
        else:
            computing.kill()
    kinds = {"node_killed", "node_died", "node_replaced"}
    about = (event async for event in events if event.kind in kinds)
    seen = [await anext(about), await anext(about)]
    events.close()
    assert [event.kind for event in seen] == ["node_killed", "node_replaced"]
    told, why = seen[0].facts, seen[1].facts["why"]
    assert why.startswith("killed by its parent: it did not answer for 1.5 s when ")
    assert ends == {"computing": ActorCrashed, "beside": NodeDown}
    name = f"actor {killer.name}" if by == "an actor" else f"node {system.node.name}"
    assert told == {"node": "a/0", "actor": computing.name, "by": name}
    node = next(node for node in system.nodes if node.name == "a/0")
    await eventually(lambda: node.ready, 20)
    assert node.restarts == 1
    assert await computing.ask(Hanger.pid) == node.pid != before


async def test_an_actor_that_computes_over_its_grace_ends_with_its_process(system: System) -> None:
    computing, beside = await system.spawn(Hanger, on="a"), await system.spawn(Hanger, on="a")
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            assert await how_it_ends(computing, Hanger.match) is ActorCrashed

        tasks.start_soon(ask)
        await until_blocked(beside)
        await computing.stop(grace=0.2)
        assert (await computing.wait()).kind in {Exit.KILLED.kind, Exit.SHUTDOWN.kind}
    await eventually(lambda: restarts(system, "a/0"), 10)


async def test_a_node_that_reads_its_kills_goes_on(system: System) -> None:
    idle, beside = await system.spawn(Hanger, on="a"), await system.spawn(Hanger, on="a")
    pid = await beside.ask(Hanger.pid)
    idle.kill()
    await idle.stop(grace=0.0)
    await idle.wait()
    with anyio.move_on_after(2):
        await anyio.sleep_forever()
    assert await beside.ask(Hanger.pid) == pid


async def test_askers_of_a_killed_actor_in_a_blocked_thread_do_not_wait_for_the_thread(
    system: System,
) -> None:
    GATE.clear()
    try:
        blocked, beside = await system.spawn(Hanger, on="t"), await system.spawn(Hanger, on="t")
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                assert await how_it_ends(blocked, Hanger.wait) is ActorCrashed

            tasks.start_soon(ask)
            await until_blocked(beside)
            blocked.kill()
        assert restarts(system, "t/0") == 0
    finally:
        GATE.set()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Keeps a thread node from turning; opened at the end of a test at the latest."""
    GATE.clear()
    yield GATE
    GATE.set()


async def block(tasks: TaskGroup, blocked: Ref[Hanger], beside: Ref[Hanger], probe: Probe) -> None:
    """Have an actor keep its thread, and then tell *probe* something."""

    async def ask() -> None:
        with pytest.raises(ActorCrashed):
            await blocked.ask(Hanger.wait_and_tell, probe.ref)

    tasks.start_soon(ask)
    await until_blocked(beside)


async def test_an_actor_that_does_not_end_in_a_blocked_thread_is_abandoned(
    system: System, gate: threading.Event
) -> None:
    probe, far = await Probe.start(system), await system.spawn(Hanger, on="a")
    blocked = await system.spawn(Hanger, on="t", name="blocked", restart=Restart.TEMPORARY)
    beside = await system.spawn(Hanger, on="t")
    assert await far.ask(Hanger.asks, blocked) == "t/0"
    async with anyio.create_task_group() as tasks:
        seen: list[Exit] = []

        async def look_from_afar() -> None:
            seen.append(await far.ask(Hanger.end_of, blocked))

        tasks.start_soon(look_from_afar)
        await block(tasks, blocked, beside, probe)
        await blocked.tell(Hanger.note, "queued")
        blocked.kill()
        with anyio.fail_after(10):
            assert await blocked.wait() == Exit.ABANDONED
            await eventually(lambda: seen == [Exit.ABANDONED], 5)
    with pytest.raises(ActorStopped, match="ABANDONED"):
        await blocked.ask(Hanger.node)
    with pytest.raises(ActorStopped, match="ABANDONED"):
        await (await system.spawn(Hanger, on="a")).ask(Hanger.asks, blocked)
    again = await system.spawn(Hanger, on="a", name="blocked")
    gate.set()
    assert await beside.ask(Hanger.node) == "t/0"
    assert await again.ask(Hanger.node) == "a/0"
    await again.ask(Hanger.tell, probe.ref, "and nothing before")
    await probe.expect("and nothing before")
    assert probe.heard == ["and nothing before"]
    assert NOTES == []


async def test_an_abandoned_actor_is_restarted_when_its_thread_turns_again(
    system: System, gate: threading.Event
) -> None:
    probe, events = await Probe.start(system), system.events()
    blocked, beside = await system.spawn(Hanger, on="t"), await system.spawn(Hanger, on="t")
    async with anyio.create_task_group() as tasks:
        await block(tasks, blocked, beside, probe)
        blocked.kill()
        ends = (str(one.facts["exit"]) async for one in events if one.kind == "child_ended")
        assert await anext(ends) == "ABANDONED"
        coordinator = coordinator_of(system)
        actor = coordinator.supervised[blocked.uid]
        await eventually(lambda: actor.incarnation == 2, 5)  # its start waits for the thread
        gate.set()
    assert await blocked.ask(Hanger.incarnation) == 2
    await blocked.ask(Hanger.tell, probe.ref, "new")
    await probe.expect("new")
    assert probe.heard == ["new"]
    await blocked.stop()
    await blocked.wait()
    assert await anext(ends) == "SHUTDOWN"
    events.close()


async def test_a_supervisor_goes_on_when_a_child_in_a_blocked_thread_is_abandoned(
    gate: threading.Event,
) -> None:
    parts = [
        child(Hanger, name="first", on="a"),
        child(Hanger, name="blocked", on="t", shutdown=0.2),
    ]
    groups = [nodes("a"), nodes("t", kind="thread")]
    async with running_system(Topology(nodes=groups, children=parts)) as system:
        probe, handle = await Probe.start(system), system.supervisor("")
        blocked, beside = await system.lookup("blocked"), await system.spawn(Hanger, on="t")
        assert blocked is not None
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                await block(tasks, blocked, beside, probe)
                with anyio.fail_after(10):
                    await handle.stop_child("blocked")
                    await handle.stop_child("first")
                    await handle.restart_child("first")
            gate.set()
            assert await beside.ask(Hanger.node) == "t/0"
        assert probe.heard == []


async def test_a_process_that_does_not_read_a_kill_by_a_supervisor_is_ended() -> None:
    parts = [child(Hanger, name="computing", on="a", shutdown=0.2)]
    async with running_system(Topology(nodes=[nodes("a")], children=parts)) as system:
        computing, beside = await system.lookup("computing"), await system.spawn(Hanger, on="a")
        assert computing is not None
        events = system.events()
        with anyio.fail_after(40):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(how_it_ends, computing, Hanger.match)
                await until_blocked(beside)
                tasks.start_soon(system.supervisor("").stop_child, "computing")
                told = await anext(one.facts async for one in events if one.kind == "node_killed")
            assert told == {"node": "a/0", "actor": "computing", "by": "its supervisor"}
            assert (await computing.wait()).kind is Exit.KILLED.kind
        events.close()
