"""Points of the cases that need a test beside the main one of their number, on scripted children."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import anyio
import pytest

from actors.supervisors import (
    AlreadyPresent,
    Backoff,
    Budget,
    ChildEnded,
    ChildNotStarted,
    ChildSpec,
    ChildStartFailed,
    ChildState,
    Count,
    Exit,
    ExitKind,
    Ignored,
    NotFound,
    Restart,
    RestartScheduled,
    Strategy,
    Supervisor,
    SupervisorStopped,
)
from actors.supervisors.testing import ScriptedChild, failing, slow_stop, stuck
from tests.supervisors.world import World, settle


def _states(sup: Any) -> dict[str, ChildState]:
    return {info.name: info.state for info in reversed(sup.children())}


# A. Starting and stopping.


@pytest.mark.parametrize("dynamic", [False, True])
async def test_c02_a_supervisor_that_says_ignore_is_started_as_nothing_and_never_ends(
    world: World, dynamic: bool
) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())

    assert await sup.start_child(kit.spec("tree", failing(Ignored()), kind="supervisor")) is None

    await anyio.sleep(0.1)
    assert kit.log.of(ChildEnded) == []
    assert kit.log.of(ChildStartFailed) == []
    assert sup.count() == (Count(0, 0, 0, 0) if dynamic else Count(1, 0, 1, 0))


async def test_c03_a_temporary_child_that_ignores_its_start_is_not_listed(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor()
    ignoring = kit.spec("child1", failing(Ignored()), restart=Restart.TEMPORARY)

    await sup.start_child(ignoring)
    await sup.start_child(kit.spec("child2"))

    assert [(info.name, info.child) for info in sup.children()] == [("child2", kit.run("child2"))]
    assert sup.count() == Count(1, 1, 0, 1)


async def test_c04_a_factory_that_makes_no_child_fails_the_start_of_all(world: World) -> None:
    kit = world.kit
    ends: list[Exit] = []
    nonsense: Any = lambda: "error_reason"  # noqa: E731
    specs = [kit.spec("a"), ChildSpec(name="b", start=nonsense)]
    sup = Supervisor("sup", specs, tasks=world.tasks, report=kit.log)

    with pytest.raises(ChildNotStarted, match="'b' of 'sup' did not start: AttributeError: 'str'"):
        await sup.start(ends.append)

    await anyio.sleep(1)
    assert kit.alive() == []
    assert ends == []


@pytest.mark.parametrize("dynamic", [False, True])
async def test_c05_a_factory_that_makes_no_child_leaves_nothing(
    world: World, dynamic: bool
) -> None:
    sup = await (world.dynamic() if dynamic else world.supervisor())
    nonsense: Any = lambda: "error_reason"  # noqa: E731

    with pytest.raises(ChildNotStarted, match="AttributeError: 'str'") as caught:
        await sup.start_child(ChildSpec(name="child", start=nonsense))

    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__traceback__ is not None
    assert sup.children() == []
    assert await sup.start_child(world.kit.spec("child")) is world.kit.run("child")


async def test_c10_ten_stuck_dynamic_children_take_as_long_as_one(world: World) -> None:
    kit = world.kit
    dyn = await world.dynamic()
    await dyn.start_child(kit.spec("well", shutdown=1))
    for number in range(10):
        await dyn.start_child(kit.spec(f"stuck{number}", stuck(), shutdown=1))
    began = anyio.current_time()

    dyn.stop()

    assert await dyn.wait() == Exit.SHUTDOWN
    assert anyio.current_time() - began == pytest.approx(1)
    assert kit.run("well").exit == Exit.SHUTDOWN
    assert {kit.run(f"stuck{number}").exit for number in range(10)} == {Exit.KILLED}


# B. Calls.


async def test_c14_each_child_is_found_by_name_until_it_is_deleted(world: World) -> None:
    kit = world.kit
    spec = kit.spec("child1")
    sup = await world.supervisor(spec)

    assert sup.get_spec("child1") is spec
    assert [(info.name, info.child) for info in sup.children()] == [("child1", kit.run("child1"))]
    await sup.stop_child("child1")
    assert sup.get_spec("child1") is spec
    assert [(info.name, info.child) for info in sup.children()] == [("child1", None)]
    sup.delete_child("child1")
    with pytest.raises(NotFound):
        sup.get_spec("child1")

    sup.stop()
    await sup.wait()
    with pytest.raises(SupervisorStopped):
        sup.delete_child("child1")


async def test_c15_a_child_of_another_supervisor_is_not_found_and_lives_on(world: World) -> None:
    kit = world.kit
    dyn, other = await world.dynamic(), await world.dynamic()
    foreign = await other.start_child(kit.spec("foreign"))

    with pytest.raises(NotFound):
        await dyn.stop_child("foreign")

    assert kit.run("foreign") is foreign
    assert other.count() == Count(1, 1, 0, 1)


async def _work_for(sup: Any, kit: Any, names: range) -> float:
    """Return how many calls one start and one stop of a child take on average."""
    calls = 0

    def count(_frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    specs = [kit.spec(str(name), restart=Restart.TEMPORARY) for name in names]
    sys.setprofile(count)
    try:
        for spec in specs:
            await sup.start_child(spec)
        for spec in specs:
            await sup.stop_child(spec.name)
    finally:
        sys.setprofile(None)
    return calls / len(specs)


@pytest.mark.parametrize("dynamic", [False, True])
async def test_c35_the_work_for_a_child_does_not_grow_with_their_number(
    world: World, dynamic: bool
) -> None:
    sup = await (world.dynamic() if dynamic else world.supervisor())

    await _work_for(sup, world.kit, range(10))
    few = await _work_for(sup, world.kit, range(100, 150))
    many = await _work_for(sup, world.kit, range(1000, 1500))

    assert many < 1.5 * few


# C. Restarts.


@pytest.mark.parametrize("dynamic", [False, True])
async def test_c22_a_restart_that_makes_no_child_is_tried_again(
    world: World, dynamic: bool
) -> None:
    kit = world.kit
    good = kit.spec("a")

    def factory() -> Any:
        made.append(len(made))
        if len(made) == 2:
            return "error_reason"
        if len(made) == 3:
            raise LookupError("reason")
        return good.start()

    made: list[int] = []
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(ChildSpec(name="a", start=factory, backoff=Backoff(first=1)))

    kit.run("a").kill()
    await anyio.sleep(0.5)
    assert _states(sup) == {"a": ChildState.BACKING_OFF}
    await anyio.sleep(1)
    assert _states(sup) == {"a": ChildState.BACKING_OFF}
    await anyio.sleep(2)

    assert _states(sup) == {"a": ChildState.RUNNING}
    errors = [type(event.error).__name__ for event in kit.log.of(ChildStartFailed)]
    assert errors == ["AttributeError", "LookupError"]
    assert [event.delay for event in kit.log.of(RestartScheduled)] == [0, 1, 2]


@pytest.mark.parametrize("dynamic", [False, True])
async def test_c51_a_restart_that_always_fails_is_no_hot_loop(world: World, dynamic: bool) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    spec = kit.spec("a", failing(ValueError(), runs=lambda number: number > 1), backoff=Backoff())
    await sup.start_child(spec)

    kit.run("a").crash()
    await anyio.sleep(3600)

    # The first start; ten attempts in the first 51.1 s; then one every 30 s.
    assert len(kit.runs("a")) == 1 + 10 + int((3600 - 51.1) / 30)
    assert _states(sup) == {"a": ChildState.BACKING_OFF}


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("dynamic", [False, True])
async def test_c51_success_at_the_last_permitted_attempt_is_success(
    world: World, dynamic: bool, own: bool
) -> None:
    kit = world.kit
    budget = Budget(3, 3600)
    sup = await (world.dynamic(budget=budget) if dynamic else world.supervisor(budget=budget))
    backoff = Backoff(first=0.1, give_up_after=3, reset_after=3600) if own else None
    fails = failing(ValueError(), runs=lambda number: number in {2, 3})
    await sup.start_child(kit.spec("a", fails, backoff=backoff))

    kit.run("a").crash()
    await anyio.sleep(10)

    assert _states(sup) == {"a": ChildState.RUNNING}
    assert len(kit.runs("a")) == 1 + 3
    kit.run("a").crash()
    await anyio.sleep(10)
    assert len(kit.gone["a"]) == 1
    assert len(kit.runs("a")) == 1 + 3


# F. Lifecycle races.


async def test_c63_the_one_above_is_told_that_the_supervisor_failed(world: World) -> None:
    kit = world.kit
    bug = ValueError("bug")
    inner: list[Supervisor] = []

    def report(event: object) -> None:
        if isinstance(event, ChildEnded):
            raise bug

    def make() -> Supervisor:
        specs = [kit.spec("a"), kit.spec("b")]
        inner.append(Supervisor("root/in", specs, tasks=world.tasks, report=report))
        return inner[-1]

    root = await world.supervisor(ChildSpec(name="in", start=make, kind="supervisor"))

    kit.run("a").crash()
    await settle()

    assert [event.exit for event in kit.log.of(ChildEnded)] == [Exit.CRASHED(bug)]
    (info,) = root.children()
    assert (info.name, info.last_exit, info.restarts) == ("in", Exit.CRASHED(bug), 1)
    # All of the old tree is gone, and a new one is there.
    assert await inner[0].wait() == Exit.CRASHED(bug)
    assert [[run.exit is None for run in kit.runs(name)] for name in "ab"] == [[False, True]] * 2


# 3.6. Failure sites.


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_s36_a_sibling_that_is_being_stopped_is_not_brought_back_by_a_restart(
    world: World, strategy: Strategy
) -> None:
    kit = world.kit
    sup = await world.supervisor(
        *[kit.spec("a"), kit.spec("b", slow_stop(10), shutdown=20), kit.spec("c")],
        strategy=strategy,
    )
    world.tasks.start_soon(sup.stop_child, "b")
    await anyio.sleep(1)

    kit.run("a").crash()
    await anyio.sleep(30)

    assert _states(sup) == {
        "a": ChildState.RUNNING,
        "b": ChildState.STOPPED,
        "c": ChildState.RUNNING,
    }
    assert [len(kit.runs(name)) for name in "abc"] == [2, 1, 2]
    assert kit.gone == {"b": [Exit.SHUTDOWN]}
    with pytest.raises(AlreadyPresent):
        await sup.start_child(kit.spec("b"))
    assert await sup.restart_child("b") is kit.run("b")


@pytest.mark.parametrize("dynamic", [False, True])
async def test_s36_a_child_that_crashes_while_it_is_stopped_is_not_restarted(
    world: World, dynamic: bool
) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("a", slow_stop(3)))
    bad = ValueError("bad")

    async def crash_soon(child: ScriptedChild) -> None:
        await anyio.sleep(1)
        child.crash(bad)

    began = anyio.current_time()
    world.tasks.start_soon(crash_soon, kit.run("a"))
    await sup.stop_child("a")

    assert anyio.current_time() - began == pytest.approx(1)
    assert kit.gone["a"] == [Exit.CRASHED(bad)]
    assert len(kit.runs("a")) == 1
    (event,) = kit.log.of(ChildEnded)
    assert (event.asked, event.expected) == (True, False)


async def test_s36_a_child_that_ends_between_two_terminations_ends_once(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(*(kit.spec(name, slow_stop(2)) for name in "abc"))
    sup.stop()
    await anyio.sleep(1)

    kit.run("a").crash()
    kit.run("b").end(Exit.NORMAL)

    assert await sup.wait() == Exit.SHUTDOWN
    assert kit.told("stop", "ended") == ["stop c", "ended a", "ended b", "ended c"]
    kinds = {name: [exit_.kind for exit_ in exits] for name, exits in kit.gone.items()}
    assert kinds == {"a": [ExitKind.CRASHED], "b": [ExitKind.NORMAL], "c": [ExitKind.SHUTDOWN]}
