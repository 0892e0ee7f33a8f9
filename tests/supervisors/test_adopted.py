"""Children whose first run somebody else starts, adopted by a dynamic supervisor."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors.supervisors import (
    AdoptedChild,
    AlreadyStarted,
    ChildEnded,
    ChildStarted,
    ChildStartFailed,
    ChildState,
    DynamicSupervisor,
    Exit,
    MaxChildren,
    Restart,
    SupervisorStopped,
)
from actors.supervisors.testing import Script, ScriptedChild, slow_stop
from tests.supervisors.world import World, settle


async def _adopt(
    world: World,
    sup: DynamicSupervisor,
    name: str,
    script: Script | None = None,
    **fields: Any,
) -> tuple[ScriptedChild, AdoptedChild]:
    """Have a child adopted whose start, elsewhere, is done but not reported."""
    spec = world.kit.spec(name, script, **fields)
    run: Any = spec.start()
    adopted = sup.adopt_child(spec, run)
    await run.start(adopted.ended)
    return run, adopted


async def test_an_adopted_child_is_starting_until_it_is_said_to_be_ready(world: World) -> None:
    sup = await world.dynamic()
    _, adopted = await _adopt(world, sup, "a")
    assert [info.state for info in sup.children()] == [ChildState.STARTING]
    assert world.kit.log.of(ChildStarted) == []
    adopted.ready()
    assert [info.state for info in sup.children()] == [ChildState.RUNNING]
    assert world.kit.log.of(ChildStarted) == [ChildStarted("dyn", "a", 0)]


async def test_an_adopted_child_that_crashes_is_restarted_as_any_other(world: World) -> None:
    sup = await world.dynamic()
    run, adopted = await _adopt(world, sup, "a")
    adopted.ready()
    run.crash()
    await settle()
    assert len(world.kit.runs("a")) == 2
    assert sup.children()[0].restarts == 1
    assert "a" not in world.kit.gone


async def test_an_adopted_child_that_ended_before_it_was_said_to_be_ready_is_restarted_after_that(
    world: World,
) -> None:
    sup = await world.dynamic()
    run, adopted = await _adopt(world, sup, "a")
    run.crash()
    await settle()
    assert len(world.kit.runs("a")) == 1
    adopted.ready()
    await settle()
    assert len(world.kit.runs("a")) == 2


async def test_an_adopted_child_that_fails_to_start_is_reported_and_forgotten(world: World) -> None:
    sup = await world.dynamic()
    error = RuntimeError("no port")
    _, adopted = await _adopt(world, sup, "a", restart=Restart.PERMANENT)
    adopted.failed(error)
    assert sup.children() == []
    assert world.kit.log.of(ChildStartFailed) == [ChildStartFailed("dyn", "a", error)]
    assert world.kit.gone == {"a": [Exit.CRASHED(error)]}


async def test_an_adopted_child_whose_start_was_cancelled_is_forgotten_without_a_report(
    world: World,
) -> None:
    sup = await world.dynamic()
    _, adopted = await _adopt(world, sup, "a")
    adopted.failed(None)
    assert sup.children() == []
    assert world.kit.log.of(ChildStartFailed) == []
    assert world.kit.gone == {"a": [Exit.KILLED]}


@pytest.mark.parametrize("answer", ["ready", "failed"])
async def test_stopping_an_adopted_child_that_starts_kills_it_and_waits_for_the_answer(
    world: World, answer: str
) -> None:
    sup = await world.dynamic()
    run, adopted = await _adopt(world, sup, "a")
    run._tell = None  # it cannot end before its start has
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sup.stop_child, "a")
        await settle()
        assert world.kit.told("kill") == ["kill a"]
        assert [info.state for info in sup.children()] == [ChildState.STARTING]
        adopted.ready() if answer == "ready" else adopted.failed(RuntimeError("killed"))
    assert sup.children() == []
    assert world.kit.gone == {"a": [Exit.SHUTDOWN]}
    assert world.kit.log.of(ChildStartFailed) == []


async def test_a_child_that_is_adopted_while_others_are_stopped_is_stopped_as_they_are(
    world: World,
) -> None:
    sup = await world.dynamic()
    await sup.start_child(world.kit.spec("slow", slow_stop(1)))
    sup.stop()
    await settle()
    _, adopted = await _adopt(world, sup, "late")
    adopted.ready()
    assert await sup.wait() == Exit.SHUTDOWN
    assert world.kit.told("stop", "kill") == ["stop slow", "stop late"]
    assert world.kit.gone["late"] == [Exit.SHUTDOWN]
    assert [event.exit for event in world.kit.log.of(ChildEnded)] == [Exit.SHUTDOWN, Exit.SHUTDOWN]


async def test_a_supervisor_that_has_ended_adopts_nobody(world: World) -> None:
    sup = await world.dynamic()
    sup.stop()
    await sup.wait()
    with pytest.raises(SupervisorStopped):
        await _adopt(world, sup, "a")


async def test_an_adopted_child_takes_a_name_and_a_place_as_any_other(world: World) -> None:
    sup = await world.dynamic(max_children=1)
    await _adopt(world, sup, "a")
    with pytest.raises(AlreadyStarted):
        await _adopt(world, sup, "a")
    with pytest.raises(MaxChildren):
        await _adopt(world, sup, "b")
