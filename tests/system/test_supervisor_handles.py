"""Supervisors of a running system are found as long as they can come back, and forgotten then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors import (
    Actor,
    AutoShutdown,
    Budget,
    Restart,
    System,
    Topology,
    child,
    dynamic,
    supervisor,
)
from actors._system.system import coordinator_of
from actors.errors import InvalidSpec, SupervisorStopped
from actors.testing import eventually, running_system

pytestmark = pytest.mark.within(20)

OUTER = ["", "outer", "outer/inner"]


class Fragile(Actor):
    async def boom(self) -> None:
        raise RuntimeError("boom")


class Idle(Actor):
    """Does nothing."""


class Broken(Actor):
    async def on_start(self) -> None:
        raise RuntimeError("never ready")


def tree(name: str = "outer", restart: Restart = Restart.PERMANENT) -> object:
    inner = supervisor("inner", [child(Fragile, name=f"{name}-leaf")], budget=Budget(0, 1))
    return supervisor(name, [inner], restart=restart)


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with running_system(Topology(children=[tree()])) as system:  # type: ignore[list-item] # it is one
        yield system


def paths(system: System) -> list[str]:
    return sorted(coordinator_of(system).tree.handles)


async def test_one_that_was_stopped_is_not_found_with_all_that_was_in_it(system: System) -> None:
    top, outer = system.supervisor(""), system.supervisor("outer")
    assert paths(system) == OUTER
    await top.stop_child("outer")
    assert paths(system) == [""]
    with pytest.raises(
        SupervisorStopped, match="'outer' is not running: it is STOPPED \\(SHUTDOWN\\)"
    ):
        system.supervisor("outer")
    with pytest.raises(InvalidSpec, match="there is no supervisor 'outer/inner'; there are none"):
        system.supervisor("outer/inner")
    await top.restart_child("outer")
    assert paths(system) == OUTER
    assert system.supervisor("outer") == outer
    assert [row.name for row in await outer.children()] == ["inner"]
    await top.stop_child("outer")
    await top.delete_child("outer")
    assert paths(system) == [""]


async def test_one_that_is_in_another_is_forgotten_alone(system: System) -> None:
    await system.supervisor("outer").stop_child("inner")
    assert paths(system) == OUTER[:2]
    await system.supervisor("outer").restart_child("inner")
    assert paths(system) == OUTER


@pytest.mark.parametrize("killed", ["outer", "outer/inner"])
async def test_handles_outlive_restarts(system: System, killed: str) -> None:
    handles = [coordinator_of(system).tree.find(path) for path in OUTER]
    leaf = await system.lookup("outer-leaf")
    run = handles[2].supervisor
    coordinator_of(system).tree.find(killed).supervisor.kill()

    await eventually(lambda: handles[2].supervisor is not run and handles[2].supervisor.running, 10)
    assert await system.lookup("outer-leaf") == leaf
    assert paths(system) == OUTER
    assert [coordinator_of(system).tree.find(path) for path in OUTER] == handles
    assert [row.name for row in handles[2].children()] == ["outer-leaf"]


async def test_a_temporary_one_is_forgotten_when_it_ends(system: System) -> None:
    await system.start(tree("brief", Restart.TEMPORARY))  # type: ignore[call-overload] # it is one
    assert paths(system) == ["", "brief", "brief/inner", *OUTER[1:]]
    coordinator_of(system).tree.find("brief").supervisor.kill()
    await eventually(lambda: paths(system) == OUTER, 10)


async def test_one_that_failed_to_start_is_forgotten(system: System) -> None:
    with pytest.raises(Exception, match="never ready"):
        await system.start(supervisor("bad", [dynamic("fine"), child(Broken)]))
    assert paths(system) == OUTER


async def test_however_many_come_and_go_none_is_left(system: System) -> None:
    await system.start(dynamic("crowd"))
    crowd = system.supervisor("crowd")
    for n in range(20):
        await crowd.start_child(supervisor(f"number-{n}", [dynamic("inner")]))
        await crowd.stop_child(f"number-{n}")
    assert paths(system) == ["", "crowd", *OUTER[1:]]


async def test_a_group_that_has_done_its_work_is_where_the_tree_shows_it(system: System) -> None:
    done = child(Fragile, name="done", restart=Restart.TRANSIENT, significant=True)
    job = supervisor(
        "job", [done], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT, restart=Restart.TRANSIENT
    )
    await system.start(job)
    ref = await system.lookup("done")
    assert ref is not None
    await ref.stop()
    await eventually(lambda: "job" not in paths(system), 10)
    rows = {row["name"]: row for row in (await system.tree())["children"]}
    assert (rows["job"]["state"], rows["job"]["last_exit"]) == ("STOPPED", "SHUTDOWN")
    why = "supervisor 'job' is not running: it is STOPPED (SHUTDOWN); "
    again = "supervisor('').restart_child('job') starts it again"
    with pytest.raises(SupervisorStopped) as caught:
        system.supervisor("job")
    assert str(caught.value) == why + again
    await system.supervisor("").restart_child("job")
    assert [row.name for row in await system.supervisor("job").children()] == ["done"]
    await system.supervisor("").stop_child("job")
    await system.supervisor("").delete_child("job")
    assert "job" not in [row["name"] for row in (await system.tree())["children"]]
    with pytest.raises(InvalidSpec, match="there is no supervisor 'job'"):
        system.supervisor("job")


@pytest.mark.parametrize("name", ["nodes", "spawned"])
async def test_the_supervisors_of_the_system_are_not_stopped(system: System, name: str) -> None:
    with pytest.raises(InvalidSpec, match=f"supervisor {name!r} is the system's own"):
        await system.supervisor("").stop_child(name)
    ref = await system.spawn(Idle)
    await ref.stop()


async def test_spawned_actors_are_the_children_of_spawned(system: System) -> None:
    ref = await system.spawn(Idle, name="idle")
    spawned = system.supervisor("spawned")
    assert [row.name for row in await spawned.children()] == ["idle"]
    await spawned.stop_child("idle")
    assert str(await ref.wait()) == "SHUTDOWN"
    with pytest.raises(InvalidSpec, match=r"supervisor 'nodes' is the system's own, and not open"):
        system.supervisor("nodes")


async def test_the_end_of_a_significant_supervisor_shuts_the_one_above_down(system: System) -> None:
    leaf = child(Fragile, name="inner-leaf")
    once = Budget(0, 1)
    inner = supervisor("in", [leaf], budget=once, restart=Restart.TEMPORARY, significant=True)
    auto = AutoShutdown.ANY_SIGNIFICANT
    around: Any = [inner, child(Idle, name="beside")]
    await system.start(supervisor("around", around, auto_shutdown=auto, restart=Restart.TEMPORARY))
    beside, fragile = await system.lookup("beside"), await system.lookup("inner-leaf")
    assert beside is not None
    assert fragile is not None
    await fragile.tell(Fragile.boom)
    assert str(await beside.wait()) == "SHUTDOWN"
    await eventually(lambda: paths(system) == OUTER, 10)


def test_a_significant_supervisor_may_end_and_needs_an_auto_shutdown_above() -> None:
    with pytest.raises(InvalidSpec, match="must be TRANSIENT or TEMPORARY"):
        supervisor("s", [], significant=True)
    with pytest.raises(InvalidSpec, match="must be TRANSIENT or TEMPORARY"):
        dynamic("d", significant=True)
    brief = supervisor("brief", [], significant=True, restart=Restart.TEMPORARY)
    with pytest.raises(InvalidSpec, match="'brief' is significant, which needs an auto_shutdown"):
        supervisor("s", [brief])
