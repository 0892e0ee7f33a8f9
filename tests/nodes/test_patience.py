"""How long messages wait for a node that has died, as the system was told: `System(patience=)`."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from actors import Backoff, Node, Ref, System, Topology, nodes
from actors._system import direct_links
from actors._system.system import coordinator_of
from actors.errors import ActorStopped, InvalidSpec, NodeDown
from actors.testing import crash, eventually, running_system
from tests.conftest import LOOPS
from tests.nodes.node_actors import Talker, Victim


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: how long is waited is tested beside this, in virtual time on each."""
    return LOOPS["uvloop"]


def node_of(system: System, name: str) -> Node:
    return next(node for node in system.nodes if node.name == name)


@asynccontextmanager
async def starts_held_up(system: System, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """No process is started until the block ends."""
    launcher, go = coordinator_of(system).launcher, anyio.Event()
    start = launcher.start

    async def later(launch: Any) -> Any:
        await go.wait()
        return await start(launch)

    with monkeypatch.context() as patched:
        patched.setattr(launcher, "start", later)
        try:
            yield
        finally:
            go.set()


async def test_a_node_that_is_not_back_within_the_patience_refuses_until_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topology = Topology(nodes=[nodes("a"), nodes("b")], patience=0.2)
    refused: list[tuple[str, bool]] = []
    with anyio.fail_after(20):
        async with running_system(topology) as system:
            victim, talker = await system.spawn(Victim, on="a"), await system.spawn(Talker, on="b")
            before = await talker.ask(Talker.ask, victim)

            async def ask(by: Ref[Talker] | None) -> None:
                with pytest.raises(NodeDown, match=r"longer than System\(patience=\)") as caught:
                    await (victim.ask(Victim.pid) if by is None else by.ask(Talker.ask, victim))
                refused.append((caught.value.node, caught.value.restarting))

            async with starts_held_up(system, monkeypatch):
                await crash(node_of(system, "a/0"))
                async with anyio.create_task_group() as tasks:
                    for _ in range(3):
                        tasks.start_soon(ask, None)
                        tasks.start_soon(ask, talker)
                with pytest.raises(NodeDown), anyio.fail_after(1):
                    await victim.ask(Victim.pid)
                await ask(talker)
            assert refused == 7 * [("a/0", True)]
            await eventually(lambda: node_of(system, "a/0").ready, 10)
            assert await talker.ask(Talker.ask, victim) != before


async def test_a_node_that_cannot_be_back_within_the_patience_refuses_at_once() -> None:
    slowly, never = Backoff(first=600, cap=600), Backoff(give_up_after=0)
    groups = [nodes("slow", backoff=slowly), nodes("never", backoff=never)]
    with anyio.fail_after(20):
        async with running_system(Topology(nodes=groups, patience=500)) as system:
            victim = await system.spawn(Victim, on="slow")
            before = await victim.ask(Victim.pid)
            await crash(node_of(system, "slow/0"))
            assert await victim.ask(Victim.pid) != before
            await crash(node_of(system, "slow/0"))
            with pytest.raises(NodeDown, match="longer than System") as caught:
                await victim.ask(Victim.pid)
            assert caught.value.restarting
            victim = await system.spawn(Victim, on="never")
            await crash(node_of(system, "never/0"))
            with pytest.raises((NodeDown, ActorStopped), match=r"NODE_DOWN|it is not coming back"):
                await victim.ask(Victim.pid)


async def test_without_patience_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    topology = Topology(nodes=[nodes("a")], patience=60)
    with anyio.fail_after(20):
        async with System(topology, patience=0) as system:
            victim = await system.spawn(Victim, on="a")
            async with starts_held_up(system, monkeypatch):
                await crash(node_of(system, "a/0"))
                with pytest.raises(NodeDown, match="it is being restarted"), anyio.fail_after(1):
                    await victim.ask(Victim.pid)


async def test_what_waits_when_the_system_stops_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    topology = Topology(nodes=[nodes("a")], patience=math.inf)
    refused: list[ActorStopped] = []
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks, running_system(topology) as system:
            victim = await system.spawn(Victim, on="a")

            async def ask() -> None:
                with pytest.raises(ActorStopped) as caught:
                    await victim.ask(Victim.pid)
                refused.append(caught.value)

            async with starts_held_up(system, monkeypatch):
                await crash(node_of(system, "a/0"))
                tasks.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                await system.stop()
    assert [str(error.exit) for error in refused] == ["SHUTDOWN"]


@pytest.mark.parametrize("how", ["crash", "reload"])
async def test_what_had_no_socket_to_go_over_when_the_node_went_is_sent_to_its_next_run(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    topology = Topology(nodes=[nodes("a"), nodes("b")], patience=math.inf)
    refused, answers = 0, []

    def none_free() -> Any:
        nonlocal refused
        refused += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with anyio.fail_after(20):
        async with running_system(topology) as system:
            victim, talker = await system.spawn(Victim, on="a"), await system.spawn(Talker, on="b")
            before = await victim.ask(Victim.pid)

            async def ask() -> None:
                answers.append(await talker.ask(Talker.tell_many, victim, 3))

            async with anyio.create_task_group() as tasks:
                with monkeypatch.context() as patched:
                    patched.setattr(direct_links, "pair", none_free)
                    tasks.start_soon(ask)
                    await eventually(lambda: refused > 0, 10)
                    if how == "reload":
                        await system.reload("a")
                    else:
                        await crash(node_of(system, "a/0"))
                assert answers == []
            assert answers == [[0, 1, 2]]
            assert await victim.ask(Victim.pid) != before


async def test_a_large_message_waits_for_the_node_and_for_a_socket_to_go_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with anyio.fail_after(20):
        async with running_system(Topology(nodes=[nodes("a"), nodes("b")], patience=60)) as system:
            victim, talker = await system.spawn(Victim, on="a"), await system.spawn(Talker, on="b")
            sizes: list[int] = []

            async def tell() -> None:
                sizes.append(await talker.ask(Talker.tell_large, victim, 500_000))

            async with anyio.create_task_group() as tasks, starts_held_up(system, monkeypatch):
                await crash(node_of(system, "a/0"))
                tasks.start_soon(tell)
                await anyio.wait_all_tasks_blocked()
            assert sizes == [500_000]


@pytest.mark.parametrize("value", [-1, -0.001, math.nan, "1", True, []])
def test_a_patience_that_is_no_number_of_seconds_is_refused(value: Any) -> None:
    text = f"patience must be 0 or more seconds, got {value!r}"
    with pytest.raises(InvalidSpec) as caught:
        System(patience=value)
    assert str(caught.value) == f"System: {text}"
    with pytest.raises(InvalidSpec) as caught:
        Topology(patience=value)
    assert str(caught.value) == f"Topology: {text}"
