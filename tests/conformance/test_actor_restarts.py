"""What a restart keeps and what it ends, hook by hook: section E of the cases, and C38, C67, C69, C70."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import actors
from actors import Backoff, Budget, Exit, Ref, Restart, dynamic, supervisor
from actors.errors import ActorStopped, DeadlineExceeded, NameTaken
from actors.supervisors import ChildState, Count
from tests.conformance.case_actors import (
    ERRORS,
    Fatal,
    OnceOnly,
    Parent,
    Plain,
    ReportingActor,
    Stumbling,
    Watcher,
    WithErrorTable,
)
from tests.conformance.scenario import Scenario

NEVER = Budget(restarts=0, within=3600)
ONCE = Budget(restarts=1, within=3600)


async def _watched(scenario: Scenario, ref: Ref[Any]) -> None:
    """Have the end of *ref* told to the probe."""
    watcher = await scenario.spawn(Watcher, scenario.probe.ref, name="watcher")
    await watcher.ask(Watcher.watch, ref)
    scenario.probe.heard.clear()


async def _sync(scenario: Scenario, *refs: Ref[Any]) -> None:
    """Let all be told that these have to tell."""
    for ref in refs:
        await ref.ask(ReportingActor.incarnation)


@pytest.mark.parametrize("dynamically", [False, True])
async def test_c22_a_restart_that_ends_at_its_start_ends_the_life(
    scenario: Scenario, dynamically: bool
) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(dynamic("sup") if dynamically else supervisor("sup", []))
        ref = await branch.start_child(scenario.child("once", OnceOnly))
        assert ref is not None
        await ref.tell(ReportingActor.crash)
        assert await ref.wait() == Exit.NORMAL
        assert await scenario.gone("once")
        # A call goes through the supervisor's one task, behind what it does about the end.
        await branch.start_child(scenario.child("other"))
        assert branch.count() == (Count(1, 1, 0, 1) if dynamically else Count(2, 1, 0, 2))


async def test_c38_while_a_name_waits_for_its_restart_it_is_found_and_its_messages_wait(
    scenario: Scenario,
) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(
            supervisor("sup", [scenario.child("named", backoff=Backoff(first=60, cap=60))])
        )
        ref = await scenario.ref("named")
        await scenario.crash("named")
        await ref.tell(ReportingActor.crash)
        await scenario.until("restart_scheduled", child="named", attempt=2)
        assert await scenario.ref("named") == ref
        await ref.tell(ReportingActor.note, 1)
        with pytest.raises(DeadlineExceeded):
            await ref.within(0.05).ask(ReportingActor.logged)
        with pytest.raises(NameTaken):
            await scenario.spawn(Plain, name="named")
        await branch.stop_child("named")
        with pytest.raises(ActorStopped, match="it has ended: SHUTDOWN") as caught:
            await ref.ask(ReportingActor.logged)
        assert caught.value.message == ("logged", (), {})
        # By its name it is started, asked and stopped.
        await branch.restart_child("named")
        again = await scenario.ref("named")
        assert await again.ask(ReportingActor.incarnation) == 1
        await again.stop()
        assert await again.wait() == Exit.SHUTDOWN


async def test_c45_the_class_of_an_error_decides_between_restart_resume_and_stop(
    scenario: Scenario,
) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(supervisor("sup", [scenario.child("tabled", WithErrorTable)]))
        ref = await scenario.ref("tabled")
        await _watched(scenario, ref)

        await ref.tell(ReportingActor.note, 1)
        await ref.tell(WithErrorTable.fail, "restart")
        assert await ref.ask(ReportingActor.logged) == []
        assert scenario.story() == [("stop", "tabled", "CRASHED"), ("start", "tabled")]

        await ref.tell(ReportingActor.note, 1)
        await ref.tell(WithErrorTable.fail, "resume")
        assert await ref.ask(ReportingActor.logged) == [1]
        assert await ref.ask(ReportingActor.incarnation) == 2
        failed = await scenario.until("message_failed", actor="tabled")
        assert "KeyError" in failed.facts["error"]

        await ref.tell(WithErrorTable.fail, "stop")
        assert isinstance((await ref.wait()).error, ERRORS["stop"])
        await scenario.heard(("heard", "tabled", "CRASHED"))
        assert scenario.story()[2:] == [
            ("stop", "tabled", "CRASHED"),
            ("heard", "tabled", "CRASHED"),
        ]
        assert branch.count() == Count(1, 0, 0, 1)


@pytest.mark.parametrize("name", ["GeneratorExit", "NoException"])
async def test_c46_other_errors_that_are_no_exceptions_are_a_crash(
    scenario: Scenario, name: str
) -> None:
    with anyio.fail_after(10):
        await scenario.tree(supervisor("sup", [actors.child(Fatal, name="fatal", on=scenario.on)]))
        ref = await scenario.ref("fatal")
        await ref.tell(Fatal.raise_it, name)
        assert await ref.ask(Fatal.incarnation) == 2
        ended = await scenario.until("child_ended", child="fatal")
        assert ended.facts["exit"] == f"CRASHED({name})"


async def test_c48_a_third_party_that_dies_meanwhile_is_told_only_if_it_is_watched_again(
    scenario: Scenario,
) -> None:
    with anyio.fail_after(10):
        await scenario.tree(supervisor("sup", [scenario.child("parent", Parent)]))
        parent = await scenario.ref("parent")
        third = await scenario.spawn(Plain, name="third")
        await parent.ask(Parent.watch, third)
        for name in "xy":
            await parent.ask(Parent.start_child, "slow", name)
        await parent.tell(ReportingActor.crash)
        await scenario.heard(("stop", "parent", "CRASHED"))
        await third.stop()
        await third.wait()
        # A watch is its incarnation's: the new one hears nothing, and at once if it asks.
        assert await parent.ask(ReportingActor.incarnation) == 2
        assert scenario.story("heard") == []
        await parent.ask(Parent.watch, third)
        await scenario.heard(("heard", "third", "SHUTDOWN"))


async def test_c52_hooks_run_in_order_over_three_restarts_and_the_end(scenario: Scenario) -> None:
    budget = Budget(restarts=3, within=3600)
    with anyio.fail_after(10):
        await scenario.tree(
            supervisor("sup", [scenario.child("a")], budget=budget, restart=Restart.TEMPORARY)
        )
        ref = await scenario.ref("a")
        for number in range(1, 4):
            await ref.tell(ReportingActor.crash)
            assert await ref.ask(ReportingActor.incarnation) == number + 1
        assert scenario.story() == [("start", "a"), *[("stop", "a", "CRASHED"), ("start", "a")] * 3]
        await ref.tell(ReportingActor.crash)
        assert (await ref.wait()).kind.value == "CRASHED"
        await scenario.ended("sup")
        await _sync(
            scenario, await scenario.spawn(ReportingActor, scenario.probe.ref, name="later")
        )
        assert scenario.story()[7:] == [("stop", "a", "CRASHED"), ("start", "later")]


async def test_c53_on_stop_fails_then_the_constructor_and_the_third_works(
    scenario: Scenario, capfd: pytest.CaptureFixture[str]
) -> None:
    with anyio.fail_after(10):
        await scenario.tree(supervisor("sup", [scenario.child("a", Stumbling)]))
        ref = await scenario.ref("a")
        capfd.readouterr()
        await ref.tell(ReportingActor.crash)
        assert await ref.ask(ReportingActor.incarnation) == 3
        ended = await scenario.until("child_ended", child="a")
        assert ended.facts["exit"] == "CRASHED(RuntimeError: boom)"
        failed = await scenario.until("child_start_failed", child="a")
        assert "ArithmeticError: constructor" in failed.facts["error"]
        if scenario.local:  # what others write comes later
            assert "LookupError: on_stop" in capfd.readouterr().err


@pytest.mark.parametrize("how", ["spawn", "dyn"])
async def test_c67_a_spawn_that_is_never_awaited_starts_nothing(
    scenario: Scenario, how: str
) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(dynamic("dyn"))
        spawning: Any
        if how == "spawn":
            spawning = scenario.system.spawn(
                ReportingActor, scenario.probe.ref, name="dropped", on=scenario.on
            )
        else:
            spawning = branch.start_child(scenario.child("dropped"))
        spawning.close()
        assert await scenario.gone("dropped")
        assert branch.children() == []
        assert await scenario.spawn(
            ReportingActor, scenario.probe.ref, name="dropped"
        ) == await scenario.ref("dropped")
        assert scenario.story() == [("start", "dropped")]


async def test_c67_an_actor_whose_task_is_cancelled_by_a_stranger_is_cleaned_up(
    scenario: Scenario, anyio_backend_name: str
) -> None:
    if scenario.local and anyio_backend_name == "trio":
        return  # nobody can cancel a single task there
    with anyio.fail_after(10):
        ref = await scenario.spawn(
            Watcher, scenario.probe.ref, name="cancelled", restart=Restart.TEMPORARY
        )
        child = await ref.ask(Watcher.start_well, "its child")
        await _watched(scenario, ref)
        await ref.tell(Watcher.be_cancelled)
        assert str(await ref.wait()).startswith("CRASHED(CancelledError")
        assert await child.wait() == Exit.SHUTDOWN
        await scenario.heard(("heard", "cancelled", "CRASHED"))
        assert await scenario.gone("cancelled", "its child")


async def test_c69_the_mailbox_survives_a_restart_of_an_actor_with_a_busy_child(
    scenario: Scenario,
) -> None:
    parent = scenario.child("parent", Watcher)
    with anyio.fail_after(20):
        await scenario.tree(supervisor("sup", [parent], budget=Budget(restarts=100, within=3600)))
        ref = await scenario.ref("parent")
        for number in range(5):
            slow = await ref.ask(Watcher.start_well, f"busy {number}")
            await slow.tell(ReportingActor.crash_soon, 0.05)
            await ref.tell(ReportingActor.crash_soon, 0.005)
            await ref.tell(ReportingActor.note, 0)
            await ref.tell(ReportingActor.note, 1)
            assert await ref.ask(ReportingActor.logged) == [0, 1]
            assert await ref.ask(ReportingActor.incarnation) == number + 2


async def _with_queue(scenario: Scenario, budget: Budget, crashes: int) -> Ref[Any]:
    """A child that is busy for ever, with three messages waiting."""
    branch = await scenario.tree(supervisor("sup", [], budget=budget, restart=Restart.TEMPORARY))
    ref = await branch.start_child(scenario.child("a"))
    assert ref is not None
    for number in range(1, crashes + 1):
        await scenario.crash("a", number)
    await ref.tell(ReportingActor.hang)
    await scenario.heard(("hangs", "a"))
    for number in range(3):
        await ref.tell(ReportingActor.note, number)
    return ref


async def _letters(scenario: Scenario, name: str) -> list[tuple[str, str]]:
    """The dead letters of an actor up to now."""
    marker = await scenario.spawn(Plain)
    await marker.stop()
    await marker.wait()
    await scenario.until("child_ended", child=marker.name)
    return [
        (event.facts["message"], event.facts["reason"])
        for event in scenario.unread
        if event.kind == "dead_letter" and event.facts["actor"] == name
    ]


@pytest.mark.parametrize("crashes", [0, 1])
async def test_c70_what_waits_when_the_budget_is_exhausted_becomes_dead_letters(
    scenario: Scenario, crashes: int
) -> None:
    errors: list[ActorStopped] = []

    async def ask() -> None:
        with pytest.raises(ActorStopped) as caught:
            await ref.ask(ReportingActor.logged)
        errors.append(caught.value)

    with anyio.fail_after(10):
        ref = await _with_queue(scenario, ONCE if crashes else NEVER, crashes)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            ref.kill()
            assert await ref.wait() == Exit.KILLED
        assert await _letters(scenario, "a") == [("note", "it has ended: KILLED")] * 3
        assert errors[0].message == ("logged", (), {})


async def test_c70_a_restart_and_an_empty_mailbox_make_no_dead_letters(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        ref = await _with_queue(scenario, ONCE, 0)
        ref.kill()
        assert await ref.ask(ReportingActor.logged) == [0, 1, 2]
        assert await _letters(scenario, "a") == []
        await ref.tell(ReportingActor.crash)
        await ref.wait()
        assert await _letters(scenario, "a") == []


async def test_s36_a_child_that_is_being_stopped_is_not_brought_back_by_its_siblings_crash(
    scenario: Scenario,
) -> None:
    specs = [scenario.child("a"), scenario.child("b"), scenario.child("c")]
    with anyio.fail_after(10):
        branch = await scenario.tree(supervisor("sup", specs, strategy=actors.Strategy.ONE_FOR_ALL))
        await (await scenario.ref("b")).tell(ReportingActor.hang)
        await scenario.heard(("hangs", "b"))
        second = await scenario.ref("b")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(branch.stop_child, "b")
            await anyio.wait_all_tasks_blocked()
            await (await scenario.ref("a")).tell(ReportingActor.crash)
            second.kill()
        await scenario.restarted("c")
        states = {info.name: info.state for info in branch.children()}
        assert states["b"] is ChildState.STOPPED
        assert await second.wait() == Exit.KILLED
        assert await scenario.gone("b")
