"""Lives of real actors: restarts, families, races, names, mailboxes (sections E and F of the cases)."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import actors
from actors import Budget, Exit, Restart, System, dynamic, supervisor
from actors._system.supervisor_handle import SupervisorHandle
from actors._system.tree_specs import TreeSpec
from actors.errors import ActorCrashed, SystemStopped
from actors.supervisors import ChildNotStarted, SupervisorStopped
from actors.testing import running_system
from tests.conformance.case_actors import (
    Brief,
    Faulty,
    Parent,
    Plain,
    ReportingActor,
    ScriptedStart,
    Slow,
    StartScript,
)
from tests.conformance.scenario import Scenario, incarnations

OFTEN = Budget(restarts=1000, within=3600)
DEPTH = 200


async def test_c48_children_of_an_actor_end_before_it_comes_back(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        await scenario.tree(supervisor("sup", [scenario.child("parent", Parent)]))
        parent = await scenario.ref("parent")
        third = await scenario.spawn(Plain, name="third")
        await parent.ask(Parent.watch, third)
        children = [await parent.ask(Parent.start_child, "slow", name) for name in ("x", "y")]
        scenario.probe.heard.clear()
        await parent.tell(ReportingActor.crash)
        for value in range(3):
            await parent.tell(ReportingActor.note, value)
        assert await parent.ask(ReportingActor.logged) == [0, 1, 2]
        assert await parent.ask(ReportingActor.incarnation) == 2
        assert [await child.wait() for child in children] == [Exit.SHUTDOWN] * 2
        story = scenario.story()
        assert story[0] == ("stop", "parent", "CRASHED")
        assert sorted(story[1:-1]) == [
            *[("stop", "x", "SHUTDOWN"), ("stop", "y", "SHUTDOWN")],
            *[("stopping", "x"), ("stopping", "y")],
        ]
        assert story[-1] == ("start", "parent")
        assert await scenario.gone("x", "y")
        assert await parent.ask(Parent.start_child, "well", "x") == await scenario.ref("x")


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_c48_children_of_an_actor_end_with_its_tree(scenario: Scenario, how: str) -> None:
    shutdown = 5.0 if how == "stop" else 0
    with anyio.fail_after(10):
        await scenario.tree(
            supervisor("sup", [scenario.child("parent", Parent, shutdown=shutdown)])
        )
        parent = await scenario.ref("parent")
        child = await parent.ask(Parent.start_child, "slow", "x")
        await scenario.top.stop_child("sup")
        end = Exit.SHUTDOWN if how == "stop" else Exit.KILLED
        assert (await parent.wait(), await child.wait()) == (end, end)
        assert await scenario.gone("parent", "x")


async def test_c64_a_chain_of_nested_supervisors_starts_and_stops(system: System) -> None:
    chain: TreeSpec = actors.child(Plain, name="leaf")
    for number in range(DEPTH):
        chain = supervisor(f"s{DEPTH - number}", [chain])
    path = "/".join(f"s{number}" for number in range(1, DEPTH + 1))
    with anyio.fail_after(15):
        await system.start(chain)
        leaf = await system.lookup("leaf")
        assert leaf is not None
        await leaf.tell(Plain.crash)
        assert await leaf.ask(Plain.incarnation) == 2
        assert [info.name for info in await system.supervisor(path).children()] == ["leaf"]
        shown = (await system.tree())["children"][-1]
        while "children" in shown:
            shown = shown["children"][0]
        assert (shown["name"], shown["kind"]) == ("leaf", "actor")
        await system.supervisor("").stop_child("s1")
        assert await leaf.wait() == Exit.SHUTDOWN
        await system.supervisor("").delete_child("s1")


async def test_c65_nothing_is_started_under_a_supervisor_that_stops(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        static = await scenario.tree(supervisor("sup", [scenario.child("slow", Slow)]))
        await _refuses_while_it_stops(scenario, static, "slow")
        crowd = await scenario.tree(dynamic("dyn"))
        await crowd.start_child(scenario.child("slower", Slow))
        await _refuses_while_it_stops(scenario, crowd, "slower")


async def _refuses_while_it_stops(scenario: Scenario, branch: SupervisorHandle, slow: str) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scenario.top.stop_child, branch.path)
        await scenario.heard(("stopping", slow))
        with pytest.raises(SupervisorStopped):
            await branch.start_child(scenario.child("late"))
    with pytest.raises(SupervisorStopped):
        await branch.start_child(scenario.child("late"))
    assert await scenario.gone("late", slow)
    late = await scenario.spawn(Plain, name="late")
    await late.stop()
    await late.wait()


async def test_c65_a_failed_spawn_gives_its_name_back(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        for _ in range(3):
            with pytest.raises(actors.errors.StartFailed, match="LookupError"):
                await scenario.spawn(Faulty, scenario.probe.ref, "on_start", name="again")
            assert await scenario.gone("again")
        again = await scenario.spawn(Plain, name="again")
        assert again == await scenario.ref("again")


async def test_c65_a_stopped_system_starts_nothing() -> None:
    with anyio.fail_after(10):
        async with running_system() as system:
            await system.start(dynamic("dyn"))
            branch = system.supervisor("dyn")
        with pytest.raises(SystemStopped):
            await system.spawn(Plain)
        with pytest.raises(SupervisorStopped):
            await branch.start_child(actors.child(Plain))
        with pytest.raises(SystemStopped):
            await system.start(actors.child(Plain))


async def _spawn(scenario: Scenario, how: str) -> Any:
    if how == "spawn":
        return await scenario.spawn(
            ScriptedStart, scenario.probe.ref, scenario.director, name="slow starter"
        )
    if how == "context":
        parent = await scenario.ref("parent")
        return await parent.ask(Parent.start_cued, scenario.director, "slow starter")
    branch = scenario.system.supervisor(how)
    return await branch.start_child(
        scenario.child("slow starter", ScriptedStart, scenario.director)
    )


@pytest.mark.parametrize("how", ["spawn", "dyn", "sup", "context"])
async def test_c67_cancelling_a_spawn_while_on_start_runs_leaves_nothing(
    scenario: Scenario, how: str
) -> None:
    await scenario.director.ask(StartScript.plan, "slow starter", "hang")
    with anyio.fail_after(10):
        await scenario.tree(dynamic("dyn"))
        await scenario.tree(supervisor("sup", [scenario.child("parent", Parent)]))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_spawn, scenario, how)
            await scenario.heard(("hangs", "slow starter"))
            tasks.cancel_scope.cancel()
        await scenario.heard(("let go", "slow starter"))
        ref = await _spawn(scenario, how)
        assert ref == await scenario.ref("slow starter")
        assert await ref.ask(ReportingActor.incarnation) == 1
        assert scenario.story("stop") == []


@pytest.mark.parametrize("dynamically", [False, True])
async def test_c69_the_mailbox_survives_a_restart(scenario: Scenario, dynamically: bool) -> None:
    tree = dynamic("sup", budget=OFTEN) if dynamically else supervisor("sup", [], budget=OFTEN)
    with anyio.fail_after(20):
        branch = await scenario.tree(tree)
        ref = await branch.start_child(scenario.child("1"))
        assert ref is not None
        for number in range(50):
            await ref.tell(ReportingActor.crash_soon, 0.002)
            await ref.tell(ReportingActor.note, 0)
            await ref.tell(ReportingActor.note, 1)
            assert await ref.ask(ReportingActor.logged) == [0, 1]
            assert await ref.ask(ReportingActor.incarnation) == number + 2
        assert await scenario.ref("1") == ref


async def test_c69_an_ask_behind_a_crash_is_answered_and_one_under_it_is_lost(
    scenario: Scenario,
) -> None:
    with anyio.fail_after(10):
        await scenario.tree(supervisor("sup", [scenario.child("1")]))
        ref = await scenario.ref("1")
        answers: list[int] = []

        async def hang() -> None:
            with pytest.raises(ActorCrashed):
                await ref.ask(ReportingActor.hang)

        async def ask() -> None:
            answers.append(await ref.ask(ReportingActor.incarnation))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hang)
            await scenario.heard(("hangs", "1"))
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            ref.kill()
        assert answers == [2]


@pytest.mark.parametrize("restart", list(Restart), ids=lambda restart: restart.value)
async def test_s36_an_actor_may_end_itself_while_its_supervisor_stops(
    scenario: Scenario, restart: Restart
) -> None:
    specs = [scenario.child("a", restart=restart), scenario.child("b", Slow)]
    with anyio.fail_after(10):
        await scenario.tree(supervisor("sup", specs))
        first = await scenario.ref("a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scenario.top.stop_child, "sup")
            await scenario.heard(("stopping", "b"))
            await first.tell(ReportingActor.finish)
            assert await first.wait() == Exit.NORMAL
        assert await scenario.ended("sup") == "SHUTDOWN"
        assert await scenario.gone("a", "b")


async def test_s36_an_actor_that_ends_itself_and_is_stopped_at_once_ends_once(
    scenario: Scenario,
) -> None:
    with anyio.fail_after(10):
        for tree in (supervisor("sup", []), dynamic("dyn")):
            branch = await scenario.tree(tree)
            ref = await branch.start_child(actors.child(Brief, name="brief", on=scenario.on))
            await scenario.top.stop_child(tree.name)
            assert ref is not None
            assert (await ref.wait()).kind.value in {"NORMAL", "SHUTDOWN"}
            assert await scenario.gone("brief")


async def test_two_children_that_crash_together_are_both_back(scenario: Scenario) -> None:
    specs = [scenario.child(name) for name in "abc"]
    with anyio.fail_after(10):
        await scenario.tree(supervisor("sup", specs, strategy=actors.Strategy.ONE_FOR_ALL))
        for name in "ac":
            await (await scenario.ref(name)).tell(ReportingActor.crash)
        for name in "abc":
            await scenario.restarted(name)
        found = await incarnations(scenario, *"abc")
        assert min(found) >= 2
        assert len(await scenario.system.supervisor("sup").children()) == 3


async def test_a_name_that_was_never_ready_is_not_a_child(scenario: Scenario) -> None:
    await scenario.director.ask(StartScript.plan, "child", "fail", "fail")
    with anyio.fail_after(10):
        branch = await scenario.tree(supervisor("sup", []))
        for _ in range(2):
            with pytest.raises(ChildNotStarted):
                await branch.start_child(scenario.child("child", ScriptedStart, scenario.director))
        ref = await branch.start_child(scenario.child("child", ScriptedStart, scenario.director))
        assert ref == await scenario.ref("child")
