"""Restart types and strategies, with real actors: section C of the cases."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Budget, Exit, Ref, Restart, Strategy, dynamic, supervisor
from actors.supervisors import ChildState, Count
from tests.conformance.case_actors import ReportingActor
from tests.conformance.scenario import Scenario, incarnations

TWICE = Budget(restarts=2, within=3600)
TEMPORARY = Restart.TEMPORARY


async def _end(ref: Ref[Any], how: str) -> None:
    if how == "KILLED":
        ref.kill()
    elif how == "SHUTDOWN":
        await ref.stop()
    else:
        await ref.tell(ReportingActor.finish if how == "NORMAL" else ReportingActor.crash)


@pytest.mark.parametrize("how", ["NORMAL", "SHUTDOWN", "CRASHED", "KILLED"])
@pytest.mark.parametrize("restart", list(Restart), ids=lambda restart: restart.value)
async def test_c25_the_matrix_of_restart_types_and_ends(
    scenario: Scenario, restart: Restart, how: str
) -> None:
    spec = scenario.child("only", restart=restart)
    voluntary = how in {"NORMAL", "SHUTDOWN"}
    with anyio.fail_after(10):
        branch = await scenario.tree(supervisor("sup", [spec], budget=TWICE))
        ref = await scenario.ref("only")
        await _end(ref, how)

        if not voluntary and restart is not TEMPORARY:
            await scenario.restarted("only")
            assert await ref.ask(ReportingActor.incarnation) == 2
            assert branch.count() == Count(1, 1, 0, 1)
            return
        assert (await ref.wait()).kind.value == how
        assert await scenario.gone("only")
        if restart is TEMPORARY:
            assert branch.count() == Count(0, 0, 0, 0)
            again = await branch.start_child(spec)
        else:
            assert branch.count() == Count(1, 0, 0, 1)
            restarted = await branch.restart_child("only")
            assert restarted is not None
            again = restarted
        assert again == await scenario.ref("only") != ref


async def test_c17_one_for_one(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(
            supervisor(
                "sup", [scenario.child("1"), scenario.child("2")], budget=TWICE, restart=TEMPORARY
            )
        )
        first, second = await scenario.ref("1"), await scenario.ref("2")
        await scenario.crash("1")
        assert await incarnations(scenario, "1", "2") == [2, 1]
        await scenario.crash("2")
        assert await incarnations(scenario, "1", "2") == [2, 2]
        assert branch.count().active == 2
        assert (await scenario.ref("1"), await scenario.ref("2")) == (first, second)
        await first.tell(ReportingActor.crash, "the last one")

        assert await scenario.ended("sup") == (
            "CRASHED(RestartBudgetExceeded: supervisor 'sup' gave up: "
            "'1' needs more than 2 restarts within 3600 s)"
        )
        assert str(await first.wait()) == "CRASHED(RuntimeError: the last one)"
        assert await second.wait() == Exit.SHUTDOWN
        assert await scenario.gone("1", "2")


async def test_c17_the_parent_of_a_supervisor_that_gave_up_starts_it_anew_under_the_same_addresses(
    scenario: Scenario,
) -> None:
    inner = supervisor("inner", [scenario.child("a"), scenario.child("b")], budget=Budget(0, 5))
    with anyio.fail_after(10):
        await scenario.tree(supervisor("outer", [inner, scenario.child("c")]))
        old = await scenario.ref("a"), await scenario.ref("b")
        await old[0].tell(ReportingActor.crash)
        await scenario.restarted("inner")
        assert await incarnations(scenario, "a", "b", "c") == [2, 2, 1]
        assert (await scenario.ref("a"), await scenario.ref("b")) == old
        assert [await ref.ask(ReportingActor.incarnation) for ref in old] == [2, 2]


async def test_c19_one_for_all(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(
            supervisor(
                "sup",
                [scenario.child("1"), scenario.child("2")],
                strategy=Strategy.ONE_FOR_ALL,
                budget=TWICE,
                restart=TEMPORARY,
            )
        )
        refs = [await scenario.ref("1"), await scenario.ref("2")]
        for number in (1, 2):
            scenario.probe.heard.clear()
            await scenario.crash("1", number)
            await scenario.restarted("2", number)
            assert await incarnations(scenario, "1", "2") == [number + 1] * 2
            assert scenario.story() == [
                *[("stop", "1", "CRASHED"), ("stop", "2", "SHUTDOWN")],
                *[("start", "1"), ("start", "2")],
            ]
            assert branch.count().active == 2
        await refs[1].tell(ReportingActor.crash)
        assert (await scenario.ended("sup")).startswith("CRASHED(RestartBudgetExceeded")
        assert [(await ref.wait()).kind.value for ref in refs] == ["SHUTDOWN", "CRASHED"]


async def test_c23_rest_for_one(scenario: Scenario) -> None:
    names = ["1", "2", "3"]
    with anyio.fail_after(10):
        branch = await scenario.tree(
            supervisor(
                "sup",
                [scenario.child(name) for name in names],
                strategy=Strategy.REST_FOR_ONE,
                budget=TWICE,
                restart=TEMPORARY,
            )
        )
        refs = [await scenario.ref(name) for name in names]
        for number in (1, 2):
            await scenario.crash("2", number)
            await scenario.restarted("3", number)
            assert await incarnations(scenario, *names) == [1, number + 1, number + 1]
        assert [info.name for info in branch.children()] == ["3", "2", "1"]
        await refs[1].tell(ReportingActor.crash)
        assert (await scenario.ended("sup")).startswith("CRASHED(RestartBudgetExceeded")
        ends = [(await ref.wait()).kind.value for ref in refs]
        assert ends == ["SHUTDOWN", "CRASHED", "SHUTDOWN"]


async def test_c21_dynamic(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(dynamic("dyn", budget=TWICE, restart=TEMPORARY))
        first = await branch.start_child(scenario.child("1"))
        second = await branch.start_child(scenario.child("2"))
        assert first is not None
        assert second is not None
        await scenario.crash("1")
        assert await incarnations(scenario, "1", "2") == [2, 1]
        await scenario.crash("2")
        assert branch.count() == Count(2, 2, 0, 2)
        await first.tell(ReportingActor.crash)
        assert (await scenario.ended("dyn")).startswith("CRASHED(RestartBudgetExceeded")
        assert (await first.wait()).kind.value == "CRASHED"
        assert await second.wait() == Exit.SHUTDOWN
        assert await scenario.gone("1", "2")


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_c26_temporary_bystander(scenario: Scenario, strategy: Strategy) -> None:
    specs = [scenario.child("1"), scenario.child("2", restart=TEMPORARY)]
    with anyio.fail_after(10):
        branch = await scenario.tree(supervisor("sup", specs, strategy=strategy, budget=TWICE))
        bystander = await scenario.ref("2")
        await scenario.crash("1")
        assert await bystander.wait() == Exit.SHUTDOWN
        assert await incarnations(scenario, "1") == [2]
        assert [info.name for info in branch.children()] == ["1"]
        assert await scenario.gone("2")


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_c73_added_children_take_part(scenario: Scenario, strategy: Strategy) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(supervisor("sup", [scenario.child("a")], strategy=strategy))
        await branch.start_child(scenario.child("b"))
        await scenario.crash("a")
        await scenario.restarted("b")
        assert await incarnations(scenario, "a", "b") == [2, 2]
        await scenario.crash("b", 2)
        expected = [3, 3] if strategy is Strategy.ONE_FOR_ALL else [2, 3]
        assert await incarnations(scenario, "a", "b") == expected


async def test_a_child_stopped_on_purpose_stays_stopped_when_a_sibling_falls(
    scenario: Scenario,
) -> None:
    specs = [scenario.child(name) for name in "abc"]
    with anyio.fail_after(10):
        branch = await scenario.tree(supervisor("sup", specs, strategy=Strategy.ONE_FOR_ALL))
        await (await scenario.ref("b")).stop()
        await scenario.until("child_ended", child="b")
        await scenario.crash("a")
        await scenario.restarted("c")
        assert await incarnations(scenario, "a", "c") == [2, 2]
        states = {info.name: info.state for info in branch.children()}
        assert states["b"] is ChildState.STOPPED
        assert await scenario.gone("b")
