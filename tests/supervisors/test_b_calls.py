"""Adding, stopping, restarting and deleting children: section B of the cases."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors.supervisors import (
    AlreadyPresent,
    AlreadyStarted,
    Backoff,
    ChildNotStarted,
    ChildRestarting,
    ChildRunning,
    ChildState,
    Count,
    Exit,
    MaxChildren,
    NotFound,
    NotSupported,
    Restart,
    SupervisorStopped,
)
from actors.supervisors.testing import (
    Gate,
    dies_at_once,
    fail_after_first,
    gated,
    hanging,
    slow_stop,
)
from tests.supervisors.world import World, settle


async def test_c14_static_lifecycle(  # noqa: PLR0915 - one story
    world: World,
) -> None:
    kit = world.kit
    spec = kit.spec("child1")
    sup = await world.supervisor(spec)

    assert sup.count() == Count(1, 1, 0, 1)
    with pytest.raises(AlreadyStarted) as already:
        await sup.start_child(spec)
    assert already.value.running is kit.run("child1")
    with pytest.raises(NotFound):
        await sup.stop_child("child2")

    await sup.stop_child("child1")
    assert kit.run("child1").exit == Exit.SHUTDOWN
    assert [(c.name, c.child) for c in sup.children()] == [("child1", None)]
    assert sup.count() == Count(1, 0, 0, 1)
    await sup.stop_child("child1")
    with pytest.raises(AlreadyPresent):
        await sup.start_child(spec)

    assert await sup.restart_child("child1") is kit.run("child1")
    assert len(kit.runs("child1")) == 2
    with pytest.raises(ChildRunning):
        await sup.restart_child("child1")
    with pytest.raises(NotFound):
        await sup.restart_child("child2")

    with pytest.raises(ChildRunning, match="child 'child1' of 'sup' is running"):
        sup.delete_child("child1")
    with pytest.raises(NotFound):
        sup.delete_child("child2")
    await sup.stop_child("child1")
    sup.delete_child("child1")
    with pytest.raises(NotFound):
        await sup.restart_child("child1")
    assert sup.children() == []
    assert sup.count() == Count(0, 0, 0, 0)
    assert await sup.start_child(spec) is kit.run("child1")

    run: Any = kit.run("child1")
    with pytest.raises(NotFound):
        await sup.stop_child(run)
    assert sup.get_spec("child1") is spec

    sup.stop()
    await sup.wait()
    for call in (sup.start_child(spec), sup.stop_child("child1"), sup.restart_child("child1")):
        with pytest.raises(SupervisorStopped):
            await call
    for ask in (sup.children, sup.count):
        with pytest.raises(SupervisorStopped):
            ask()
    with pytest.raises(SupervisorStopped):
        sup.get_spec("child1")
    assert kit.gone["child1"] == [Exit.SHUTDOWN] * 3


async def test_c14_a_child_about_to_restart_has_errors_of_its_own(world: World) -> None:
    kit = world.kit
    spec = kit.spec("a", fail_after_first(ValueError()), backoff=Backoff(first=10))
    sup = await world.supervisor(spec)
    kit.run("a").crash()
    await anyio.sleep(1)

    with pytest.raises(AlreadyPresent):
        await sup.start_child(spec)
    with pytest.raises(ChildRestarting, match="child 'a' of 'sup' is restarting"):
        await sup.restart_child("a")
    with pytest.raises(ChildRestarting):
        sup.delete_child("a")

    await sup.stop_child("a")
    assert [info.state for info in sup.children()] == [ChildState.STOPPED]
    assert kit.gone["a"] == [Exit.SHUTDOWN]
    await anyio.sleep(100)
    assert len(kit.runs("a")) == 2


async def test_c15_dynamic_lifecycle(world: World) -> None:
    kit = world.kit
    dyn = await world.dynamic()
    assert dyn.count() == Count(0, 0, 0, 0)

    child1 = await dyn.start_child(kit.spec("child1"))
    await dyn.start_child(kit.spec("child2", kind="supervisor"))

    assert child1 is kit.run("child1")
    assert dyn.count() == Count(2, 2, 1, 1)
    assert [info.name for info in dyn.children()] == ["child2", "child1"]
    with pytest.raises(AlreadyStarted) as already:
        await dyn.start_child(kit.spec("child1"))
    assert already.value.running is child1
    assert dyn.get_spec("child1").name == "child1"

    await dyn.stop_child("child1")
    assert kit.run("child1").exit == Exit.SHUTDOWN
    with pytest.raises(NotFound):
        await dyn.stop_child("child1")
    with pytest.raises(NotFound):
        await dyn.stop_child("foreign")
    with pytest.raises(NotSupported, match="dynamic supervisor 'dyn' cannot restart 'child2'"):
        await dyn.restart_child("child2")
    with pytest.raises(NotSupported, match="cannot delete 'child2'"):
        dyn.delete_child("child2")

    dyn.stop()
    await dyn.wait()
    for call in (dyn.start_child(kit.spec("x")), dyn.stop_child("x")):
        with pytest.raises(SupervisorStopped):
            await call
    with pytest.raises(SupervisorStopped):
        dyn.children()


async def test_c33_counts_at_size(world: World) -> None:
    kit = world.kit
    dyn = await world.dynamic()

    for number in range(2000):
        await dyn.start_child(kit.spec(str(number), restart=Restart.TEMPORARY))
        if number == 999:
            assert dyn.count() == Count(1000, 1000, 0, 1000)
    assert dyn.count() == Count(2000, 2000, 0, 2000)

    for number in range(2000):
        kit.run(str(number)).kill()
    assert dyn.count() == Count(0, 0, 0, 0)
    assert dyn.children() == []


async def test_c39_children_waiting_for_a_restart_count_for_max_children(world: World) -> None:
    kit = world.kit
    none = await world.dynamic(max_children=0)
    with pytest.raises(MaxChildren, match="supervisor 'dyn' has no room for 'a': it may have 0"):
        await none.start_child(kit.spec("a"))

    gate = Gate()
    gate.open()
    one = await world.dynamic(max_children=1)
    await one.start_child(kit.spec("a", gated(gate)))
    gate.close()
    kit.run("a").crash()
    await gate.waiting.wait()
    with pytest.raises(MaxChildren):
        await one.start_child(kit.spec("b"))
    gate.open()
    await settle()
    assert [info.state for info in one.children()] == [ChildState.RUNNING]
    with pytest.raises(MaxChildren) as full:
        await one.start_child(kit.spec("b"))
    assert full.value.limit == 1


async def test_c43_a_dynamic_name_is_free_before_anyone_hears_of_the_death(world: World) -> None:
    kit = world.kit
    dyn = await world.dynamic()
    names: list[list[str]] = []
    spec = kit.spec(
        "a",
        restart=Restart.TEMPORARY,
        gone=lambda _: names.append([info.name for info in dyn.children()]),
    )
    await dyn.start_child(spec)

    kit.run("a").crash()

    assert names == [[]]
    await dyn.start_child(spec)


@pytest.mark.parametrize("dynamic", [False, True])
async def test_c67_cancelling_start_child_leaves_nothing(world: World, dynamic: bool) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())

    with anyio.move_on_after(1):
        await sup.start_child(kit.spec("a", hanging()))
    await settle()

    assert sup.children() == []
    assert kit.told("kill") == ["kill a"]
    assert len(kit.gone["a"]) == 1
    assert await sup.start_child(kit.spec("a")) is kit.run("a")


async def test_c67_cancelling_start_child_before_its_turn_starts_nothing(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(kit.spec("slow", slow_stop(10), shutdown=20))
    world.tasks.start_soon(sup.stop_child, "slow")
    await settle()

    with anyio.move_on_after(1):
        await sup.start_child(kit.spec("a"))
    await anyio.sleep(20)

    assert kit.runs("a") == []


async def test_c67_a_start_that_succeeds_while_it_is_cancelled_is_undone(world: World) -> None:
    kit = world.kit
    gate = Gate()
    sup = await world.supervisor(kit.spec("b"))
    await sup.stop_child("b")

    for call in (
        lambda: sup.start_child(kit.spec("a", gated(gate))),
        lambda: sup.start_child(kit.spec("c")),
        lambda: sup.restart_child("b"),
    ):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await settle()
                gate.open()
                scope.cancel()
        await settle()
        gate.close()

    # Whoever got an answer has a child, and whoever was cancelled has none.
    alive = set(kit.alive())
    listed = {info.name for info in sup.children() if info.child is not None}
    assert alive == listed
    assert "a" not in alive


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_cancelled_stop_child_still_stops_the_child(world: World, dynamic: bool) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("a", slow_stop(100), shutdown=10))

    with anyio.move_on_after(1):
        await sup.stop_child("a")
    await anyio.sleep(20)

    assert kit.run("a").exit == Exit.KILLED
    assert kit.gone["a"] == [Exit.KILLED]


@pytest.mark.parametrize("dynamic", [False, True])
async def test_two_stops_of_one_child_both_return_when_it_has_ended(
    world: World, dynamic: bool
) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("a", slow_stop(3)))
    began = anyio.current_time()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sup.stop_child, "a")
        await settle()
        await sup.stop_child("a")

        assert anyio.current_time() - began == pytest.approx(3)
    assert kit.gone["a"] == [Exit.SHUTDOWN]


@pytest.mark.parametrize("dynamic", [False, True])
async def test_stop_child_interrupts_a_hanging_restart(world: World, dynamic: bool) -> None:
    kit = world.kit
    gate = Gate()
    gate.open()
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("a", gated(gate)))
    gate.close()
    kit.run("a").crash()
    await gate.waiting.wait()

    with anyio.fail_after(0.1):
        await sup.stop_child("a")

    assert kit.gone["a"] == [Exit.SHUTDOWN]
    assert kit.alive() == []
    if not dynamic:
        assert [info.state for info in sup.children()] == [ChildState.STOPPED]


@pytest.mark.parametrize("dynamic", [False, True])
async def test_stop_child_interrupts_a_hanging_start_child(world: World, dynamic: bool) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())

    async def stop_soon() -> None:
        await settle()
        await sup.stop_child("a")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_soon)
        with (
            anyio.fail_after(1),
            pytest.raises(ChildNotStarted, match="stopped before it was ready"),
        ):
            await sup.start_child(kit.spec("a", hanging()))
    assert kit.gone["a"] == [Exit.SHUTDOWN]
    assert sup.children() == []


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_child_that_dies_while_it_starts_has_started_and_ended(
    world: World, dynamic: bool
) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    script = dies_at_once(ValueError("at once"), runs=lambda number: number == 1)

    await sup.start_child(kit.spec("a", script))
    await settle()

    assert [run.exit is None for run in kit.runs("a")] == [False, True]
    (info,) = sup.children()
    assert (info.state, info.restarts) == (ChildState.RUNNING, 1)
    assert str(info.last_exit) == "CRASHED(ValueError: at once)"
    assert "a" not in kit.gone


async def test_children_answers_while_a_child_starts(world: World) -> None:
    kit = world.kit
    gate = Gate()
    sup = await world.supervisor(kit.spec("a"))
    world.tasks.start_soon(sup.start_child, kit.spec("b", gated(gate)))
    await gate.waiting.wait()

    assert [(info.name, info.state) for info in sup.children()] == [
        ("b", ChildState.STARTING),
        ("a", ChildState.RUNNING),
    ]
    gate.open()
    await settle()
    assert sup.count().active == 2
