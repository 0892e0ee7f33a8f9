"""Children that stand on something which goes away and comes back."""

from __future__ import annotations

import anyio
import pytest

from actors.supervisors import (
    Backoff,
    Budget,
    ChildNotStarted,
    ChildStarted,
    ChildState,
    Count,
    Exit,
    ExitKind,
    RestartsGivenUp,
    Strategy,
    Supervisor,
    WaitingForHost,
)
from actors.supervisors.testing import FakeHost
from tests.supervisors.world import World, settle

ENDS = [Exit.NORMAL, Exit.SHUTDOWN, Exit.KILLED, Exit.CRASHED(ValueError("bad"))]


def _states(sup: Supervisor) -> dict[str, ChildState]:
    return {info.name: info.state for info in reversed(sup.children())}


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
async def test_a_child_waits_on_while_its_host_changes_and_is_not_ready(
    world: World, dynamic: bool
) -> None:
    kit, host = world.kit, FakeHost()
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("a", host=host))
    host.change(ready=False)
    kit.run("a").end(DOWN)
    await settle()
    for _ in range(3):
        host.change(ready=False)  # it boots, say
        await settle()
        assert (len(kit.runs("a")), host.watchers) == (1, 1)
        assert [info.state for info in sup.children()] == [ChildState.WAITING_NODE]
    host.change(ready=True)
    await settle()
    assert (len(kit.runs("a")), host.watchers) == (2, 0)


@pytest.mark.parametrize("dynamic", [False, True])
async def test_nobody_is_said_to_wait_for_a_host_that_was_given_up(
    world: World, dynamic: bool
) -> None:
    kit, host = world.kit, FakeHost()
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("a", host=host))
    host.change(lost=True)
    kit.run("a").end(DOWN)
    await settle()
    assert kit.log.of(WaitingForHost) == []
    assert kit.gone["a"] == [DOWN]


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_child_whose_host_is_given_up_is_gone_for_good(world: World, dynamic: bool) -> None:
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

    with pytest.raises(ChildNotStarted, match="NODE_DOWN"):
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
