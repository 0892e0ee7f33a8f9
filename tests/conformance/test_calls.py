"""What one can ask of a running branch, with OTP's results: section B of the cases."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import actors
from actors import Backoff, Exit, Restart, System, dynamic, supervisor
from actors.errors import InvalidSpec
from actors.supervisors import (
    AlreadyPresent,
    AlreadyStarted,
    ChildRestarting,
    ChildRunning,
    Count,
    NotFound,
    NotSupported,
    SupervisorStopped,
)
from tests.conformance.case_actors import Plain, ReportingActor
from tests.conformance.scenario import Scenario


async def test_c14_static_lifecycle(scenario: Scenario) -> None:
    spec = scenario.child("child1")
    with anyio.fail_after(10):
        branch = await scenario.tree(supervisor("sup", [spec]))
        first = await scenario.ref("child1")
        assert branch.count() == Count(1, 1, 0, 1)
        with pytest.raises(AlreadyStarted):
            await branch.start_child(spec)
        with pytest.raises(NotFound):
            await branch.stop_child("other")

        await branch.stop_child("child1")
        assert await first.wait() == Exit.SHUTDOWN
        assert [(info.name, info.child) for info in branch.children()] == [("child1", None)]
        assert branch.count() == Count(1, 0, 0, 1)
        await branch.stop_child("child1")
        with pytest.raises(AlreadyPresent):
            await branch.start_child(spec)

        second = await branch.restart_child("child1")
        assert second == await scenario.ref("child1") != first
        with pytest.raises(ChildRunning):
            await branch.restart_child("child1")
        with pytest.raises(ChildRunning):
            branch.delete_child("child1")
        for unknown in ("other", str(first)):
            with pytest.raises(NotFound):
                await branch.restart_child(unknown)
            with pytest.raises(NotFound):
                branch.delete_child(unknown)

        await branch.stop_child("child1")
        branch.delete_child("child1")
        with pytest.raises(NotFound):
            await branch.restart_child("child1")
        assert branch.children() == []
        assert branch.count() == Count(0, 0, 0, 0)
        third = await branch.start_child(spec)
        assert third == await scenario.ref("child1")
        assert len({first, second, third}) == 3


async def test_c14_a_supervisor_that_has_ended_answers_nothing(scenario: Scenario) -> None:
    spec = scenario.child("child1")
    with anyio.fail_after(10):
        branch = await scenario.tree(supervisor("sup", [spec]))
        await scenario.top.stop_child("sup")
        for call in (branch.stop_child, branch.restart_child):
            with pytest.raises(SupervisorStopped):
                await call("child1")
        with pytest.raises(SupervisorStopped):
            await branch.start_child(spec)
        with pytest.raises(SupervisorStopped):
            branch.count()


async def test_c14_a_child_that_waits_for_its_restart_is_neither_running_nor_stopped(
    scenario: Scenario,
) -> None:
    spec = scenario.child("child1", backoff=Backoff(first=60, cap=60))
    with anyio.fail_after(10):
        branch = await scenario.tree(supervisor("sup", [spec]))
        await scenario.crash("child1")
        await (await scenario.ref("child1")).tell(ReportingActor.crash)
        await scenario.until("restart_scheduled", child="child1", attempt=2)
        with pytest.raises(ChildRestarting):
            await branch.restart_child("child1")
        with pytest.raises(ChildRestarting):
            branch.delete_child("child1")
        with pytest.raises(AlreadyPresent):
            await branch.start_child(spec)
        await branch.stop_child("child1")
        branch.delete_child("child1")
        assert await scenario.gone("child1")


async def test_c15_dynamic_lifecycle(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(dynamic("dyn"))
        assert branch.count() == Count(0, 0, 0, 0)
        first = await branch.start_child(scenario.child("1"))
        second = await branch.start_child(scenario.child("2"))
        foreign = await scenario.spawn(Plain, name="foreign")
        assert branch.count() == Count(2, 2, 0, 2)
        with pytest.raises(AlreadyStarted):
            await branch.start_child(scenario.child("1"))

        await branch.stop_child("1")
        assert first is not None
        assert second is not None
        assert await first.wait() == Exit.SHUTDOWN
        with pytest.raises(NotFound):
            await branch.stop_child("1")
        with pytest.raises(NotFound):
            await branch.stop_child("foreign")
        assert await foreign.ask(Plain.incarnation) == 1
        with pytest.raises(NotSupported):
            await branch.restart_child("2")
        with pytest.raises(NotSupported):
            branch.delete_child("2")
        assert await second.ask(ReportingActor.incarnation) == 1
        assert branch.count() == Count(1, 1, 0, 1)


async def test_c15_a_dynamic_supervisor_holds_supervisors_too(scenario: Scenario) -> None:
    with anyio.fail_after(10):
        branch = await scenario.tree(dynamic("dyn"))
        await branch.start_child(supervisor("inner", [scenario.child("a")]))
        assert branch.count() == Count(1, 1, 1, 0)
        inner = scenario.system.supervisor("dyn/inner")
        assert [info.name for info in await inner.children()] == ["a"]
        await branch.stop_child("inner")
        assert await scenario.gone("a")
        assert branch.children() == []


async def test_c33_counts_at_size(system: System) -> None:
    specs = [_plain(number) for number in range(1000)]
    with anyio.fail_after(20):
        await system.start(dynamic("crowd"))
        branch = system.supervisor("crowd")
        refs = [await branch.start_child(spec) for spec in specs]
        assert await branch.count() == Count(1000, 1000, 0, 1000)
        for ref in refs:
            assert ref is not None
            ref.kill()
        for ref in refs:
            assert ref is not None
            assert await ref.wait() == Exit.KILLED
        assert await branch.count() == Count(0, 0, 0, 0)
        assert await branch.children() == []
        await system.supervisor("").stop_child("crowd")
        await system.supervisor("").delete_child("crowd")


def _plain(number: int) -> Any:
    return actors.child(Plain, name=f"plain {number}", restart=Restart.TEMPORARY)


async def test_c08_what_is_no_child_is_refused(scenario: Scenario) -> None:
    nonsense: Any = "child"
    with anyio.fail_after(10):
        branch = await scenario.tree(supervisor("sup", []))
        with pytest.raises(InvalidSpec, match="got 'child'"):
            await branch.start_child(nonsense)
        with pytest.raises(InvalidSpec, match="there is no supervisor 'sup/other'"):
            scenario.system.supervisor("sup/other")
