"""Restart types, strategies, budgets, backoffs and hosts: section C of the cases."""

from __future__ import annotations

import anyio
import pytest

from actors.supervisors import (
    Backoff,
    Budget,
    BudgetExceeded,
    ChildStartFailed,
    ChildState,
    Count,
    Exit,
    ExitKind,
    Ignored,
    Restart,
    RestartBudgetExceeded,
    RestartScheduled,
    Strategy,
    Supervisor,
)
from actors.supervisors.testing import (
    Gate,
    Script,
    ScriptedChild,
    fail_after_first,
    failing,
    slow_stop,
)
from tests.supervisors.world import World, settle

ENDS = [Exit.NORMAL, Exit.SHUTDOWN, Exit.KILLED, Exit.CRASHED(ValueError("bad"))]


def _states(sup: Supervisor) -> dict[str, ChildState]:
    return {info.name: info.state for info in reversed(sup.children())}


@pytest.mark.parametrize("exit_", ENDS, ids=str)
@pytest.mark.parametrize("restart", list(Restart))
async def test_c25_the_matrix_of_restart_types_and_ends(
    world: World, restart: Restart, exit_: Exit
) -> None:
    kit = world.kit
    spec = kit.spec("child1", restart=restart)
    sup = await world.supervisor(spec)

    kit.run("child1").end(exit_)
    await settle()

    comes_back = restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and exit_.abnormal)
    if comes_back:
        assert len(kit.runs("child1")) == 2
        assert sup.count() == Count(1, 1, 0, 1)
        assert "child1" not in kit.gone
    elif restart is Restart.TRANSIENT:
        assert sup.count() == Count(1, 0, 0, 1)
        assert kit.gone["child1"] == [exit_]
        assert await sup.restart_child("child1") is kit.run("child1")
    else:
        assert sup.count() == Count(0, 0, 0, 0)
        assert kit.gone["child1"] == [exit_]
        assert await sup.start_child(spec) is kit.run("child1")


async def test_c17_one_for_one_restarts_the_child_alone_and_ends_at_the_third(
    world: World,
) -> None:
    kit = world.kit
    sup = await world.supervisor(kit.spec("child1"), kit.spec("child2"))
    first = ValueError("first")

    kit.run("child1").crash(first)
    await settle()
    assert (len(kit.runs("child1")), len(kit.runs("child2"))) == (2, 1)
    kit.run("child2").crash()
    await settle()
    assert sup.count().active == 2
    kit.run("child1").crash(ValueError("last"))

    end = await sup.wait()
    assert isinstance(end.error, RestartBudgetExceeded)
    assert str(end.error) == (
        "supervisor 'sup' gave up: 'child1' needs more than 2 restarts within 3600 s"
    )
    assert end.error.__cause__ is first
    assert kit.alive() == []
    (event,) = kit.log.of(BudgetExceeded)
    assert (str(event.first), str(event.last)) == (
        "CRASHED(ValueError: first)",
        "CRASHED(ValueError: last)",
    )
    assert str(kit.gone["child1"][0]) == "CRASHED(ValueError: last)"
    assert kit.gone["child2"] == [Exit.SHUTDOWN]


async def test_c19_one_for_all_restarts_everyone_for_one_unit(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(
        kit.spec("child1"), kit.spec("child2"), strategy=Strategy.ONE_FOR_ALL
    )

    for number in (2, 3):
        kit.run("child1").crash()
        await settle()
        assert kit.runs("child2")[-2].exit == Exit.SHUTDOWN
        assert [len(kit.runs(name)) for name in ("child1", "child2")] == [number, number]
        assert sup.count().active == 2
    kit.run("child2").crash()

    assert (await sup.wait()).kind is ExitKind.CRASHED
    assert kit.alive() == []


async def test_c23_rest_for_one_restarts_those_after(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(
        *(kit.spec(name) for name in ("1", "2", "3")), strategy=Strategy.REST_FOR_ONE
    )

    kit.run("2").crash()
    await settle()

    assert [len(kit.runs(name)) for name in ("1", "2", "3")] == [1, 2, 2]
    assert [info.name for info in sup.children()] == ["3", "2", "1"]
    kit.run("2").crash()
    await settle()
    kit.run("2").crash()
    assert (await sup.wait()).kind is ExitKind.CRASHED


async def test_c21_a_dynamic_supervisor_restarts_one_for_one(world: World) -> None:
    kit = world.kit
    dyn = await world.dynamic()
    await dyn.start_child(kit.spec("a"))
    await dyn.start_child(kit.spec("b"))

    kit.run("a").crash()
    await settle()
    kit.run("b").crash()
    await settle()
    assert [len(kit.runs(name)) for name in "ab"] == [2, 2]
    kit.run("a").crash()

    end = await dyn.wait()
    assert isinstance(end.error, RestartBudgetExceeded)
    assert kit.alive() == []
    assert [len(kit.gone[name]) for name in "ab"] == [1, 1]


@pytest.mark.parametrize("dynamic", [False, True])
async def test_c16_spaced_crashes_never_use_up_the_budget(world: World, dynamic: bool) -> None:
    kit = world.kit
    budget = Budget(1, 1)
    sup = await (world.dynamic(budget=budget) if dynamic else world.supervisor(budget=budget))
    await sup.start_child(kit.spec("a"))

    for _ in range(4):
        kit.run("a").crash()
        await anyio.sleep(2.1)

    assert len(kit.runs("a")) == 5
    assert sup.count().active == 1


async def test_c18_failing_restarts_use_up_the_budget(world: World) -> None:
    kit = world.kit
    gate = Gate()
    gate.open()
    failure = ValueError("no")

    async def start(child: ScriptedChild) -> None:
        await gate(child)
        if child.number > 1:
            gate.close()
            raise failure

    sup = await world.supervisor(
        kit.spec("child1", Script(start=start)), kit.spec("child2"), budget=Budget(4, 3600)
    )

    crash = RuntimeError("crash")
    kit.run("child1").crash(crash)
    for _ in range(4):
        await settle()
        if gate.waiting.is_set():
            assert _states(sup)["child1"] is ChildState.STARTING
            gate.open()

    end = await sup.wait()
    assert end.error is not None
    assert end.error.__cause__ is crash
    assert len(kit.runs("child1")) == 1 + 4
    assert len(kit.log.of(ChildStartFailed)) == 4
    assert kit.run("child2").exit == Exit.SHUTDOWN
    assert kit.gone["child1"] == [Exit.CRASHED(failure)]


async def test_c18_calls_are_served_between_failing_attempts(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(
        kit.spec("a", fail_after_first(ValueError()), backoff=Backoff(first=0)), kit.spec("b")
    )
    kit.run("a").crash()
    await anyio.lowlevel.checkpoint()

    await sup.stop_child("b")
    await sup.start_child(kit.spec("c"))
    await sup.stop_child("a")

    assert _states(sup) == {
        "a": ChildState.STOPPED,
        "b": ChildState.STOPPED,
        "c": ChildState.RUNNING,
    }
    attempts = len(kit.runs("a"))
    await anyio.sleep(100)
    assert len(kit.runs("a")) == attempts


@pytest.mark.parametrize("dynamic", [False, True])
async def test_c22_a_restart_that_says_ignore_ends_the_life(world: World, dynamic: bool) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("a", failing(Ignored(), runs=lambda number: number == 3)))

    kit.run("a").kill()
    await settle()
    assert sup.count().active == 1
    kit.run("a").kill()
    await settle()

    assert kit.gone["a"] == [Exit.NORMAL]
    assert sup.count() == (Count(0, 0, 0, 0) if dynamic else Count(1, 0, 0, 1))
    sup.stop()
    assert await sup.wait() == Exit.SHUTDOWN


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_c26_a_temporary_bystander_is_gone_for_good(world: World, strategy: Strategy) -> None:
    kit = world.kit
    sup = await world.supervisor(
        kit.spec("child1"), kit.spec("child2", restart=Restart.TEMPORARY), strategy=strategy
    )

    kit.run("child1").end(Exit.NORMAL)
    await anyio.sleep(0.35)

    assert [(info.name, info.child) for info in sup.children()] == [("child1", kit.run("child1"))]
    assert kit.gone == {"child2": [Exit.SHUTDOWN]}


async def test_c73_added_children_take_part_in_one_for_all(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(
        kit.spec("a"), strategy=Strategy.ONE_FOR_ALL, budget=Budget(3, 3600)
    )
    await sup.start_child(kit.spec("b"))

    for name, number in (("a", 2), ("b", 3)):
        kit.run(name).crash()
        await settle()
        assert [len(kit.runs(each)) for each in "ab"] == [number, number]
    assert [info.name for info in sup.children()] == ["b", "a"]


async def test_c73_added_children_take_part_in_rest_for_one(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(kit.spec("a"), strategy=Strategy.REST_FOR_ONE)
    await sup.start_child(kit.spec("b"))

    kit.run("a").crash()
    await settle()
    assert [len(kit.runs(name)) for name in "ab"] == [2, 2]
    kit.run("b").crash()
    await settle()

    assert [len(kit.runs(name)) for name in "ab"] == [2, 3]
    assert [info.name for info in sup.children()] == ["b", "a"]


async def test_a_failing_start_in_one_for_all_takes_the_restarted_down_again(
    world: World,
) -> None:
    kit = world.kit
    fails_once = failing(ValueError(), runs=lambda number: number == 2)
    sup = await world.supervisor(
        kit.spec("a"), kit.spec("b", fails_once), kit.spec("c"), strategy=Strategy.ONE_FOR_ALL
    )

    kit.run("a").crash()
    await settle()

    assert [len(kit.runs(name)) for name in "abc"] == [3, 3, 2]
    assert _states(sup) == dict.fromkeys("abc", ChildState.RUNNING)
    assert len(kit.log.of(RestartScheduled)) == 2
    kit.run("c").crash()
    assert (await sup.wait()).kind is ExitKind.CRASHED


async def test_a_child_stopped_on_purpose_stays_stopped_when_a_sibling_falls(
    world: World,
) -> None:
    kit = world.kit
    sup = await world.supervisor(
        kit.spec("a"), kit.spec("b"), kit.spec("c"), strategy=Strategy.ONE_FOR_ALL
    )
    await sup.stop_child("b")

    kit.run("a").crash()
    await settle()

    assert [len(kit.runs(name)) for name in "abc"] == [2, 1, 2]


async def test_a_transient_sibling_that_finished_meanwhile_is_not_brought_back(
    world: World,
) -> None:
    kit = world.kit
    sup = await world.supervisor(
        kit.spec("a"),
        kit.spec("b", restart=Restart.TRANSIENT),
        strategy=Strategy.ONE_FOR_ALL,
    )

    kit.run("a").crash()
    kit.run("b").end(Exit.NORMAL)
    await settle()

    assert _states(sup) == {"a": ChildState.RUNNING, "b": ChildState.STOPPED}
    assert kit.gone == {"b": [Exit.NORMAL]}


async def test_two_that_crash_together_are_restarted_together_under_one_for_all(
    world: World,
) -> None:
    kit = world.kit
    sup = await world.supervisor(
        *(kit.spec(name) for name in "abc"), strategy=Strategy.ONE_FOR_ALL, budget=Budget(1, 5)
    )

    kit.run("a").crash()
    kit.run("c").crash()
    await settle()

    assert [len(kit.runs(name)) for name in "abc"] == [2, 2, 2]
    assert sup.count().active == 3


async def test_a_budget_of_zero_never_restarts(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(kit.spec("a"), kit.spec("b"), budget=Budget(0, 5))

    kit.run("a").end(Exit.NORMAL)

    end = await sup.wait()
    assert isinstance(end.error, RestartBudgetExceeded)
    assert len(kit.runs("a")) == 1
    assert kit.gone == {"a": [Exit.NORMAL], "b": [Exit.SHUTDOWN]}


async def test_an_exceeded_budget_stops_the_children_in_reverse(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(
        *(kit.spec(name, slow_stop(1)) for name in "abc"), budget=Budget(0, 5)
    )

    kit.run("b").crash()
    await sup.wait()

    assert kit.told("ended") == ["ended b", "ended c", "ended a"]
