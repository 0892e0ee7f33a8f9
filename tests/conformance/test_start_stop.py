"""Starting and stopping trees of real actors: section A of the cases."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import actors
from actors import Exit, Restart, Strategy, Topology, dynamic, supervisor
from actors.errors import NameTaken, StartFailed
from actors.supervisors import ChildNotStarted, ChildState, Count, MaxChildren, SupervisorStopped
from actors.testing import running_system
from tests.conformance.case_actors import (
    Brief,
    Faulty,
    Plain,
    ReportingActor,
    ScriptedStart,
    Slow,
    StartScript,
)
from tests.conformance.scenario import Scenario, incarnations


@pytest.mark.parametrize("dynamically", [False, True])
async def test_c01_an_empty_supervisor_starts_and_stops(
    scenario: Scenario, dynamically: bool
) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(dynamic("sup") if dynamically else supervisor("sup", []))
        assert branch.children() == []
        await scenario.top.stop_child("sup")
        assert await scenario.ended("sup") == "SHUTDOWN"
        with pytest.raises(SupervisorStopped, match="supervisor 'sup' is not running"):
            branch.children()


async def test_c03_an_actor_that_ends_at_its_start_is_kept_without_a_run(
    scenario: Scenario,
) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(supervisor("sup", []))
        brief = await branch.start_child(actors.child(Brief, name="1", on=scenario.on))
        assert brief is not None
        assert await brief.wait() == Exit.NORMAL
        await branch.start_child(scenario.child("2"))
        assert [(i.name, i.state.value) for i in branch.children()] == [
            ("2", "RUNNING"),
            ("1", "STOPPED"),
        ]
        assert branch.count() == Count(2, 1, 0, 2)


@pytest.mark.parametrize("restart", list(Restart), ids=lambda restart: restart.value)
async def test_c03_a_dynamic_supervisor_forgets_who_ends_at_its_start(
    scenario: Scenario, restart: Restart
) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(dynamic("dyn"))
        brief = await branch.start_child(
            actors.child(Brief, name="1", on=scenario.on, restart=restart)
        )
        assert brief is not None
        assert await brief.wait() == Exit.NORMAL
        await branch.start_child(scenario.child("2"))
        assert branch.count() == Count(1, 1, 0, 1)
        await scenario.top.stop_child("dyn")
        assert await scenario.ended("dyn") == "SHUTDOWN"


async def test_c04_a_failing_first_start_stops_what_was_started_in_reverse(
    scenario: Scenario,
) -> None:
    specs = [
        *map(scenario.child, "ab"),
        scenario.child("c", Faulty, "constructor"),
        scenario.child("d"),
    ]
    with anyio.fail_after(10):
        with pytest.raises(ChildNotStarted, match="LookupError: constructor"):
            await scenario.system.start(supervisor("sup", specs))
        assert scenario.story() == [
            *[("start", "a"), ("start", "b")],
            *[("stop", "b", "SHUTDOWN"), ("stop", "a", "SHUTDOWN")],
        ]
        assert await scenario.gone(*"abcd")
        assert "sup" not in [info.name for info in scenario.top.children()]


async def test_c04_a_system_whose_topology_does_not_start_leaves_nothing(
    no_leaks: None,
) -> None:
    nobody: Any = None
    tree = supervisor("sup", [actors.child(Plain), actors.child(Faulty, nobody, "constructor")])
    with anyio.fail_after(10):
        with pytest.raises(StartFailed, match="LookupError: constructor") as caught:
            async with running_system(Topology(children=[tree])):
                pytest.fail("it started")
        assert isinstance(caught.value.__cause__, LookupError)


@pytest.mark.parametrize("dynamically", [False, True])
@pytest.mark.parametrize("cue", ["constructor", "on_start", "fail", "throw", "cancel"])
async def test_c05_a_failing_start_leaves_nothing(
    scenario: Scenario, dynamically: bool, cue: str, anyio_backend_name: str
) -> None:
    if cue == "cancel" and anyio_backend_name == "trio":
        return  # its Cancelled cannot be made up
    await scenario.director.ask(StartScript.plan, "child", cue)
    bad = (
        scenario.child("child", ScriptedStart, scenario.director)
        if cue in {"fail", "throw", "cancel"}
        else scenario.child("child", Faulty, cue)
    )
    with anyio.fail_after(10):
        branch = await scenario.tree(dynamic("sup") if dynamically else supervisor("sup", []))
        with pytest.raises(ChildNotStarted, match="'child' of 'sup' did not start") as caught:
            await branch.start_child(bad)
        assert isinstance(caught.value.__cause__, StartFailed)
        assert branch.children() == []
        assert await scenario.gone("child")
        failed = await scenario.until("child_start_failed", child="child")
        assert "Error" in failed.facts["error"]
        assert await branch.start_child(scenario.child("child")) == await scenario.ref("child")


async def test_c06_a_failing_restart_child_keeps_the_spec_and_costs_nothing(
    scenario: Scenario,
) -> None:
    spec = scenario.child("child", ScriptedStart, scenario.director)
    with anyio.fail_after(10):
        branch = await scenario.tree(
            supervisor("sup", [spec], budget=actors.Budget(restarts=0, within=5))
        )
        await branch.stop_child("child")
        await scenario.director.ask(StartScript.plan, "child", "fail")
        with pytest.raises(ChildNotStarted, match="ConnectionError: no database"):
            await branch.restart_child("child")
        assert [(i.name, i.child, i.state) for i in branch.children()] == [
            ("child", None, ChildState.STOPPED)
        ]
        assert branch.count() == Count(1, 0, 0, 1)
        assert await scenario.gone("child")
        assert await branch.restart_child("child") == await scenario.ref("child")


async def test_c09_supervisors_and_patient_actors_end_by_shutdown(scenario: Scenario) -> None:
    inner = supervisor("inner", [scenario.child("deep", Slow)])
    with anyio.fail_after(10):
        await scenario.tree(
            supervisor("sup", [inner, scenario.child("flat", Slow, shutdown=float("inf"))])
        )
        refs = [await scenario.ref("deep"), await scenario.ref("flat")]
        await scenario.top.stop_child("sup")
        assert [await ref.wait() for ref in refs] == [Exit.SHUTDOWN] * 2
        assert await scenario.ended("sup/inner") == await scenario.ended("sup") == "SHUTDOWN"


async def test_c10_a_stuck_actor_is_killed_when_its_grace_is_over(scenario: Scenario) -> None:
    specs = [scenario.child(name, shutdown=0.5) for name in "12"]
    with anyio.fail_after(10):
        await scenario.tree(supervisor("sup", specs))
        well, stuck = [await scenario.ref(name) for name in "12"]
        await stuck.tell(ReportingActor.hang)
        await scenario.heard(("hangs", "2"))
        await scenario.top.stop_child("sup")
        assert (await stuck.wait(), await well.wait()) == (Exit.KILLED, Exit.SHUTDOWN)
        assert (await scenario.until("shutdown_overrun", child="2")).facts["grace"] == 0.5
        assert await scenario.ended("sup") == "SHUTDOWN"
        assert scenario.story("stop") == [("stop", "1", "SHUTDOWN")]


async def test_c10_stuck_dynamic_actors_share_one_deadline(scenario: Scenario) -> None:
    names = [f"stuck{number}" for number in range(10)]
    with anyio.fail_after(10):
        branch = await scenario.tree(dynamic("dyn"))
        well = await branch.start_child(scenario.child("well", shutdown=0.3))
        for name in names:
            stuck = await branch.start_child(scenario.child(name, shutdown=0.3))
            assert stuck is not None
            await stuck.tell(ReportingActor.hang)
            await scenario.heard(("hangs", name))
        refs = [await scenario.ref(name) for name in names]
        with anyio.fail_after(2):  # not ten times 0.3 s and more
            await scenario.top.stop_child("dyn")
        assert [await ref.wait() for ref in refs] == [Exit.KILLED] * 10
        assert well is not None
        assert await well.wait() == Exit.SHUTDOWN
        assert await scenario.gone("well", *names)


@pytest.mark.parametrize("dynamically", [False, True])
async def test_c11_no_grace_kills_without_asking(scenario: Scenario, dynamically: bool) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(dynamic("sup") if dynamically else supervisor("sup", []))
        asked = await branch.start_child(scenario.child("1"))
        brutal = await branch.start_child(scenario.child("2", shutdown=0))
        assert asked is not None
        assert brutal is not None
        await scenario.top.stop_child("sup")
        assert (await asked.wait(), await brutal.wait()) == (Exit.SHUTDOWN, Exit.KILLED)
        assert scenario.story("stop") == [("stop", "1", "SHUTDOWN")]


async def test_c31_a_naughty_actor_is_killed_and_the_supervisor_answers(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(
            supervisor("sup", [scenario.child("1", Faulty, "task's end", "hang", shutdown=0.2)])
        )
        naughty = await scenario.ref("1")
        await naughty.ask(Faulty.start_task)
        await naughty.tell(ReportingActor.hang)
        await scenario.heard(("hangs", "1"))
        await branch.stop_child("1")
        (info,) = branch.children()
        assert (info.state, info.last_exit) == (ChildState.STOPPED, Exit.KILLED)
        assert await naughty.wait() == Exit.KILLED
        assert scenario.story("stop") == []


async def test_c37_children_start_in_order_and_stop_in_reverse(scenario: Scenario) -> None:
    names = ["7", "3", "10", "2", "5"]
    with anyio.fail_after(10):
        await scenario.tree(
            supervisor(
                "sup",
                [scenario.child(name, Slow) for name in names],
                strategy=Strategy.REST_FOR_ONE,
            )
        )
        assert scenario.story() == [("start", name) for name in names]
        scenario.probe.heard.clear()

        await scenario.crash("10")
        await scenario.restarted("5")
        assert await incarnations(scenario, *names) == [1, 1, 2, 2, 2]
        assert scenario.story() == [
            *[("stopping", "10"), ("stop", "10", "CRASHED")],
            *[("stopping", "5"), ("stop", "5", "SHUTDOWN")],
            *[("stopping", "2"), ("stop", "2", "SHUTDOWN")],
            *[("start", "10"), ("start", "2"), ("start", "5")],
        ]
        scenario.probe.heard.clear()

        await scenario.top.stop_child("sup")
        assert scenario.story() == [
            line
            for name in reversed(names)
            for line in (("stopping", name), ("stop", name, "SHUTDOWN"))
        ]


async def test_c37_a_tree_over_all_kinds_of_nodes_keeps_its_order(scenario: Scenario) -> None:
    here = actors.child(Slow, scenario.probe.ref, name="b", on=scenario.system.node.name)
    inner = supervisor("inner", [here, scenario.child("c", Slow)])
    with anyio.fail_after(10):
        await scenario.tree(
            supervisor("sup", [scenario.child("a", Slow), inner, scenario.child("d", Slow)])
        )
        await scenario.top.stop_child("sup")
        assert scenario.story("start") == [("start", name) for name in "abcd"]
        assert [line[1] for line in scenario.story("stopping", "stop")] == list("ddccbbaa")


async def test_c38_a_name_that_is_taken_starts_nothing(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        foreign = await scenario.spawn(Plain, name="taken")
        branch = await scenario.tree(supervisor("sup", []))
        with pytest.raises(ChildNotStarted) as caught:
            await branch.start_child(scenario.child("taken"))
        cause = caught.value.__cause__
        assert isinstance(cause, NameTaken)
        assert cause.ref == foreign == await scenario.ref("taken")
        assert branch.children() == []
        assert scenario.story() == []


async def test_c38_a_name_stays_over_a_restart_and_is_free_after_the_end(
    scenario: Scenario,
) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(supervisor("sup", [scenario.child("named")]))
        ref = await scenario.ref("named")
        await scenario.crash("named")
        assert await scenario.ref("named") == ref
        with pytest.raises(NameTaken):
            await scenario.spawn(Plain, name="named")
        await branch.stop_child("named")
        assert await scenario.gone("named")
        successor = await scenario.spawn(Plain, name="named")
        assert successor != ref
        with pytest.raises(ChildNotStarted, match="NameTaken"):
            await branch.restart_child("named")
        await successor.stop()
        await successor.wait()
        assert await branch.restart_child("named") == await scenario.ref("named")


async def test_c39_max_children(scenario: Scenario) -> None:
    backoff = actors.Backoff(first=60, cap=60)
    with anyio.fail_after(10):
        none = await scenario.tree(dynamic("none", max_children=0))
        with pytest.raises(MaxChildren):
            await none.start_child(scenario.child("1"))
        one = await scenario.tree(dynamic("one", max_children=1))
        first = await one.start_child(scenario.child("1", backoff=backoff))
        assert first is not None
        await scenario.crash("1")
        with pytest.raises(MaxChildren, match="it may have 1"):
            await one.start_child(scenario.child("2"))
        await first.tell(ReportingActor.crash)
        await scenario.until("restart_scheduled", child="1", attempt=2)
        assert [info.state for info in one.children()] == [ChildState.BACKING_OFF]
        with pytest.raises(MaxChildren):
            await one.start_child(scenario.child("2"))
        # A stop during the backoff works at once.
        await one.stop_child("1")
        assert (await first.wait()).kind.value == "SHUTDOWN"
        assert await one.start_child(scenario.child("2")) == await scenario.ref("2")
