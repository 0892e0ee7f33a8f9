"""Starting and stopping: section A of the cases, and stopping at every bad moment."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from actors.supervisors import (
    Budget,
    ChildEnded,
    ChildNotStarted,
    ChildSpec,
    ChildState,
    Count,
    DynamicSupervisor,
    Exit,
    InvalidPolicy,
    NotFound,
    Restart,
    ShutdownOverrun,
    Strategy,
    Supervisor,
    SupervisorEnded,
    SupervisorStarted,
    SupervisorStopped,
)
from actors.supervisors.testing import (
    Script,
    exit_with,
    fail_after_first,
    failing,
    ignore_once,
    slow_stop,
    stuck,
    undead,
)
from tests.supervisors.world import World


async def test_c01_an_empty_supervisor_starts_and_stops(world: World) -> None:
    ends: list[Exit] = []
    sup = Supervisor("sup", tasks=world.tasks, report=world.kit.log)
    await sup.start(ends.append)

    assert sup.children() == []

    sup.stop()

    assert await sup.wait() == Exit.SHUTDOWN
    assert ends == [Exit.SHUTDOWN]
    assert world.kit.log.events == [
        SupervisorStarted("sup"),
        SupervisorEnded("sup", Exit.SHUTDOWN),
    ]
    with pytest.raises(SupervisorStopped, match="supervisor 'sup' is not running"):
        sup.children()


async def test_c03_a_child_that_ignores_its_start_is_kept_without_a_run(world: World) -> None:
    sup = await world.supervisor()

    assert await sup.start_child(world.kit.spec("child1", ignore_once())) is None
    assert await sup.start_child(world.kit.spec("child2")) is world.kit.run("child2")

    assert [(c.name, c.child) for c in sup.children()] == [
        ("child2", world.kit.run("child2")),
        ("child1", None),
    ]
    assert sup.count() == Count(specs=2, active=1, supervisors=0, workers=2)
    assert await sup.restart_child("child1") is world.kit.run("child1")


async def test_c03_a_temporary_child_that_ignores_its_start_is_dropped(world: World) -> None:
    sup = await world.supervisor()
    spec = world.kit.spec("child1", ignore_once(), restart=Restart.TEMPORARY)

    assert await sup.start_child(spec) is None

    assert sup.children() == []
    assert world.kit.gone["child1"] == [Exit.NORMAL]


@pytest.mark.parametrize("restart", list(Restart))
async def test_c03_a_dynamic_supervisor_forgets_who_ignores_its_start(
    world: World, restart: Restart
) -> None:
    dyn = await world.dynamic()

    assert await dyn.start_child(world.kit.spec("child1", ignore_once(), restart=restart)) is None
    await dyn.start_child(world.kit.spec("child2"))

    assert dyn.count() == Count(specs=1, active=1, supervisors=0, workers=1)
    dyn.stop()
    assert await dyn.wait() == Exit.SHUTDOWN


async def test_c04_a_failing_first_start_stops_what_was_started_in_reverse(world: World) -> None:
    kit = world.kit
    boom = ValueError("boom")
    ends: list[Exit] = []
    specs = [kit.spec("a"), kit.spec("b"), kit.spec("c", failing(boom)), kit.spec("d")]
    sup = Supervisor("sup", specs, tasks=world.tasks, report=kit.log)

    with pytest.raises(
        ChildNotStarted, match="'c' of 'sup' did not start: ValueError: boom"
    ) as info:
        await sup.start(ends.append)

    assert info.value.__cause__ is boom
    assert kit.told("ended") == ["ended b", "ended a"]
    assert kit.runs("d") == []
    assert ends == []
    assert kit.gone == {"c": [Exit.CRASHED(boom)], "b": [Exit.SHUTDOWN], "a": [Exit.SHUTDOWN]}


def _broken_factory() -> Any:
    raise ValueError("factory")


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("script", [failing(ValueError("reason")), None])
async def test_c05_a_failing_start_function_leaves_nothing(
    world: World, dynamic: bool, script: Script | None
) -> None:
    sup = await (world.dynamic() if dynamic else world.supervisor())
    spec = (
        world.kit.spec("child", script)
        if script
        else ChildSpec(name="child", start=_broken_factory)
    )

    with pytest.raises(
        ChildNotStarted, match=r"did not start: ValueError: (reason|factory)"
    ) as info:
        await sup.start_child(spec)

    assert isinstance(info.value.__cause__, ValueError)
    assert sup.children() == []
    assert await sup.start_child(world.kit.spec("child")) is world.kit.run("child")


async def test_c05_a_cancellation_nobody_asked_for_is_a_failed_start(
    world: World, anyio_backend_name: str
) -> None:
    if anyio_backend_name == "trio":
        return  # its Cancelled cannot be made up

    async def start(_: object) -> None:
        raise anyio.get_cancelled_exc_class()

    sup = await world.supervisor()

    with pytest.raises(ChildNotStarted, match="CancelledError"):
        await sup.start_child(world.kit.spec("child", Script(start=start)))
    assert sup.children() == []


async def test_c06_a_failing_restart_child_keeps_the_spec_and_costs_nothing(world: World) -> None:
    boom = ValueError("again")
    sup = await world.supervisor(
        world.kit.spec("child1", fail_after_first(boom)), budget=Budget(0, 5)
    )
    await sup.stop_child("child1")

    with pytest.raises(ChildNotStarted) as info:
        await sup.restart_child("child1")

    assert info.value.__cause__ is boom
    assert [(c.name, c.child, c.state) for c in sup.children()] == [
        ("child1", None, ChildState.STOPPED)
    ]
    assert sup.count() == Count(specs=1, active=0, supervisors=0, workers=1)
    assert world.kit.gone["child1"] == [Exit.SHUTDOWN, Exit.CRASHED(boom)]


async def test_c07_defaults_are_otp_s(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(
        ChildSpec(name="plain", start=kit.spec("plain").start),
        ChildSpec(name="brutal", start=kit.spec("brutal").start, shutdown=0),
        ChildSpec(name="tree", start=kit.spec("tree").start, kind="supervisor"),
    )

    plain, brutal, tree = (sup.get_spec(name) for name in ("plain", "brutal", "tree"))

    assert (plain.restart, plain.kind, plain.grace) == (Restart.PERMANENT, "worker", 5.0)
    assert not plain.significant
    assert brutal.grace == 0
    assert tree.grace == math.inf
    with pytest.raises(NotFound, match="supervisor 'sup' has no child 'other'"):
        sup.get_spec("other")


async def test_c08_a_bad_supervisor_starts_nothing(world: World) -> None:
    kit = world.kit
    bad: list[tuple[str, dict[str, Any]]] = [
        ("strategy must be a Strategy .* got 'none_for_one'", {"strategy": "none_for_one"}),
        ("auto_shutdown must be .* got 'sometimes'", {"auto_shutdown": "sometimes"}),
        ("budget must be a Budget, got 3", {"budget": 3}),
        ("shutdown_deadline must be 0 or more seconds, got -1", {"shutdown_deadline": -1}),
        ("abandon_after must be finite, got inf", {"abandon_after": math.inf}),
        ("report must be callable", {"report": 1}),
        ("random must be callable", {"random": 1}),
        ("tasks must be an anyio TaskGroup", {"tasks": 1}),
        ("unique, got 'a' twice", {"children": [kit.spec("a"), kit.spec("a")]}),
        ("child must be a ChildSpec, got 'a'", {"children": ["a"]}),
        (
            "significant child 'a' needs an auto_shutdown",
            {"children": [kit.spec("a", significant=True, restart=Restart.TEMPORARY)]},
        ),
    ]

    for message, fields in bad:
        with pytest.raises(InvalidPolicy, match=message):
            Supervisor("sup", **{"tasks": world.tasks, "children": [kit.spec("x")], **fields})
    with pytest.raises(InvalidPolicy, match="name must be a string that is not empty, got ''"):
        Supervisor("", tasks=world.tasks)
    with pytest.raises(InvalidPolicy, match="max_children must be a whole number"):
        DynamicSupervisor("dyn", tasks=world.tasks, max_children=-1)

    assert kit.story == []


async def test_c08_a_bad_child_is_refused_by_a_running_supervisor(world: World) -> None:
    sup = await world.supervisor()
    dyn = await world.dynamic()
    significant = world.kit.spec("a", significant=True, restart=Restart.TEMPORARY)
    nonsense: Any = "a"

    for running in (sup, dyn):
        with pytest.raises(InvalidPolicy, match="significant child 'a' needs"):
            await running.start_child(significant)
        with pytest.raises(InvalidPolicy, match="child must be a ChildSpec, got 'a'"):
            await running.start_child(nonsense)

    assert world.kit.story == []


async def test_c09_infinite_grace_ends_by_shutdown(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(
        kit.spec("child1", slow_stop(10_000), kind="supervisor"),
        kit.spec("child2", slow_stop(10_000), shutdown=math.inf),
    )

    sup.stop()
    await sup.wait()

    assert [kit.run(name).exit for name in ("child1", "child2")] == [Exit.SHUTDOWN] * 2
    assert kit.told("kill") == []


async def test_c10_a_stuck_child_is_killed_when_its_grace_is_over(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(
        kit.spec("child1", shutdown=1), kit.spec("child2", stuck(), shutdown=1)
    )
    began = anyio.current_time()

    sup.stop()

    assert await sup.wait() == Exit.SHUTDOWN
    assert anyio.current_time() - began == pytest.approx(1)
    assert kit.run("child1").exit == Exit.SHUTDOWN
    assert kit.run("child2").exit == Exit.KILLED
    assert kit.log.of(ShutdownOverrun) == [ShutdownOverrun("sup", "child2", 1)]


class NeverReady:
    """Starts for ever, until that is cancelled."""

    async def start(self, _ended: Callable[[Exit], None]) -> None:
        await anyio.sleep_forever()

    async def wait(self) -> Exit:
        raise AssertionError

    def stop(self) -> None:
        raise AssertionError

    def kill(self) -> None:
        """Is followed by the cancellation of its start."""


async def test_what_a_killed_supervisor_was_asked_is_refused_begun_or_not(world: World) -> None:
    sup = await world.supervisor()
    refused: list[str] = []

    async def ask(name: str) -> None:
        with pytest.raises(SupervisorStopped):
            await sup.start_child(ChildSpec(name=name, start=NeverReady))
        refused.append(name)

    async with anyio.create_task_group() as tasks:
        for name in ("begun", "queued"):
            tasks.start_soon(ask, name)
        await anyio.sleep(0.1)
        sup.kill()
        await sup.wait()
    assert sorted(refused) == ["begun", "queued"]


class SaysItsEnd:
    """Tells its supervisor of its end, and everybody else nothing."""

    def __init__(self, tasks: Any) -> None:
        self._tasks = tasks

    async def start(self, ended: Callable[[Exit], None]) -> None:
        self._ended = ended

    async def wait(self) -> Exit:
        await anyio.sleep_forever()
        raise AssertionError

    def stop(self) -> None:
        self._tasks.start_soon(self._end)

    def kill(self) -> None:
        raise AssertionError

    async def _end(self) -> None:
        await anyio.sleep(1)
        self._ended(Exit.SHUTDOWN)


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_stop_waits_no_longer_than_until_the_child_has_said_that_it_ended(
    world: World, dynamic: bool
) -> None:
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(
        ChildSpec(name="child", start=lambda: SaysItsEnd(world.tasks), shutdown=50)
    )
    began = anyio.current_time()

    sup.stop()

    assert await sup.wait() == Exit.SHUTDOWN
    assert anyio.current_time() - began == pytest.approx(1)


async def test_c10_dynamic_children_share_one_deadline(world: World) -> None:
    kit = world.kit
    dyn = await world.dynamic()
    await dyn.start_child(kit.spec("well"))
    for number in range(10):
        await dyn.start_child(kit.spec(f"stuck{number}", stuck(), shutdown=1 + number / 10))
    began = anyio.current_time()

    dyn.stop()

    assert await dyn.wait() == Exit.SHUTDOWN
    assert anyio.current_time() - began == pytest.approx(5)
    assert kit.run("well").exit == Exit.SHUTDOWN
    assert {kit.run(f"stuck{n}").exit for n in range(10)} == {Exit.KILLED}
    assert len(kit.log.of(ShutdownOverrun)) == 10


@pytest.mark.parametrize("dynamic", [False, True])
async def test_c11_grace_zero_kills_without_asking(world: World, dynamic: bool) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("child1", shutdown=1))
    await sup.start_child(kit.spec("child2", shutdown=0))

    sup.stop()
    await sup.wait()

    assert kit.run("child1").exit == Exit.SHUTDOWN
    assert kit.run("child2").exit == Exit.KILLED
    assert "stop child2" not in kit.story
    assert all(event.expected for event in kit.log.of(ChildEnded))
    assert kit.log.of(ShutdownOverrun) == []


@pytest.mark.parametrize(
    "restart,unexpected",
    [
        (Restart.PERMANENT, {"normal", "other"}),
        (Restart.TRANSIENT, {"other"}),
        (Restart.TEMPORARY, {"other"}),
    ],
)
async def test_c13_odd_ends_at_shutdown_are_reported(
    world: World, restart: Restart, unexpected: set[str]
) -> None:
    kit = world.kit
    ends = {
        "normal": Exit.NORMAL,
        "shutdown": Exit.SHUTDOWN,
        "other": Exit.CRASHED(ValueError("other")),
    }
    dyn = await world.dynamic()
    for name, exit_ in ends.items():
        await dyn.start_child(kit.spec(name, exit_with(exit_), restart=restart))

    dyn.stop()

    assert await dyn.wait() == Exit.SHUTDOWN
    assert {event.child: event.exit for event in kit.log.of(ChildEnded)} == ends
    assert {event.child for event in kit.log.of(ChildEnded) if not event.expected} == unexpected
    assert all(event.asked for event in kit.log.of(ChildEnded))


async def test_c31_a_naughty_child_is_killed_and_the_supervisor_answers(world: World) -> None:
    sup = await world.supervisor(world.kit.spec("child", stuck(), shutdown=1))

    with anyio.fail_after(1.5):
        await sup.stop_child("child")

    (info,) = sup.children()
    assert (info.state, info.last_exit) == (ChildState.STOPPED, Exit.KILLED)


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_child_that_survives_its_kill_is_abandoned(world: World, dynamic: bool) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("child", undead(), shutdown=1))
    began = anyio.current_time()

    await sup.stop_child("child")

    assert anyio.current_time() - began == pytest.approx(6)
    assert kit.gone["child"] == [Exit.ABANDONED]
    if not dynamic:
        assert [info.state for info in sup.children()] == [ChildState.ABANDONED]


async def test_c37_children_start_in_order_and_stop_in_reverse(world: World) -> None:
    kit = world.kit
    names = ["7", "3", "10", "2", "5"]
    sup = await world.supervisor(
        *(kit.spec(name, slow_stop(1)) for name in names), strategy=Strategy.REST_FOR_ONE
    )
    assert kit.told("started") == [f"started {name}" for name in names]
    kit.story.clear()

    kit.run("10").crash()
    await anyio.sleep(10)

    assert kit.told("ended", "started") == [
        *["ended 10", "ended 5", "ended 2"],
        *["started 10", "started 2", "started 5"],
    ]
    kit.story.clear()
    sup.stop()
    await sup.wait()
    assert kit.told("stop", "ended") == [
        line for name in reversed(names) for line in (f"stop {name}", f"ended {name}")
    ]
