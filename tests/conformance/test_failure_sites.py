"""Every place at which an actor can fail or hang: no hang, nothing left over, no silent loss."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Backoff, Budget, Exit, ExitKind, Ref, Restart, dynamic, supervisor
from actors._system.supervisor_handle import SupervisorHandle
from actors.errors import ActorsError
from actors.supervisors import ChildNotStarted, ChildState, SupervisorStopped
from tests.conformance.case_actors import Faulty, Plain, ReportingActor, ScriptedStart, StartScript
from tests.conformance.scenario import Scenario

GRACE = 0.1
TREES = ["static", "dynamic"]


async def _tree(scenario: Scenario, kind: str, **options: Any) -> SupervisorHandle:
    if kind == "dynamic":
        return await scenario.tree(dynamic("sup", restart=Restart.TEMPORARY, **options))
    return await scenario.tree(supervisor("sup", [], restart=Restart.TEMPORARY, **options))


async def _start(
    branch: SupervisorHandle, scenario: Scenario, *fault: Any, **options: Any
) -> Ref[Any]:
    ref = await branch.start_child(
        scenario.child("faulty", Faulty, *fault, **{"shutdown": GRACE, **options})
    )
    assert ref is not None
    return ref


# -- at the first start; what raises there is C05 --------------------------------------------


@pytest.mark.parametrize("kind", TREES)
async def test_a_first_start_that_hangs_ends_with_its_supervisor(
    scenario: Scenario, kind: str
) -> None:
    async def start() -> None:
        with pytest.raises((ChildNotStarted, SupervisorStopped)):
            await branch.start_child(scenario.child("child", ScriptedStart, scenario.director))

    await scenario.director.ask(StartScript.plan, "child", "hang")
    with anyio.fail_after(10):
        branch = await _tree(scenario, kind)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start)
            await scenario.heard(("hangs", "child"))
            await scenario.top.stop_child("sup")
        await scenario.heard(("let go", "child"))
        assert await scenario.ended("sup") == "SHUTDOWN"
        assert await scenario.gone("child")


# -- during a restart ------------------------------------------------------------------------


@pytest.mark.parametrize("site", ["constructor", "on_start"])
@pytest.mark.parametrize("kind", TREES)
async def test_a_restart_that_fails_is_tried_again(
    scenario: Scenario, kind: str, site: str
) -> None:
    with anyio.fail_after(10):
        branch = await _tree(scenario, kind)
        ref = await _start(branch, scenario, site, "raise", (2, 3))
        await ref.tell(ReportingActor.crash)
        assert await ref.ask(ReportingActor.incarnation) == 4
        for _ in range(2):
            failed = await scenario.until("child_start_failed", child="faulty")
            assert f"LookupError: {site}" in failed.facts["error"]
        await scenario.restarted("faulty")
        assert branch.count().active == 1


@pytest.mark.parametrize("site", ["constructor", "on_start"])
@pytest.mark.parametrize("kind", TREES)
async def test_c18_restarts_that_fail_use_up_the_budget(
    scenario: Scenario, kind: str, site: str
) -> None:
    with anyio.fail_after(10):
        branch = await _tree(scenario, kind, budget=Budget(restarts=4, within=3600))
        well = await branch.start_child(scenario.child("well"))
        ref = await _start(branch, scenario, site, "raise", range(2, 100))
        await ref.tell(ReportingActor.crash)
        assert (await scenario.ended("sup")).startswith("CRASHED(RestartBudgetExceeded")
        for _ in range(4):
            await scenario.until("child_start_failed", child="faulty")
        assert f"LookupError: {site}" in str(await ref.wait())
        assert well is not None
        assert await well.wait() == Exit.SHUTDOWN
        assert await scenario.gone("faulty", "well")


@pytest.mark.parametrize("kind", TREES)
async def test_c50_a_backoff_gives_up_at_its_last_attempt(scenario: Scenario, kind: str) -> None:
    backoff = Backoff(first=0, give_up_after=2)
    with anyio.fail_after(10):
        branch = await _tree(scenario, kind)
        ref = await _start(branch, scenario, "constructor", "raise", range(2, 100), backoff=backoff)
        await ref.tell(ReportingActor.crash)
        assert "CRASHED(ChildGaveUp" in str(await ref.wait())
        given_up = await scenario.until("restarts_given_up", child="faulty")
        assert "after 2 restarts in a row" in given_up.facts["exit"]
        assert await scenario.gone("faulty")
        assert branch.count().active == 0


@pytest.mark.parametrize("kind", TREES)
async def test_a_restart_that_hangs_is_shown_and_ends_with_its_supervisor(
    scenario: Scenario, kind: str
) -> None:
    await scenario.director.ask(StartScript.plan, "child", "go", "hang")
    with anyio.fail_after(10):
        branch = await _tree(scenario, kind)
        ref = await branch.start_child(scenario.child("child", ScriptedStart, scenario.director))
        assert ref is not None
        await ref.tell(ReportingActor.crash)
        await scenario.heard(("hangs", "child"))
        assert [info.state for info in branch.children()] == [ChildState.STARTING]
        await scenario.top.stop_child("sup")
        assert (await ref.wait()).kind.value in {"SHUTDOWN", "KILLED"}
        assert await scenario.gone("child")


@pytest.mark.parametrize("kind", TREES)
async def test_a_restart_that_hangs_is_ended_by_stopping_the_child(
    scenario: Scenario, kind: str
) -> None:
    await scenario.director.ask(StartScript.plan, "child", "go", "hang")
    with anyio.fail_after(10):
        branch = await _tree(scenario, kind)
        ref = await branch.start_child(scenario.child("child", ScriptedStart, scenario.director))
        assert ref is not None
        await ref.tell(ReportingActor.crash)
        await scenario.heard(("hangs", "child"))
        await branch.stop_child("child")
        assert (await ref.wait()).kind.value in {"SHUTDOWN", "KILLED"}
        assert await scenario.gone("child")
        await scenario.heard(("let go", "child"))
        assert await branch.start_child(scenario.child("other")) == await scenario.ref("other")


async def test_an_on_stop_that_raises_after_a_crash_does_not_keep_the_actor_down(
    scenario: Scenario,
) -> None:
    with anyio.fail_after(10):
        branch = await _tree(scenario, "static")
        ref = await _start(branch, scenario, "on_stop")
        await ref.tell(ReportingActor.crash, "first")
        assert await ref.ask(ReportingActor.incarnation) == 2
        ended = await scenario.until("child_ended", child="faulty")
        assert ended.facts["exit"] == "CRASHED(RuntimeError: first)"


@pytest.mark.parametrize("kind", TREES)
async def test_an_on_stop_that_hangs_after_a_crash_is_ended_by_a_kill(
    scenario: Scenario, kind: str
) -> None:
    with anyio.fail_after(10):
        branch = await _tree(scenario, kind)
        ref = await _start(branch, scenario, "on_stop", "hang", shutdown=60.0)
        await ref.tell(ReportingActor.crash)
        await scenario.heard(("hangs", "faulty"))
        ref.kill()
        assert await ref.ask(ReportingActor.incarnation) == 2


@pytest.mark.parametrize("kind", TREES)
async def test_an_on_stop_that_hangs_after_a_crash_ends_with_its_supervisor(
    scenario: Scenario, kind: str
) -> None:
    with anyio.fail_after(10):
        branch = await _tree(scenario, kind)
        ref = await _start(branch, scenario, "on_stop", "hang")
        await ref.tell(ReportingActor.crash)
        await scenario.heard(("hangs", "faulty"))
        await scenario.top.stop_child("sup")
        # Whichever is first: the limit of an end nobody asked for, or the kill by its supervisor.
        assert (await ref.wait()).kind in {ExitKind.CRASHED, ExitKind.KILLED}
        assert await scenario.gone("faulty")


# -- while it runs ---------------------------------------------------------------------------


async def test_an_on_exit_that_raises_crashes_the_actor(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        branch = await _tree(scenario, "static")
        ref = await _start(branch, scenario, "on_exit")
        watched = await scenario.spawn(Plain)
        await ref.ask(Faulty.watch, watched)
        await watched.stop()
        ended = await scenario.until("child_ended", child="faulty")
        assert ended.facts["exit"] == "CRASHED(LookupError: on_exit)"
        assert await ref.ask(ReportingActor.incarnation) == 2


async def test_a_task_that_raises_crashes_the_actor(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        branch = await _tree(scenario, "static")
        ref = await _start(branch, scenario, "task")
        await ref.tell(Faulty.start_task)
        ended = await scenario.until("child_ended", child="faulty")
        assert ended.facts["exit"] == "CRASHED(LookupError: task)"
        assert await ref.ask(ReportingActor.incarnation) == 2


async def test_a_generator_that_raises_tells_its_reader_and_the_actor_lives(
    scenario: Scenario,
) -> None:
    with anyio.fail_after(10):
        branch = await _tree(scenario, "static")
        ref = await _start(branch, scenario, "generator")
        got: list[int] = []
        with pytest.raises(LookupError, match="generator"):
            await _read(ref, got)
        assert got == [1]
        assert await ref.ask(ReportingActor.incarnation) == 1


async def _read(ref: Ref[Any], into: list[int]) -> None:
    async with ref.stream(Faulty.items) as items:
        async for item in items:
            into.append(item)  # noqa: PERF401 - what came before an error counts


# -- at the stop -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TREES)
async def test_c13_an_on_stop_that_raises_is_told_with_the_exit(
    scenario: Scenario, kind: str
) -> None:
    with anyio.fail_after(10):
        branch = await _tree(scenario, kind)
        ref = await _start(branch, scenario, "on_stop", shutdown=5.0)
        await scenario.top.stop_child("sup")
        assert str(await ref.wait()) == "CRASHED(LookupError: on_stop)"
        ended = await scenario.until("child_ended", child="faulty")
        assert (ended.facts["asked"], ended.facts["expected"]) == (True, False)
        assert await scenario.ended("sup") == "SHUTDOWN"


async def _begin(scenario: Scenario, ref: Ref[Any], site: str) -> None:
    """Have the actor hang at *site*, if it is one that is reached before the stop."""
    if site in {"task", "task's end"}:
        await ref.ask(Faulty.start_task)
    elif site == "on_exit":
        watched = await scenario.spawn(Plain)
        await ref.ask(Faulty.watch, watched)
        await watched.stop()
    if site in {"on_exit", "task"}:
        await scenario.heard(("hangs", "faulty"))


@pytest.mark.parametrize("site", ["on_stop", "on_exit"])
@pytest.mark.parametrize("kind", TREES)
async def test_what_hangs_at_a_stop_is_killed_after_its_grace(
    scenario: Scenario, kind: str, site: str
) -> None:
    with anyio.fail_after(10):
        branch = await _tree(scenario, kind)
        ref = await _start(branch, scenario, site, "hang")
        await _begin(scenario, ref, site)
        await branch.stop_child("faulty")
        assert await ref.wait() == Exit.KILLED
        await scenario.until("shutdown_overrun", child="faulty")
        assert await scenario.gone("faulty")


@pytest.mark.parametrize("site", ["task", "task's end"])
@pytest.mark.parametrize("kind", TREES)
async def test_tasks_are_cancelled_at_a_stop_and_waited_for(
    scenario: Scenario, kind: str, site: str
) -> None:
    with anyio.fail_after(10):
        branch = await _tree(scenario, kind)
        ref = await _start(branch, scenario, site, "hang", shutdown=5.0)
        await _begin(scenario, ref, site)
        await branch.stop_child("faulty")
        assert await ref.wait() == Exit.SHUTDOWN
        assert await scenario.gone("faulty")


@pytest.mark.parametrize("site", ["generator", "generator's end"])
@pytest.mark.parametrize("kind", TREES)
async def test_a_generator_that_hangs_at_a_stop_is_killed_after_its_grace(
    scenario: Scenario, kind: str, site: str
) -> None:
    async def read() -> None:
        with pytest.raises(ActorsError):
            await _read(ref, [])

    with anyio.fail_after(10):
        branch = await _tree(scenario, kind)
        ref = await _start(branch, scenario, site, "hang")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await scenario.heard(("hangs", "faulty"))
            await branch.stop_child("faulty")
            assert await ref.wait() == Exit.KILLED
        await scenario.until("shutdown_overrun", child="faulty")
        assert await scenario.gone("faulty")


async def test_a_task_that_raises_at_the_stop_is_told_with_the_exit(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        branch = await _tree(scenario, "static")
        ref = await _start(branch, scenario, "task's end", shutdown=5.0)
        await ref.ask(Faulty.start_task)
        await branch.stop_child("faulty")
        assert str(await ref.wait()) == "CRASHED(LookupError: task's end)"


@pytest.mark.parametrize("restart", list(Restart), ids=lambda restart: restart.value)
async def test_a_voluntary_end_that_fails_is_told_and_not_restarted(
    scenario: Scenario, restart: Restart
) -> None:
    with anyio.fail_after(10):
        branch = await _tree(scenario, "static")
        ref = await _start(branch, scenario, "on_stop", restart=restart, shutdown=5.0)
        await ref.tell(ReportingActor.finish)
        assert str(await ref.wait()) == "CRASHED(LookupError: on_stop)"
        assert await scenario.gone("faulty")
        assert branch.count().active == 0
