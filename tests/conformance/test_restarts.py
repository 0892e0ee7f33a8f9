"""Restart types and strategies, with real actors: section C of the cases."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Budget, Exit, Ref, Restart, Strategy, dynamic, supervisor
from actors.supervisors import ChildState, Count
from tests.conformance.cast import Well
from tests.conformance.stage import Stage, incarnations

TWICE = Budget(restarts=2, within=3600)
TEMPORARY = Restart.TEMPORARY


async def _end(ref: Ref[Any], how: str) -> None:
    if how == "KILLED":
        ref.kill()
    elif how == "SHUTDOWN":
        await ref.stop()
    else:
        await ref.tell(Well.finish if how == "NORMAL" else Well.crash)


@pytest.mark.parametrize("how", ["NORMAL", "SHUTDOWN", "CRASHED", "KILLED"])
@pytest.mark.parametrize("restart", list(Restart), ids=lambda restart: restart.value)
async def test_c25_the_matrix_of_restart_types_and_ends(
    stage: Stage, restart: Restart, how: str
) -> None:
    spec = stage.child("only", restart=restart)
    voluntary = how in {"NORMAL", "SHUTDOWN"}
    with anyio.fail_after(10):
        branch = await stage.tree(supervisor("sup", [spec], budget=TWICE))
        ref = await stage.ref("only")
        await _end(ref, how)

        if not voluntary and restart is not TEMPORARY:
            await stage.restarted("only")
            assert await ref.ask(Well.incarnation) == 2
            assert branch.count() == Count(1, 1, 0, 1)
            return
        assert (await ref.wait()).kind.value == how
        assert await stage.gone("only")
        if restart is TEMPORARY:
            assert branch.count() == Count(0, 0, 0, 0)
            again = await branch.start_child(spec)
        else:
            assert branch.count() == Count(1, 0, 0, 1)
            again = await branch.restart_child("only")
        assert again == await stage.ref("only") != ref


async def test_c17_one_for_one(stage: Stage) -> None:
    with anyio.fail_after(10):
        branch = await stage.tree(
            supervisor("sup", [stage.child("1"), stage.child("2")], budget=TWICE, restart=TEMPORARY)
        )
        first, second = await stage.ref("1"), await stage.ref("2")
        await stage.crash("1")
        assert await incarnations(stage, "1", "2") == [2, 1]
        await stage.crash("2")
        assert await incarnations(stage, "1", "2") == [2, 2]
        assert branch.count().active == 2
        assert (await stage.ref("1"), await stage.ref("2")) == (first, second)
        await first.tell(Well.crash, "the last one")

        assert await stage.ended("sup") == (
            "CRASHED(RestartBudgetExceeded: supervisor 'sup' gave up: "
            "'1' needs more than 2 restarts within 3600 s)"
        )
        assert str(await first.wait()) == "CRASHED(RuntimeError: the last one)"
        assert await second.wait() == Exit.SHUTDOWN
        assert await stage.gone("1", "2")


async def test_c17_the_parent_of_a_supervisor_that_gave_up_starts_it_anew(stage: Stage) -> None:
    inner = supervisor("inner", [stage.child("a"), stage.child("b")], budget=Budget(0, 5))
    with anyio.fail_after(10):
        await stage.tree(supervisor("outer", [inner, stage.child("c")]))
        old = await stage.ref("a"), await stage.ref("b")
        await old[0].tell(Well.crash)
        await stage.restarted("inner")
        assert [str((await ref.wait()).kind.value) for ref in old] == ["CRASHED", "SHUTDOWN"]
        assert await incarnations(stage, "a", "b", "c") == [1, 1, 1]
        assert {await stage.ref("a"), await stage.ref("b")}.isdisjoint(old)


async def test_c19_one_for_all(stage: Stage) -> None:
    with anyio.fail_after(10):
        branch = await stage.tree(
            supervisor(
                "sup",
                [stage.child("1"), stage.child("2")],
                strategy=Strategy.ONE_FOR_ALL,
                budget=TWICE,
                restart=TEMPORARY,
            )
        )
        refs = [await stage.ref("1"), await stage.ref("2")]
        for number in (1, 2):
            stage.probe.heard.clear()
            await stage.crash("1", number)
            await stage.restarted("2", number)
            assert await incarnations(stage, "1", "2") == [number + 1] * 2
            assert stage.story() == [
                *[("stop", "1", "CRASHED"), ("stop", "2", "SHUTDOWN")],
                *[("start", "1"), ("start", "2")],
            ]
            assert branch.count().active == 2
        await refs[1].tell(Well.crash)
        assert (await stage.ended("sup")).startswith("CRASHED(RestartBudgetExceeded")
        assert [(await ref.wait()).kind.value for ref in refs] == ["SHUTDOWN", "CRASHED"]


async def test_c23_rest_for_one(stage: Stage) -> None:
    names = ["1", "2", "3"]
    with anyio.fail_after(10):
        branch = await stage.tree(
            supervisor(
                "sup",
                [stage.child(name) for name in names],
                strategy=Strategy.REST_FOR_ONE,
                budget=TWICE,
                restart=TEMPORARY,
            )
        )
        refs = [await stage.ref(name) for name in names]
        for number in (1, 2):
            await stage.crash("2", number)
            await stage.restarted("3", number)
            assert await incarnations(stage, *names) == [1, number + 1, number + 1]
        assert [info.name for info in branch.children()] == ["3", "2", "1"]
        await refs[1].tell(Well.crash)
        assert (await stage.ended("sup")).startswith("CRASHED(RestartBudgetExceeded")
        ends = [(await ref.wait()).kind.value for ref in refs]
        assert ends == ["SHUTDOWN", "CRASHED", "SHUTDOWN"]


async def test_c21_dynamic(stage: Stage) -> None:
    with anyio.fail_after(10):
        branch = await stage.tree(dynamic("dyn", budget=TWICE, restart=TEMPORARY))
        first = await branch.start_child(stage.child("1"))
        second = await branch.start_child(stage.child("2"))
        assert first is not None
        assert second is not None
        await stage.crash("1")
        assert await incarnations(stage, "1", "2") == [2, 1]
        await stage.crash("2")
        assert branch.count() == Count(2, 2, 0, 2)
        await first.tell(Well.crash)
        assert (await stage.ended("dyn")).startswith("CRASHED(RestartBudgetExceeded")
        assert (await first.wait()).kind.value == "CRASHED"
        assert await second.wait() == Exit.SHUTDOWN
        assert await stage.gone("1", "2")


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_c26_temporary_bystander(stage: Stage, strategy: Strategy) -> None:
    specs = [stage.child("1"), stage.child("2", restart=TEMPORARY)]
    with anyio.fail_after(10):
        branch = await stage.tree(supervisor("sup", specs, strategy=strategy, budget=TWICE))
        bystander = await stage.ref("2")
        await stage.crash("1")
        assert await bystander.wait() == Exit.SHUTDOWN
        assert await incarnations(stage, "1") == [2]
        assert [info.name for info in branch.children()] == ["1"]
        assert await stage.gone("2")


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
async def test_c73_added_children_take_part(stage: Stage, strategy: Strategy) -> None:
    with anyio.fail_after(10):
        branch = await stage.tree(supervisor("sup", [stage.child("a")], strategy=strategy))
        await branch.start_child(stage.child("b"))
        await stage.crash("a")
        await stage.restarted("b")
        assert await incarnations(stage, "a", "b") == [2, 2]
        await stage.crash("b", 2)
        expected = [3, 3] if strategy is Strategy.ONE_FOR_ALL else [2, 3]
        assert await incarnations(stage, "a", "b") == expected


async def test_a_child_stopped_on_purpose_stays_stopped_when_a_sibling_falls(stage: Stage) -> None:
    specs = [stage.child(name) for name in "abc"]
    with anyio.fail_after(10):
        branch = await stage.tree(supervisor("sup", specs, strategy=Strategy.ONE_FOR_ALL))
        await (await stage.ref("b")).stop()
        await stage.until("child_ended", child="b")
        await stage.crash("a")
        await stage.restarted("c")
        assert await incarnations(stage, "a", "c") == [2, 2]
        states = {info.name: info.state for info in branch.children()}
        assert states["b"] is ChildState.STOPPED
        assert await stage.gone("b")
