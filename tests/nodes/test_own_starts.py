"""Unnamed actors that a node starts on itself: at once, and supervised by the parent all the same."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from anyio.lowlevel import checkpoint

from actors import Backoff, Exit, ExitKind, Ref, Restart, System, Topology, nodes
from actors.errors import ActorStopped, NodeDown, StartFailed
from actors.nodes import Node, Siblings
from actors.testing import Probe, eventually, running_system
from tests.conftest import LOOPS
from tests.nodes.own_starts import Born, Hanging, Starter

KINDS: tuple[Literal["process", "thread"], ...] = ("process", "thread")
ONE = Topology(nodes=[nodes("a")])
MANY = 100


@pytest.fixture(params=["uvloop", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


def _node(system: System, name: str = "a/0") -> Any:
    return next(node for node in system.nodes if node.name == name)


async def _spawned(system: System) -> dict[str, dict[str, Any]]:
    """Return the actors that were spawned, the starters aside, by name."""
    tree = await system.tree()
    below = next(item for item in tree["children"] if item["name"] == "spawned")["children"]
    return {item["name"]: item for item in below if not item["name"].startswith("Starter-")}


@pytest.mark.parametrize("kind", KINDS)
async def test_an_actor_of_its_own_is_one_of_the_system_as_any_other(kind: Any) -> None:
    async with running_system(Topology(nodes=[nodes("a", kind=kind)])) as system:
        starter = await system.spawn(Starter, on="a")
        ref = await starter.ask(Starter.start)
        assert await ref.ask(Born.incarnation) == 1
        known = (await _spawned(system))[ref.name]
        assert (known["state"], known["node"], known["restart"]) == ("RUNNING", "a/0", "TRANSIENT")
        await ref.stop()
        assert await ref.wait() == Exit.SHUTDOWN
        await eventually(lambda: _gone(system, ref))


async def _gone(system: System, ref: Ref[Any]) -> bool:
    return ref.name not in await _spawned(system)


async def test_a_node_starts_an_actor_of_its_own_while_its_parent_does_not_turn(
    tmp_path: Path,
) -> None:
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    async with running_system(ONE) as system:
        starter = await system.spawn(Starter, on="a")
        said = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            await starter.tell(Starter.start_and_say, pipe)
            for _ in range(5):
                await checkpoint()  # so that it is written
            ready, _, _ = select.select([said], [], [], 20)  # this thread's loop stands still
            assert ready
            name = os.read(said, 100).decode()
        finally:
            os.close(said)
        assert name.startswith("Born-")
        await eventually(lambda: _is_known(system, name))


async def _is_known(system: System, name: str) -> bool:
    return name in await _spawned(system)


async def test_without_a_place_it_starts_where_the_system_says() -> None:
    async with running_system(Topology(nodes=[nodes("main")])) as system:
        starter = await system.spawn(Starter, on="main")
        ref = await starter.ask(Starter.start_unplaced)
        assert ref.node == system.node.name


class _Asks:
    """Is asked nothing."""


def _siblings(*others: tuple[str, str]) -> Siblings:
    facts = [[name, kind, "READY", 1, 0] for name, kind in others]
    own: Any = Node("web/0", "web", 0)
    asks: Any = _Asks()
    return Siblings(own, asks, [["web/0", "process", "READY", 1, 0], *facts])


@pytest.mark.parametrize(
    "on, others, here",
    [
        ("web/0", (("web/1", "process"),), True),
        ("web", (("db/0", "process"),), True),
        ("web", (("web/1", "process"),), False),
        ("web/1", (("web/1", "process"),), False),
        ("db", (("db/0", "process"),), False),
        ("local", (("local", "local"),), False),
    ],
)
def test_only_what_can_be_nowhere_else_is_a_node_s_own_to_start(
    on: str, others: tuple[tuple[str, str], ...], here: bool
) -> None:
    assert _siblings(*others).only_here(on) is here


@pytest.mark.parametrize("kind", ["local", "process"])
def test_a_node_knows_whether_its_parent_runs_unplaced_actors(kind: str) -> None:
    assert _siblings(("other", kind)).parent_runs_actors is (kind == "local")


@pytest.mark.within(30)
async def test_every_actor_whose_spawn_returned_comes_back_when_its_node_is_killed_at_once() -> (
    None
):
    async with running_system(ONE) as system:
        probe = await Probe.start(system)
        starter = await system.spawn(Starter, on="a")
        with pytest.raises(NodeDown):
            await starter.ask(Starter.start_and_die, probe.ref, MANY - 1)
        back: set[str] = set()
        while len(back) < MANY:
            name, incarnation = await probe.next(20)
            if incarnation == 2:
                back.add(name)
        actors = await _spawned(system)
        assert back <= actors.keys()


@pytest.mark.within(30)
async def test_an_actor_that_was_starting_when_its_node_died_does_not_come_back() -> None:
    async with running_system(ONE) as system:
        probe = await Probe.start(system)
        starter = await system.spawn(Starter, on="a")
        await starter.tell(Starter.start_hanging, probe.ref, 60)
        ref = await probe.next(20)
        assert (await _spawned(system))[ref.name]["state"] == "STARTING"
        events = system.events()
        _node(system).kill()
        async for event in events:
            if event.kind == "child_start_failed":
                assert event.facts["child"] == ref.name
                assert "node a/0 is down" in event.facts["error"]
                break
        assert ref.name not in await _spawned(system)
        assert (await ref.wait()).kind is ExitKind.CRASHED


@pytest.mark.within(20)
async def test_it_is_restarted_when_it_crashes_by_the_backoff_that_was_given() -> None:
    async with running_system(ONE) as system:
        starter = await system.spawn(Starter, on="a")
        twice = await starter.ask(Starter.start, backoff=Backoff(first=0, give_up_after=1))
        await twice.tell(Born.crash)
        assert await eventually(lambda: _incarnation(twice)) == 2
        await twice.tell(Born.crash)
        assert (await twice.wait()).kind is ExitKind.CRASHED
        assert twice.name not in await _spawned(system)


async def _incarnation(ref: Ref[Born]) -> int:
    with anyio.move_on_after(5):
        number = await ref.ask(Born.incarnation)
        return number if number > 1 else 0
    return 0


@pytest.mark.parametrize("restart", [Restart.PERMANENT, Restart.TEMPORARY])
async def test_it_is_restarted_as_its_spawn_says(restart: Restart) -> None:
    async with running_system(ONE) as system:
        starter = await system.spawn(Starter, on="a")
        ref = await starter.ask(Starter.start, restart=restart)
        await ref.tell(Born.crash)
        if restart is Restart.TEMPORARY:
            assert (await ref.wait()).kind is ExitKind.CRASHED
        else:
            assert await eventually(lambda: _incarnation(ref)) == 2
            assert (await _spawned(system))[ref.name]["restart"] == "PERMANENT"


async def test_a_start_that_fails_is_the_callers_and_an_event() -> None:
    async with running_system(ONE) as system:
        starter = await system.spawn(Starter, on="a")
        events = system.events()
        with pytest.raises(StartFailed, match="no port"):
            await starter.ask(Starter.start_failing, "no port")
        async for event in events:
            if event.kind == "child_start_failed":
                assert "no port" in event.facts["error"]
                break
        assert await _spawned(system) == {}


async def test_a_start_that_is_cancelled_leaves_no_actor() -> None:
    async with running_system(ONE) as system:
        probe = await Probe.start(system)
        starter = await system.spawn(Starter, on="a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(starter.ask, Starter.start_hanging, probe.ref, 0.05)
            ref = await probe.next(20)
        assert (await ref.wait()).kind is ExitKind.KILLED
        assert ref.name not in await _spawned(system)


async def test_another_node_that_hears_of_it_as_it_starts_may_stop_it() -> None:
    async with running_system(Topology(nodes=[nodes("a"), nodes("b")])) as system:
        probe = await Probe.start(system)
        starter = await system.spawn(Starter, on="a")
        other = await system.spawn(Starter, on="b")
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(starter.ask, Starter.start_hanging, probe.ref, 0.2)
                ref = await probe.next(20)
                await other.ask(Starter.stop_other, ref)
                with pytest.raises(ActorStopped):
                    await ref.ask(Hanging.nothing)


@pytest.mark.within(30)
async def test_who_waits_for_its_end_on_another_node_hears_of_it_once_its_node_is_given_up() -> (
    None
):
    async with running_system(Topology(nodes=[nodes("a"), nodes("b")])) as system:
        starter, other = await system.spawn(Starter, on="a"), await system.spawn(Starter, on="b")
        ref = await starter.ask(Starter.start)
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                assert (await other.ask(Starter.wait_for, ref)).kind is ExitKind.NODE_DOWN

            tasks.start_soon(wait)
            await other.ask(Starter.ask_of, ref)
            await _node(system).stop(grace=5)


async def test_a_node_that_drains_starts_none_of_its_own() -> None:
    async with running_system(ONE) as system:
        starter = await system.spawn(Starter, on="a")
        await starter.ask(Starter.start)
        probe = await Probe.start(system)
        await starter.tell(Starter.start_always, probe.ref)
        await eventually(lambda: _count(system, 2), 20)
        events = system.events()
        await _node(system).drain()
        assert await probe.next(20) == "NodeDown"
        kinds = [event.kind for event in events.take()]
        after = kinds[kinds.index("node_draining") :]
        # Those that were under way, and that it started until it was told: on a busy machine some milliseconds.
        assert after.count("child_started") < 10 * MANY


@pytest.mark.within(30)
async def test_actors_of_its_own_move_to_the_next_run_of_their_node() -> None:
    async with running_system(ONE) as system:
        starter = await system.spawn(Starter, on="a")
        ref = await starter.ask(Starter.start)
        await system.reload("a")
        assert await ref.ask(Born.incarnation) == 2
        again = await starter.ask(Starter.start)
        assert await again.ask(Born.incarnation) == 1
        assert {ref.name, again.name} <= (await _spawned(system)).keys()


@pytest.mark.within(30)
async def test_a_system_stops_while_nodes_start_actors_of_their_own_and_ends_each_of_them() -> None:
    async with running_system(Topology(nodes=[nodes("a", count=2)])) as system:
        probe = await Probe.start(system)
        starters = [await system.spawn(Starter, on=f"a/{slot}") for slot in (0, 1)]
        events = system.events()
        for starter in starters:
            await starter.tell(Starter.start_always, probe.ref)
        await eventually(lambda: _count(system, 2 * MANY), 20)
    started, ended = set(), set()
    async for event in events:
        if event.kind == "child_started" and event.facts["supervisor"] == "spawned":
            started.add(event.facts["child"])
        elif event.kind == "child_ended" and event.facts["supervisor"] == "spawned":
            ended.add(event.facts["child"])
    assert started <= ended


async def _count(system: System, least: int) -> bool:
    return len(await _spawned(system)) >= least


async def test_it_is_stopped_in_order_at_the_end_of_the_system(tmp_path: Path) -> None:
    said = tmp_path / "said"
    async with running_system(ONE) as system:
        starter = await system.spawn(Starter, on="a")
        await starter.ask(Starter.start, None, str(said))
    assert said.read_text() == "SHUTDOWN\n"


@pytest.mark.within(30)
async def test_a_node_that_is_killed_while_it_starts_many_loses_none_that_it_told_of() -> None:
    async with running_system(ONE) as system:
        probe = await Probe.start(system)
        starter = await system.spawn(Starter, on="a")
        await starter.tell(Starter.start_always, probe.ref)
        await eventually(lambda: _count(system, MANY), 20)
        events = system.events()
        pid = _node(system).pid
        os.kill(pid, signal.SIGKILL)
        started: set[str] = set()
        async for event in events:
            if event.kind == "child_started" and "Born" in event.facts["child"]:
                started.add(event.facts["child"])
            if event.kind == "node_ready":
                break
        await eventually(lambda: _all_running(system, started), 20)


async def _all_running(system: System, names: set[str]) -> bool:
    actors = await _spawned(system)
    return all(actors[name]["state"] == "RUNNING" for name in names)
