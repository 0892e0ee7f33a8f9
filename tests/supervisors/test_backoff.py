"""Children that restart by their own backoff."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors.supervisors import (
    Backoff,
    Budget,
    ChildGaveUp,
    ChildState,
    Count,
    Exit,
    InvalidPolicy,
    RestartScheduled,
    RestartsGivenUp,
    Strategy,
    Supervisor,
)
from actors.supervisors.testing import dies_at_once, fail_after_first, failing
from tests.supervisors.world import World, settle

ENDS = [Exit.NORMAL, Exit.SHUTDOWN, Exit.KILLED, Exit.CRASHED(ValueError("bad"))]


def _states(sup: Supervisor) -> dict[str, ChildState]:
    return {info.name: info.state for info in reversed(sup.children())}


@pytest.mark.parametrize("dynamic", [False, True])
async def test_c49_a_child_with_a_backoff_restarts_at_once_and_then_ever_later(
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
async def test_c50_health_forgets_the_row(world: World, dynamic: bool) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("a", backoff=Backoff(first=1)))

    for pause in (0, 2, 8, 4, 0):
        kit.run("a").crash()
        await anyio.sleep(pause + 0.1)

    assert [event.delay for event in kit.log.of(RestartScheduled)] == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("dynamic", [False, True])
async def test_c50_a_child_is_given_up_after_so_many_restarts_in_a_row(
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


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_child_that_was_ended_for_others_sake_is_restarted_at_once_the_hundredth_time_too(
    world: World, dynamic: bool
) -> None:
    kit = world.kit
    budget = Budget(0, 5)
    sup = await (world.dynamic(budget=budget) if dynamic else world.supervisor(budget=budget))
    free: dict[str, Any] = {"uncharged": lambda end: end == Exit.SHUTDOWN}
    await sup.start_child(kit.spec("budgeted", **free))
    await sup.start_child(kit.spec("backing off", backoff=Backoff(), **free))

    for _ in range(100):
        kit.run("budgeted").end(Exit.SHUTDOWN)
        kit.run("backing off").end(Exit.SHUTDOWN)
        await settle()

    assert [len(kit.runs(name)) for name in ("budgeted", "backing off")] == [101, 101]
    assert kit.log.of(RestartScheduled) == []
    kit.run("backing off").crash()
    await settle()
    assert [(one.delay, one.attempt) for one in kit.log.of(RestartScheduled)] == [(0, 1)]
    kit.run("budgeted").crash()
    await settle()
    assert not sup.running


@pytest.mark.parametrize("dynamic", [False, True])
async def test_failed_starts_after_an_end_for_others_sake_are_charged(
    world: World, dynamic: bool
) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    spec = kit.spec(
        "a", fail_after_first(ValueError()), backoff=Backoff(), uncharged=lambda _end: True
    )
    await sup.start_child(spec)

    kit.run("a").end(Exit.SHUTDOWN)
    await anyio.sleep(1)

    assert [event.delay for event in kit.log.of(RestartScheduled)] == [0, 0.1, 0.2, 0.4, 0.8]


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_child_whose_starts_fail_waits_ever_longer_than_one_that_crashes(
    world: World, dynamic: bool
) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    backoff = Backoff(first=1, cap=2, start_cap=30)
    await sup.start_child(kit.spec("crashing", dies_at_once(ValueError()), backoff=backoff))
    await sup.start_child(kit.spec("failing", fail_after_first(ValueError()), backoff=backoff))

    kit.run("failing").crash()
    await anyio.sleep(100)

    scheduled = kit.log.of(RestartScheduled)
    delays = [event.delay for event in scheduled if event.child == "failing"]
    assert delays == [0, 1, 2, 4, 8, 16, 30, 30, 30]
    assert max(event.delay for event in scheduled if event.child == "crashing") == 2


def test_a_wait_after_failed_starts_is_not_shorter_than_others() -> None:
    with pytest.raises(InvalidPolicy, match="start_cap must be at least cap, 30 seconds, got 5"):
        Backoff(start_cap=5)
    with pytest.raises(InvalidPolicy, match="start_cap"):
        Backoff(start_cap=float("nan"))
