"""Failures beside the table: a first start, what is the node's, the deaf, the end of the system."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from actors import (
    AutoShutdown,
    Backoff,
    Exit,
    Ref,
    Restart,
    System,
    Topology,
    child,
    dynamic,
    nodes,
    supervisor,
)
from actors.errors import ActorsError, NodeDown, StartFailed
from actors.supervisors import ChildNotStarted
from actors.testing import Probe, eventually
from tests.conformance.case_actors import Plain
from tests.conformance.failing_actors import Bystander, Deaf, Failing
from tests.conformance.scenario import Scenario

TEMPORARY = Restart.TEMPORARY


async def _alone(ref: Ref[Bystander], name: str) -> None:
    """Wait until no task of the actor of that name is left on its node."""

    async def gone() -> bool:
        return await ref.ask(Bystander.tasks, name) == []

    await eventually(gone, 10)


# -- at the first start ------------------------------------------------------------------


@pytest.mark.parametrize("how", ["LookupError", "CancelledError", "Odd"])
@pytest.mark.parametrize("site", ["constructor", "on_start"])
async def test_a_first_start_that_fails_is_told_to_whoever_asked_for_it(
    scenario: Scenario, site: str, how: str
) -> None:
    word = {"LookupError": "raise", "CancelledError": "cancel", "Odd": "odd"}[how]
    with anyio.fail_after(20):
        branch = await scenario.tree(dynamic("sup", restart=TEMPORARY))
        bystander = await scenario.spawn(Bystander)
        with pytest.raises(StartFailed, match=f"failed to start: {how}: {site}"):
            await scenario.spawn(Failing, scenario.probe.ref, site, word, name="spawned")
        with pytest.raises(ChildNotStarted, match=f"failed to start: {how}: {site}"):
            await branch.start_child(scenario.child("child", Failing, site, word))
        assert await scenario.gone("spawned", "child")
        for name in ("spawned", "child"):
            await _alone(bystander, name)


async def test_a_first_start_that_hangs_ends_with_whoever_waits_for_it(scenario: Scenario) -> None:
    with anyio.fail_after(20):
        bystander = await scenario.spawn(Bystander)
        async with anyio.create_task_group() as tasks:

            async def start() -> None:
                await scenario.spawn(
                    Failing, scenario.probe.ref, "on_start", "hang", name="hanging"
                )

            tasks.start_soon(start)
            await scenario.heard(("hangs", "hanging"))
            assert await bystander.ask(Bystander.tasks, "hanging") != []
            tasks.cancel_scope.cancel()
        assert await scenario.gone("hanging")
        await _alone(bystander, "hanging")


# -- what is the node's ------------------------------------------------------------------


@pytest.mark.parametrize(
    "site, how",
    [("handler", "exit"), ("handler", "interrupt"), ("task", "exit"), ("on_stop", "exit")],
)
async def test_an_exit_is_the_nodes_and_its_actors_come_back(
    scenario: Scenario, site: str, how: str
) -> None:
    if scenario.local:
        return  # that would be the end of the test run itself
    with anyio.fail_after(40):
        branch = await scenario.tree(dynamic("sup", restart=TEMPORARY))
        gone = await scenario.spawn(Plain, on=scenario.system.node)
        other = await scenario.spawn(Plain, restart=Restart.PERMANENT)
        ref = await branch.start_child(scenario.child("failing", Failing, site, how))
        assert ref is not None
        if site == "on_stop":
            await ref.tell(Failing.crash)
        await _ask_until_it_is_gone(ref, gone)
        await scenario.until("node_ready", node=scenario.on)
        for actor, method in ((ref, Failing.incarnation), (other, Plain.incarnation)):
            assert await _once_up(actor, method) == 2


async def _ask_until_it_is_gone(ref: Ref[Any], gone: Ref[Any]) -> None:
    """Ask until an ask is lost with the node, or has waited for its next run."""
    with suppress(NodeDown):
        await ref.ask(Failing.provoke, gone)
        while await ref.ask(Failing.incarnation) == 1:
            pass


async def _once_up(ref: Ref[Any], method: Any) -> int:
    async def answer() -> int:
        try:
            number: int = await ref.ask(method)
        except NodeDown:
            return 0
        return number

    return await eventually(answer, 20)


# -- those that hear nothing -------------------------------------------------------------


@asynccontextmanager
async def _deaf(
    scenario: Scenario, restart: Restart
) -> AsyncIterator[tuple[Ref[Any], Ref[Bystander]]]:
    """An actor that ignores its kill, while its asker waits; it is let go at the end."""
    bystander = await scenario.spawn(Bystander)
    branch = await scenario.tree(dynamic("sup", restart=TEMPORARY))
    before = await bystander.ask(Bystander.patience, 0.05)
    await bystander.ask(Bystander.hold)
    ref = await branch.start_child(
        scenario.child("deaf", Deaf, restart=restart, backoff=Backoff(first=0))
    )
    assert ref is not None
    told: list[str] = []

    async def ask() -> None:
        try:
            told.append(await ref.ask(Deaf.hang))
        except ActorsError as error:
            told.append(type(error).__name__)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await scenario.heard(("hangs", "deaf"))
            ref.kill()
        assert told == ["ActorCrashed"]
        yield ref, bystander
    finally:
        await bystander.ask(Bystander.release)
        await bystander.ask(Bystander.patience, before)


async def test_who_ignores_a_kill_is_abandoned_and_its_name_is_free(scenario: Scenario) -> None:
    with anyio.fail_after(20):
        async with _deaf(scenario, TEMPORARY) as (ref, bystander):
            assert await ref.wait() == Exit.ABANDONED
            ended = await scenario.until("child_ended", child="deaf")
            assert ended.facts["exit"] == "ABANDONED"
            assert await scenario.gone("deaf")
            successor = await scenario.spawn(Bystander, name="deaf")
            assert await successor.ask(Bystander.ends, "") == []
            await bystander.ask(Bystander.watch, ref)


@pytest.mark.parametrize("restart", [TEMPORARY, Restart.PERMANENT], ids=lambda it: it.value)
async def test_an_abandoned_incarnation_reaches_nobody(
    scenario: Scenario, restart: Restart
) -> None:
    with anyio.fail_after(20):
        async with _deaf(scenario, restart) as (ref, bystander):
            await scenario.until("child_ended", child="deaf", exit="ABANDONED")
            if restart is Restart.PERMANENT:
                assert await ref.ask(Deaf.incarnation) == 2
            await bystander.ask(Bystander.release)

            async def tried() -> bool:
                return await bystander.ask(Bystander.tried)

            await eventually(tried, 10)
            attempts = dict(await bystander.ask(Bystander.attempts))
            assert attempts.pop("all") == "tried"
            assert len(attempts) == 9
            assert [verb for verb, came in attempts.items() if came == "done"] == []
            assert "from the dead" not in scenario.probe.heard
            assert await scenario.gone("child of the dead")
            if restart is Restart.PERMANENT:
                assert await ref.ask(Deaf.incarnation) == 2
                await scenario.system.supervisor("sup").stop_child("deaf")
            await _alone(bystander, "deaf")


async def test_a_start_that_hears_nothing_holds_no_name(scenario: Scenario) -> None:
    with anyio.fail_after(20):
        bystander = await scenario.spawn(Bystander)
        before = await bystander.ask(Bystander.patience, 0.05)
        await bystander.ask(Bystander.hold)

        async def start() -> None:
            await scenario.spawn(partial(Deaf, at_start=True), scenario.probe.ref, name="deaf")

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(start)
                await scenario.heard(("hangs", "deaf"))
                tasks.cancel_scope.cancel()
            assert await scenario.gone("deaf")
            successor = await scenario.spawn(Bystander, name="deaf")
            assert await successor.ask(Bystander.ends, "") == []
        finally:
            await bystander.ask(Bystander.release)
            await bystander.ask(Bystander.patience, before)
        await successor.stop()
        await successor.wait()
        await _alone(bystander, "deaf")


# -- ends that were wanted ---------------------------------------------------------------


@pytest.mark.parametrize("auto", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])
@pytest.mark.parametrize("how", ["LookupError", "CancelledError", "Odd"])
async def test_a_significant_actor_that_stops_itself_and_fails_at_it_still_counts(
    scenario: Scenario, how: str, auto: AutoShutdown, capfd: pytest.CaptureFixture[str]
) -> None:
    word = {"LookupError": "raise", "CancelledError": "cancel", "Odd": "odd"}[how]
    lines: list[str] = []

    def logged() -> bool:
        lines.append(capfd.readouterr().err)
        return f"{how}: on_stop" in "".join(lines)

    with anyio.fail_after(20):
        # Law 16 is above OTP's rule here: an end that was asked for is never followed by a restart.
        spec = scenario.child(
            "failing", Failing, "on_stop", word, restart=Restart.TRANSIENT, significant=True
        )
        other = scenario.child("other", Failing, "", "", restart=Restart.TRANSIENT)
        await scenario.tree(supervisor("sup", [spec, other], auto_shutdown=auto, restart=TEMPORARY))
        ref = await scenario.ref("failing")
        await ref.tell(Failing.finish)
        assert await scenario.ended("sup") == "SHUTDOWN"
        assert str(await ref.wait()) == f"CRASHED({how}: on_stop)"
        assert await scenario.gone("failing", "other")
        await eventually(logged, 10)


# -- the end of the system ---------------------------------------------------------------

SITES = [
    *[(site, "hang") for site in ("on_stop", "timer", "handler", "task", "concurrent")],
    *[(site, how) for site in ("on_stop", "task's end") for how in ("raise", "odd", "hang")],
    ("on_stop", "cancel"),
]


@pytest.mark.parametrize("kind", ["local", "process", "thread"])
async def test_a_system_ends_whatever_its_actors_do_at_their_ends(
    kind: str, no_leaks: None, anyio_backend: Any
) -> None:
    groups = {"process": [nodes("box")], "thread": [nodes("box", kind="thread")]}
    ends: list[str] = []

    async def end(ref: Ref[Any]) -> None:
        ends.append((await ref.wait()).kind.value)

    with anyio.fail_after(40):
        async with (
            anyio.create_task_group() as tasks,
            System(Topology(nodes=groups.get(kind, []))) as system,
        ):
            on = system.node.name if kind == "local" else "box/0"
            probe = await Probe.start(system)
            bystander = await system.spawn(Bystander, on=on)
            await system.start(dynamic("sup"))
            for number, (site, how) in enumerate(SITES):
                spec = child(Failing, probe.ref, site, how, name=f"{number}", on=on, shutdown=0.2)
                ref = await system.supervisor("sup").start_child(spec)
                assert ref is not None
                tasks.start_soon(end, ref)
                if site == "concurrent":
                    await ref.tell(Failing.beside)
                else:
                    await ref.tell(Failing.provoke, probe.ref)
                if how == "hang" and site not in {"on_stop", "task's end"}:
                    assert (await probe.next())[0] == "hangs"
            assert await bystander.ask(Bystander.ends, "") == []
    assert len(ends) == len(SITES)
    assert set(ends) <= {"SHUTDOWN", "CRASHED", "KILLED"}
