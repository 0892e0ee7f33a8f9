"""Supervisors that end with their significant actors: section D of the cases."""

from __future__ import annotations

import anyio
import pytest

from actors import AutoShutdown, Budget, Exit, Restart, Strategy, supervisor
from actors._system.supervisor_handle import SupervisorHandle
from tests.conformance.case_actors import ReportingActor
from tests.conformance.scenario import Scenario

ANY, ALL = AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT


async def _three(scenario: Scenario, auto: AutoShutdown, restart: Restart) -> SupervisorHandle:
    """Two significant children, 1 and 2, and a third that is not."""
    significant = auto is not AutoShutdown.NEVER
    specs = [
        scenario.child("1", restart=restart, significant=significant),
        scenario.child("2", restart=restart, significant=significant),
        scenario.child("3", restart=restart),
    ]
    return await scenario.tree(
        supervisor(
            "sup",
            specs,
            auto_shutdown=auto,
            budget=Budget(10, 3600),
            restart=Restart.TEMPORARY,
        )
    )


async def _end(scenario: Scenario, name: str, how: str) -> None:
    ref = await scenario.ref(name)
    if how == "KILLED":
        ref.kill()
    else:
        await ref.tell(ReportingActor.finish if how == "NORMAL" else ReportingActor.crash)
    if how == "NORMAL":
        assert await ref.wait() == Exit.NORMAL


ENDS = ["NORMAL", "CRASHED", "KILLED"]


@pytest.mark.parametrize("how", ENDS)
async def test_c27_any_significant_end_is_the_end(scenario: Scenario, how: str) -> None:
    with anyio.fail_after(10):
        branch = await _three(scenario, ANY, Restart.TEMPORARY)
        refs = [await scenario.ref(name) for name in "123"]
        await branch.stop_child("1")
        assert branch.count().active == 2
        await _end(scenario, "2", how)
        assert await scenario.ended("sup") == "SHUTDOWN"
        assert [(await ref.wait()).kind.value for ref in refs] == ["SHUTDOWN", how, "SHUTDOWN"]
        assert await scenario.gone("1", "2", "3")


@pytest.mark.parametrize("how", ENDS)
async def test_c27_all_significant_ends_are_the_end(scenario: Scenario, how: str) -> None:
    with anyio.fail_after(10):
        branch = await _three(scenario, ALL, Restart.TEMPORARY)
        refs = [await scenario.ref(name) for name in "123"]
        await _end(scenario, "1", how)
        await refs[0].wait()
        assert branch.count().active == 2
        await _end(scenario, "2", how)
        assert await scenario.ended("sup") == "SHUTDOWN"
        assert await refs[2].wait() == Exit.SHUTDOWN


@pytest.mark.parametrize("auto", [ANY, ALL])
async def test_c28_a_transient_actor_that_is_restarted_does_not_count(
    scenario: Scenario, auto: AutoShutdown
) -> None:
    with anyio.fail_after(10):
        branch = await _three(scenario, auto, Restart.TRANSIENT)
        for number, how in enumerate(ENDS[1:], 1):
            for name in "12":
                await _end(scenario, name, how)
                await scenario.restarted(name, number)
        assert branch.count().active == 3
        third = await scenario.ref("3")
        await _end(scenario, "1", "NORMAL")
        if auto is ALL:
            assert branch.count().active == 2
            await _end(scenario, "2", "NORMAL")
        assert await scenario.ended("sup") == "SHUTDOWN"
        assert await third.wait() == Exit.SHUTDOWN


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("auto", list(AutoShutdown), ids=lambda auto: auto.value)
async def test_c28_actors_that_are_not_significant_never_count(
    scenario: Scenario, auto: AutoShutdown, how: str
) -> None:
    with anyio.fail_after(10):
        branch = await _three(scenario, auto, Restart.TEMPORARY)
        third = await scenario.ref("3")
        await _end(scenario, "3", how)
        await third.wait()
        # A call goes through the supervisor's one task: it would have ended before it.
        await branch.start_child(scenario.child("4"))
        assert branch.count().active == 3


@pytest.mark.parametrize("auto", [ANY, ALL], ids=lambda auto: auto.value)
@pytest.mark.parametrize("strategy", list(Strategy), ids=lambda strategy: strategy.value)
async def test_c29_actors_stopped_with_a_sibling_do_not_count(
    scenario: Scenario, strategy: Strategy, auto: AutoShutdown
) -> None:
    specs = [scenario.child("1"), scenario.child("2", restart=Restart.TEMPORARY, significant=True)]
    with anyio.fail_after(10):
        branch = await scenario.tree(
            supervisor("sup", specs, strategy=strategy, auto_shutdown=auto)
        )
        await scenario.crash("1")
        await branch.start_child(scenario.child("3"))
        assert branch.count().active == (3 if strategy is Strategy.ONE_FOR_ONE else 2)
