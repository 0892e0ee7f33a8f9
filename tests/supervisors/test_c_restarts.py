"""Restart types, strategies, budgets, backoffs and hosts: section C of the cases."""

from __future__ import annotations

import anyio
import pytest

from supervisors import (
    Backoff,
    Budget,
    BudgetExceeded,
    ChildGaveUp,
    ChildStarted,
    ChildStartFailed,
    ChildState,
    Count,
    Exit,
    ExitKind,
    Restart,
    RestartBudgetExceeded,
    RestartScheduled,
    RestartsGivenUp,
    StartFailed,
    Strategy,
    Supervisor,
    WaitingForHost,
)
from supervisors.testing import (
    FakeHost,
    Gate,
    Script,
    ScriptedChild,
    dies_at_once,
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

    comes_back = restart is Restart.PERMANENT or (
        restart is Restart.TRANSIENT and exit_.abnormal
    )
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
    from supervisors import Ignored

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
async def test_c26_a_temporary_bystander_is_gone_for_good(
    world: World, strategy: Strategy
) -> None:
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


# Backoff.


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_child_with_a_backoff_restarts_at_once_and_then_ever_later(
    world: World, dynamic: bool
) -> None:
    kit = world.kit
    budget = Budget(0, 1)
    sup = await (world.dynamic(budget=budget) if dynamic else world.supervisor(budget=budget))
    await sup.start_child(kit.spec("a", dies_at_once(ValueError()), backoff=Backoff()))
    began = anyio.current_time()

    await anyio.sleep(1)

    delays = [event.delay for event in kit.log.of(RestartScheduled)]
    assert delays == [0, 0.1, 0.2, 0.4, 0.8]
    assert [event.attempt for event in kit.log.of(RestartScheduled)] == [1, 2, 3, 4, 5]
    assert anyio.current_time() - began == pytest.approx(1)
    assert len(kit.runs("a")) == 5


@pytest.mark.parametrize("dynamic", [False, True])
async def test_health_forgets_the_row(world: World, dynamic: bool) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("a", backoff=Backoff(first=1)))

    for pause in (0, 2, 5, 4.9, 0):
        kit.run("a").crash()
        await anyio.sleep(pause + 0.1)

    assert [event.delay for event in kit.log.of(RestartScheduled)] == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_child_is_given_up_after_so_many_restarts_in_a_row(
    world: World, dynamic: bool
) -> None:
    kit = world.kit
    bad = ValueError("bad")
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("a", dies_at_once(bad), backoff=Backoff(give_up_after=3)))
    await sup.start_child(kit.spec("b"))

    await anyio.sleep(10)

    assert len(kit.runs("a")) == 1 + 3
    (end,) = kit.gone["a"]
    assert isinstance(end.error, ChildGaveUp)
    assert end.error.__cause__ is bad
    assert "given up after 3 restarts in a row" in str(end)
    assert [event.exit for event in kit.log.of(RestartsGivenUp)] == [end]
    assert sup.count() == (Count(1, 1, 0, 1) if dynamic else Count(2, 1, 0, 2))


async def test_those_who_depend_on_a_child_that_backs_off_wait_for_it(world: World) -> None:
    kit = world.kit
    twice = failing(ValueError(), runs=lambda number: number == 2)
    sup = await world.supervisor(
        kit.spec("a"),
        kit.spec("b", twice, backoff=Backoff(first=10)),
        kit.spec("c"),
        strategy=Strategy.REST_FOR_ONE,
    )

    kit.run("b").crash()
    await anyio.sleep(1)

    assert _states(sup) == {
        "a": ChildState.RUNNING,
        "b": ChildState.BACKING_OFF,
        "c": ChildState.RESTARTING,
    }
    await anyio.sleep(10)
    assert _states(sup) == dict.fromkeys("abc", ChildState.RUNNING)
    assert [len(kit.runs(name)) for name in "abc"] == [1, 3, 2]


async def test_stopping_the_child_that_others_wait_for_lets_them_start(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(
        kit.spec("b", fail_after_first(ValueError()), backoff=Backoff(first=10)),
        kit.spec("c"),
        strategy=Strategy.ONE_FOR_ALL,
    )
    kit.run("b").crash()
    await anyio.sleep(1)

    await sup.stop_child("b")
    await settle()

    assert _states(sup) == {"b": ChildState.STOPPED, "c": ChildState.RUNNING}


# Hosts.

DOWN = Exit.NODE_DOWN("node/0: killed by SIGKILL")


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_child_that_loses_its_host_waits_for_it_and_costs_nothing(
    world: World, dynamic: bool
) -> None:
    kit = world.kit
    host = FakeHost()
    budget = Budget(0, 5)
    sup = await (world.dynamic(budget=budget) if dynamic else world.supervisor(budget=budget))
    await sup.start_child(kit.spec("a", host=host))

    for _ in range(3):
        host.change(ready=False)
        kit.run("a").end(DOWN)
        await anyio.sleep(100)
        (info,) = sup.children()
        assert (info.state, info.last_exit) == (ChildState.WAITING_NODE, DOWN)
        assert host.watchers == 1
        host.change(ready=True)
        await settle()

    assert len(kit.runs("a")) == 4
    assert len(kit.log.of(WaitingForHost)) == 3
    assert sup.count().active == 1
    assert host.watchers == 0
    assert kit.gone == {}


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_child_whose_host_is_given_up_is_gone_for_good(
    world: World, dynamic: bool
) -> None:
    kit = world.kit
    host = FakeHost()
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("a", host=host))
    host.change(ready=False)
    kit.run("a").end(DOWN)
    await settle()

    host.change(lost=True)
    await settle()

    assert kit.gone["a"] == [DOWN]
    assert host.watchers == 0
    assert [event.exit for event in kit.log.of(RestartsGivenUp)] == [DOWN]
    assert sup.count() == (Count(0, 0, 0, 0) if dynamic else Count(1, 0, 0, 1))


@pytest.mark.parametrize("dynamic", [False, True])
async def test_stopping_a_child_that_waits_for_its_host_works_at_once(
    world: World, dynamic: bool
) -> None:
    kit = world.kit
    host = FakeHost()
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("a", host=host))
    host.change(ready=False)
    kit.run("a").end(DOWN)
    await settle()

    with anyio.fail_after(0.1):
        await sup.stop_child("a")
    host.change(ready=True)
    await settle()

    assert kit.gone["a"] == [Exit.SHUTDOWN]
    assert host.watchers == 0
    assert len(kit.runs("a")) == 1


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_the_loss_of_a_host_is_one_event_for_those_who_fall_together(
    world: World, strategy: Strategy
) -> None:
    kit = world.kit
    host, elsewhere = FakeHost(), FakeHost()
    sup = await world.supervisor(
        kit.spec("a", host=host),
        kit.spec("b", host=elsewhere),
        kit.spec("c", host=host),
        kit.spec("d"),
        strategy=strategy,
        budget=Budget(0, 5),
    )

    host.change(ready=False)
    for name in "ca":
        kit.run(name).end(DOWN)
    await anyio.sleep(1)
    assert _states(sup) == {
        "a": ChildState.WAITING_NODE,
        "b": ChildState.RESTARTING,
        "c": ChildState.RESTARTING,
        "d": ChildState.RESTARTING,
    }
    host.change(ready=True)
    await settle()

    assert [len(kit.runs(name)) for name in "abcd"] == [2, 2, 2, 2]
    assert kit.told("started")[4:] == [f"started {name}" for name in "abcd"]


async def test_one_for_one_children_elsewhere_do_not_notice_a_lost_host(world: World) -> None:
    kit = world.kit
    host = FakeHost()
    sup = await world.supervisor(kit.spec("a", host=host), kit.spec("b"), kit.spec("c", host=host))

    host.change(ready=False)
    for name in "ac":
        kit.run(name).end(DOWN)
    await settle()
    assert _states(sup) == {
        "a": ChildState.WAITING_NODE,
        "b": ChildState.RUNNING,
        "c": ChildState.WAITING_NODE,
    }
    host.change(ready=True)
    await settle()

    assert [len(kit.runs(name)) for name in "abc"] == [2, 1, 2]


async def test_a_crashed_child_whose_host_is_away_at_its_restart_waits_too(world: World) -> None:
    kit = world.kit
    host = FakeHost()
    sup = await world.supervisor(kit.spec("a", host=host, backoff=Backoff(first=5)))
    kit.run("a").crash()
    await settle()
    kit.run("a").crash()
    await anyio.sleep(1)

    host.change(ready=False)
    await anyio.sleep(10)
    assert _states(sup) == {"a": ChildState.WAITING_NODE}
    host.change(ready=True)
    await settle()

    assert _states(sup) == {"a": ChildState.RUNNING}


async def test_a_lost_node_without_a_host_to_wait_for_is_charged_like_any_end(
    world: World,
) -> None:
    kit = world.kit
    sup = await world.supervisor(kit.spec("a"), budget=Budget(1, 5))

    kit.run("a").end(DOWN)
    await settle()
    assert len(kit.runs("a")) == 2
    kit.run("a").end(DOWN)

    assert (await sup.wait()).kind is ExitKind.CRASHED


async def test_a_supervisor_starts_although_a_host_is_not_ready_yet(world: World) -> None:
    kit = world.kit
    host = FakeHost(ready=False)
    specs = [kit.spec("a"), kit.spec("b", host=host), kit.spec("c")]

    one = await world.supervisor(*specs)
    assert _states(one) == {
        "a": ChildState.RUNNING,
        "b": ChildState.WAITING_NODE if host.watchers else ChildState.RESTARTING,
        "c": ChildState.RUNNING,
    }
    rest = await world.supervisor(*specs, strategy=Strategy.REST_FOR_ONE)
    await settle()
    assert _states(rest) == {
        "a": ChildState.RUNNING,
        "b": ChildState.WAITING_NODE,
        "c": ChildState.RESTARTING,
    }
    host.change(ready=True)
    await settle()

    assert set(_states(one).values()) | set(_states(rest).values()) == {ChildState.RUNNING}


async def test_a_supervisor_does_not_start_on_a_host_that_was_given_up(world: World) -> None:
    kit = world.kit
    host = FakeHost(ready=False)
    host.lost = True
    sup = Supervisor("sup", [kit.spec("a"), kit.spec("b", host=host)], tasks=world.tasks)

    with pytest.raises(StartFailed, match="NODE_DOWN"):
        await sup.start()

    assert kit.alive() == []
    assert [end.kind for end in kit.gone["b"]] == [ExitKind.NODE_DOWN]


async def test_restarts_are_counted_and_told(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(kit.spec("a"))
    kit.run("a").crash()
    await settle()

    assert [event.restarts for event in kit.log.of(ChildStarted)] == [0, 1]
    assert [info.restarts for info in sup.children()] == [1]

