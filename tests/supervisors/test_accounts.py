"""What a supervisor says and remembers of its children is exact, also in the middle of things."""

from __future__ import annotations

import anyio
import pytest

from actors.supervisors import Backoff, ChildState, Exit, Strategy
from actors.supervisors.testing import FakeHost, Gate, failing, gated, slow_stop
from tests.supervisors.world import World, settle


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_restart_counts_when_the_child_is_ready_and_not_before(
    world: World, dynamic: bool
) -> None:
    gate = Gate()
    gate.open()
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(world.kit.spec("a", gated(gate)))
    gate.close()
    world.kit.run("a").crash()
    await gate.waiting.wait()

    assert [(info.state, info.restarts) for info in sup.children()] == [(ChildState.STARTING, 0)]
    gate.open()
    await settle()
    assert [(info.state, info.restarts) for info in sup.children()] == [(ChildState.RUNNING, 1)]


async def test_a_restart_that_was_interrupted_does_not_count(world: World) -> None:
    sup = await world.supervisor(world.kit.spec("a"))
    spec = world.kit.spec("b", gated(gate := Gate()))
    gate.open()
    await sup.start_child(spec)
    gate.close()
    world.kit.run("b").crash()
    await gate.waiting.wait()

    await sup.stop_child("b")

    (info, _) = sup.children()
    assert (info.name, info.state, info.restarts) == ("b", ChildState.STOPPED, 0)


async def test_of_children_that_stop_together_each_is_gone_as_soon_as_it_has_ended(
    world: World,
) -> None:
    kit = world.kit
    dyn = await world.dynamic()
    await dyn.start_child(kit.spec("slow", slow_stop(4)))
    await dyn.start_child(kit.spec("quick", slow_stop(1)))
    dyn.stop()

    await anyio.sleep(2)

    assert kit.gone == {"quick": [Exit.SHUTDOWN]}
    assert [info.name for info in dyn.children()] == ["slow"]
    await dyn.wait()
    assert kit.gone == {"quick": [Exit.SHUTDOWN], "slow": [Exit.SHUTDOWN]}


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_failed_restart_does_not_change_how_the_last_run_ended(
    world: World, dynamic: bool
) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    error = ValueError("second start")
    script = failing(error, runs=lambda number: number == 2)
    await sup.start_child(kit.spec("a", script, backoff=Backoff(first=1)))
    kit.run("a").end(Exit.NORMAL)
    await settle()

    (info,) = sup.children()
    assert info.state is ChildState.BACKING_OFF
    assert (info.last_exit, info.last_error) == (Exit.NORMAL, error)


async def test_a_child_that_was_healthy_when_a_sibling_took_it_down_has_its_row_forgotten(
    world: World,
) -> None:
    kit = world.kit
    sup = await world.supervisor(
        kit.spec("a"), kit.spec("b", backoff=Backoff(first=30)), strategy=Strategy.ONE_FOR_ALL
    )
    kit.run("b").crash()
    await anyio.sleep(6)
    kit.run("a").crash()
    await settle()

    kit.run("b").crash()
    await settle()

    assert len(kit.runs("b")) == 4
    assert {info.state for info in sup.children()} == {ChildState.RUNNING}


@pytest.mark.parametrize("dynamic", [False, True])
async def test_waiting_for_a_host_is_no_health(world: World, dynamic: bool) -> None:
    kit = world.kit
    host = FakeHost()
    sup = await (world.dynamic() if dynamic else world.supervisor())
    script = failing(ValueError(), runs=lambda number: number == 3)
    await sup.start_child(kit.spec("a", script, host=host, backoff=Backoff(first=30, jitter=0)))
    kit.run("a").crash()
    await settle()
    host.change(ready=False)
    kit.run("a").end(Exit.NODE_DOWN("node/0: gone"))
    await anyio.sleep(100)

    host.change(ready=True)
    await settle()

    (info,) = sup.children()
    assert info.state is ChildState.BACKING_OFF


async def test_health_ends_with_the_child_and_not_when_a_busy_supervisor_notices(
    world: World,
) -> None:
    kit = world.kit
    sup = await world.supervisor(
        kit.spec("a", backoff=Backoff(first=30, jitter=0)),
        kit.spec("b", slow_stop(20), shutdown=30),
    )
    kit.run("a").crash()
    await settle()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sup.stop_child, "b")
        await settle()
        kit.run("a").crash()

    await settle()
    states = {info.name: info.state for info in sup.children()}
    assert states == {"a": ChildState.BACKING_OFF, "b": ChildState.STOPPED}


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_child_that_is_stopped_at_any_moment_of_its_restart_stays_stopped(
    world: World, dynamic: bool, turns: int
) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("a"))
    kit.run("a").crash()
    for _ in range(turns):
        await anyio.lowlevel.checkpoint()

    await sup.stop_child("a")
    await settle()

    assert kit.alive() == []
    assert kit.gone == {"a": [Exit.SHUTDOWN]}


@pytest.mark.parametrize("verb", ["stop", "stop_child"])
@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_stop_at_any_moment_before_a_hanging_restart_works_at_once(
    world: World, dynamic: bool, turns: int, verb: str
) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    gate = Gate()
    gate.open()
    await sup.start_child(kit.spec("a", gated(gate)))
    gate.close()
    kit.run("a").crash()
    for _ in range(turns):
        await anyio.lowlevel.checkpoint()

    with anyio.fail_after(0.1):
        if verb == "stop":
            sup.stop()
            await sup.wait()
        else:
            await sup.stop_child("a")

    assert kit.alive() == []
    assert len(kit.gone["a"]) == 1
