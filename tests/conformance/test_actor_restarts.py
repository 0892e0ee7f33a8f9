"""What a restart keeps and what it ends, hook by hook: section E of the cases, and C38, C67, C69, C70."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import actors
from actors import Backoff, Budget, Exit, Ref, Restart, dynamic, supervisor
from actors.errors import ActorStopped, DeadlineExceeded, NameTaken
from actors.supervisors import ChildState, Count
from tests.conformance.cast import Parent, Plain, Well
from tests.conformance.stage import Stage
from tests.conformance.troupe import ERRORS, Fatal, OnceOnly, Stumbling, Tabled, Watcher

NEVER = Budget(restarts=0, within=3600)
ONCE = Budget(restarts=1, within=3600)


async def _watched(stage: Stage, ref: Ref[Any]) -> None:
    """Have the end of *ref* told to the probe."""
    watcher = await stage.spawn(Watcher, stage.probe.ref, name="watcher")
    await watcher.ask(Watcher.watch, ref)
    stage.probe.heard.clear()


async def _sync(stage: Stage, *refs: Ref[Any]) -> None:
    """Let all be told that these have to tell."""
    for ref in refs:
        await ref.ask(Well.incarnation)


@pytest.mark.parametrize("dynamically", [False, True])
async def test_c22_a_restart_that_ends_at_its_start_ends_the_life(
    stage: Stage, dynamically: bool
) -> None:
    with anyio.fail_after(10):
        branch = await stage.tree(dynamic("sup") if dynamically else supervisor("sup", []))
        ref = await branch.start_child(stage.child("once", OnceOnly))
        assert ref is not None
        await ref.tell(Well.crash)
        assert await ref.wait() == Exit.NORMAL
        assert await stage.gone("once")
        # A call goes through the supervisor's one task, behind what it does about the end.
        await branch.start_child(stage.child("other"))
        assert branch.count() == (Count(1, 1, 0, 1) if dynamically else Count(2, 1, 0, 2))


async def test_c38_while_a_name_waits_for_its_restart_it_is_found_and_its_messages_wait(
    stage: Stage,
) -> None:
    with anyio.fail_after(10):
        branch = await stage.tree(
            supervisor("sup", [stage.child("named", backoff=Backoff(first=60, cap=60))])
        )
        ref = await stage.ref("named")
        await stage.crash("named")
        await ref.tell(Well.crash)
        await stage.until("restart_scheduled", child="named", attempt=2)
        assert await stage.ref("named") == ref
        await ref.tell(Well.note, 1)
        with pytest.raises(DeadlineExceeded):
            await ref.within(0.05).ask(Well.logged)
        with pytest.raises(NameTaken):
            await stage.spawn(Plain, name="named")
        await branch.stop_child("named")
        with pytest.raises(ActorStopped, match="it has ended: SHUTDOWN") as caught:
            await ref.ask(Well.logged)
        assert caught.value.message == ("logged", (), {})
        # By its name it is started, asked and stopped.
        await branch.restart_child("named")
        again = await stage.ref("named")
        assert await again.ask(Well.incarnation) == 1
        await again.stop()
        assert await again.wait() == Exit.SHUTDOWN


async def test_c45_the_class_of_an_error_decides_between_restart_resume_and_stop(
    stage: Stage,
) -> None:
    with anyio.fail_after(10):
        branch = await stage.tree(supervisor("sup", [stage.child("tabled", Tabled)]))
        ref = await stage.ref("tabled")
        await _watched(stage, ref)

        await ref.tell(Well.note, 1)
        await ref.tell(Tabled.fail, "restart")
        assert await ref.ask(Well.logged) == []
        assert stage.story() == [("stop", "tabled", "CRASHED"), ("start", "tabled")]

        await ref.tell(Well.note, 1)
        await ref.tell(Tabled.fail, "resume")
        assert await ref.ask(Well.logged) == [1]
        assert await ref.ask(Well.incarnation) == 2
        failed = await stage.until("message_failed", actor="tabled")
        assert "KeyError" in failed.facts["error"]

        await ref.tell(Tabled.fail, "stop")
        assert isinstance((await ref.wait()).error, ERRORS["stop"])
        await stage.heard(("heard", "tabled", "CRASHED"))
        assert stage.story()[2:] == [
            ("stop", "tabled", "CRASHED"),
            ("heard", "tabled", "CRASHED"),
        ]
        assert branch.count() == Count(1, 0, 0, 1)


@pytest.mark.parametrize("name", ["GeneratorExit", "NoException"])
async def test_c46_other_errors_that_are_no_exceptions_are_a_crash(stage: Stage, name: str) -> None:
    with anyio.fail_after(10):
        await stage.tree(supervisor("sup", [actors.child(Fatal, name="fatal", on=stage.on)]))
        ref = await stage.ref("fatal")
        await ref.tell(Fatal.raise_it, name)
        assert await ref.ask(Fatal.incarnation) == 2
        ended = await stage.until("child_ended", child="fatal")
        assert ended.facts["exit"] == f"CRASHED({name})"


async def test_c48_a_third_party_that_dies_meanwhile_is_told_only_if_it_is_watched_again(
    stage: Stage,
) -> None:
    with anyio.fail_after(10):
        await stage.tree(supervisor("sup", [stage.child("parent", Parent)]))
        parent = await stage.ref("parent")
        third = await stage.spawn(Plain, name="third")
        await parent.ask(Parent.watch, third)
        for name in "xy":
            await parent.ask(Parent.start_child, "slow", name)
        await parent.tell(Well.crash)
        await stage.heard(("stop", "parent", "CRASHED"))
        await third.stop()
        await third.wait()
        # A watch is its incarnation's: the new one hears nothing, and at once if it asks.
        assert await parent.ask(Well.incarnation) == 2
        assert stage.story("heard") == []
        await parent.ask(Parent.watch, third)
        await stage.heard(("heard", "third", "SHUTDOWN"))


async def test_c52_hooks_run_in_order_over_three_restarts_and_the_end(stage: Stage) -> None:
    budget = Budget(restarts=3, within=3600)
    with anyio.fail_after(10):
        await stage.tree(
            supervisor("sup", [stage.child("a")], budget=budget, restart=Restart.TEMPORARY)
        )
        ref = await stage.ref("a")
        for number in range(1, 4):
            await ref.tell(Well.crash)
            assert await ref.ask(Well.incarnation) == number + 1
        assert stage.story() == [("start", "a"), *[("stop", "a", "CRASHED"), ("start", "a")] * 3]
        await ref.tell(Well.crash)
        assert (await ref.wait()).kind.value == "CRASHED"
        await stage.ended("sup")
        await _sync(stage, await stage.spawn(Well, stage.probe.ref, name="later"))
        assert stage.story()[7:] == [("stop", "a", "CRASHED"), ("start", "later")]


async def test_c53_on_stop_fails_then_the_constructor_and_the_third_works(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    with anyio.fail_after(10):
        await stage.tree(supervisor("sup", [stage.child("a", Stumbling)]))
        ref = await stage.ref("a")
        capfd.readouterr()
        await ref.tell(Well.crash)
        assert await ref.ask(Well.incarnation) == 3
        ended = await stage.until("child_ended", child="a")
        assert ended.facts["exit"] == "CRASHED(RuntimeError: boom)"
        failed = await stage.until("child_start_failed", child="a")
        assert "ArithmeticError: constructor" in failed.facts["error"]
        if stage.local:  # what others write comes later
            assert "LookupError: on_stop" in capfd.readouterr().err


@pytest.mark.parametrize("how", ["spawn", "dyn"])
async def test_c67_a_spawn_that_is_never_awaited_starts_nothing(stage: Stage, how: str) -> None:
    with anyio.fail_after(10):
        branch = await stage.tree(dynamic("dyn"))
        spawning: Any
        if how == "spawn":
            spawning = stage.system.spawn(Well, stage.probe.ref, name="dropped", on=stage.on)
        else:
            spawning = branch.start_child(stage.child("dropped"))
        spawning.close()
        assert await stage.gone("dropped")
        assert branch.children() == []
        assert await stage.spawn(Well, stage.probe.ref, name="dropped") == await stage.ref(
            "dropped"
        )
        assert stage.story() == [("start", "dropped")]


async def test_c67_an_actor_whose_task_is_cancelled_by_a_stranger_is_cleaned_up(
    stage: Stage, anyio_backend_name: str
) -> None:
    if stage.local and anyio_backend_name == "trio":
        return  # nobody can cancel a single task there
    with anyio.fail_after(10):
        ref = await stage.spawn(
            Watcher, stage.probe.ref, name="cancelled", restart=Restart.TEMPORARY
        )
        child = await ref.ask(Watcher.start_well, "its child")
        await _watched(stage, ref)
        await ref.tell(Watcher.be_cancelled)
        assert str(await ref.wait()).startswith("CRASHED(CancelledError")
        assert await child.wait() == Exit.SHUTDOWN
        await stage.heard(("heard", "cancelled", "CRASHED"))
        assert await stage.gone("cancelled", "its child")


async def test_c69_the_mailbox_survives_a_restart_of_an_actor_with_a_busy_child(
    stage: Stage,
) -> None:
    parent = stage.child("parent", Watcher)
    with anyio.fail_after(20):
        await stage.tree(supervisor("sup", [parent], budget=Budget(restarts=100, within=3600)))
        ref = await stage.ref("parent")
        for number in range(5):
            slow = await ref.ask(Watcher.start_well, f"busy {number}")
            await slow.tell(Well.crash_soon, 0.05)
            await ref.tell(Well.crash_soon, 0.005)
            await ref.tell(Well.note, 0)
            await ref.tell(Well.note, 1)
            assert await ref.ask(Well.logged) == [0, 1]
            assert await ref.ask(Well.incarnation) == number + 2


async def _with_queue(stage: Stage, budget: Budget, crashes: int) -> Ref[Any]:
    """A child that is busy for ever, with three messages waiting."""
    branch = await stage.tree(supervisor("sup", [], budget=budget, restart=Restart.TEMPORARY))
    ref = await branch.start_child(stage.child("a"))
    assert ref is not None
    for number in range(1, crashes + 1):
        await stage.crash("a", number)
    await ref.tell(Well.hang)
    await stage.heard(("hangs", "a"))
    for number in range(3):
        await ref.tell(Well.note, number)
    return ref


async def _letters(stage: Stage, name: str) -> list[tuple[str, str]]:
    """The dead letters of an actor up to now."""
    marker = await stage.spawn(Plain)
    await marker.stop()
    await marker.wait()
    await stage.until("child_ended", child=marker.name)
    return [
        (event.facts["message"], event.facts["reason"])
        for event in stage.unread
        if event.kind == "dead_letter" and event.facts["actor"] == name
    ]


@pytest.mark.parametrize("crashes", [0, 1])
async def test_c70_what_waits_when_the_budget_is_exhausted_becomes_dead_letters(
    stage: Stage, crashes: int
) -> None:
    errors: list[ActorStopped] = []

    async def ask() -> None:
        with pytest.raises(ActorStopped) as caught:
            await ref.ask(Well.logged)
        errors.append(caught.value)

    with anyio.fail_after(10):
        ref = await _with_queue(stage, ONCE if crashes else NEVER, crashes)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            ref.kill()
            assert await ref.wait() == Exit.KILLED
        assert await _letters(stage, "a") == [("note", "it has ended: KILLED")] * 3
        assert errors[0].message == ("logged", (), {})


async def test_c70_a_restart_and_an_empty_mailbox_make_no_dead_letters(stage: Stage) -> None:
    with anyio.fail_after(10):
        ref = await _with_queue(stage, ONCE, 0)
        ref.kill()
        assert await ref.ask(Well.logged) == [0, 1, 2]
        assert await _letters(stage, "a") == []
        await ref.tell(Well.crash)
        await ref.wait()
        assert await _letters(stage, "a") == []


async def test_s36_a_child_that_is_being_stopped_is_not_brought_back_by_its_siblings_crash(
    stage: Stage,
) -> None:
    specs = [stage.child("a"), stage.child("b"), stage.child("c")]
    with anyio.fail_after(10):
        branch = await stage.tree(supervisor("sup", specs, strategy=actors.Strategy.ONE_FOR_ALL))
        await (await stage.ref("b")).tell(Well.hang)
        await stage.heard(("hangs", "b"))
        second = await stage.ref("b")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(branch.stop_child, "b")
            await anyio.wait_all_tasks_blocked()
            await (await stage.ref("a")).tell(Well.crash)
            second.kill()
        await stage.restarted("c")
        states = {info.name: info.state for info in branch.children()}
        assert states["b"] is ChildState.STOPPED
        assert await second.wait() == Exit.KILLED
        assert await stage.gone("b")
