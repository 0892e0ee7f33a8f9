"""Who sends again and again to an actor that it cannot reach keeps its own node from nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import anyio
import pytest
from anyio.lowlevel import checkpoint

from actors import (
    Actor,
    ActorCrashed,
    ActorStopped,
    Backoff,
    NodeDown,
    Ref,
    System,
    Topology,
    nodes,
)
from actors.testing import running_system

PATIENCE = 20


class Asked(Actor):
    async def pid(self) -> int:
        return os.getpid()

    async def end(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def numbers(self) -> AsyncIterator[int]:
        yield 1


class Stubborn(Actor):
    async def ask_on(self, asked: Ref[Asked], before: int = 0) -> int:
        """Ask until another process than *before* answers, without a pause between two tries."""
        while True:
            try:
                pid = await asked.ask(Asked.pid)
            except NodeDown:
                continue
            if pid != before:
                return pid

    async def ask_on_within(self, asked: Ref[Asked], seconds: float) -> int:
        """Ask for some time; return how often."""
        tries = 0
        with anyio.move_on_after(seconds):
            while True:
                tries += 1
                try:
                    await asked.ask(Asked.pid)
                except NodeDown:
                    continue
        return tries


async def start(system: System) -> tuple[Ref[Stubborn], Ref[Asked], int]:
    """Return who asks on one node, who is asked on another one, and the process of that."""
    stubborn = await system.spawn(Stubborn, on="here")
    asked = await system.spawn(Asked, on="there")
    return stubborn, asked, await stubborn.ask(Stubborn.ask_on, asked)


async def test_it_hears_that_the_other_node_is_back() -> None:
    topology = Topology(nodes=[nodes("here"), nodes("there")], patience=0)
    with anyio.fail_after(PATIENCE):
        async with running_system(topology) as system:
            stubborn, asked, before = await start(system)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stubborn.ask, Stubborn.ask_on, asked, before)
                await asked.tell(Asked.end)


async def test_its_timeouts_come() -> None:
    slow = nodes("there", backoff=Backoff(first=60.0, cap=60.0))
    topology = Topology(nodes=[nodes("here"), slow], patience=0)
    with anyio.fail_after(PATIENCE):
        async with running_system(topology) as system:
            stubborn, asked, _ = await start(system)
            for _ in range(2):  # the first restart comes at once
                await asked.wait_ready()
                await asked.tell(Asked.end)
            assert await stubborn.ask(Stubborn.ask_on_within, asked, 0.5) > 1


async def open_stream(asked: Ref[Asked]) -> None:
    async with asked.stream(Asked.numbers) as items:
        async for _ in items:
            pass


Send = Callable[[Ref[Asked]], Awaitable[object]]
SENDS: dict[str, Send] = {
    "ask": lambda asked: asked.ask(Asked.pid),
    "ask within": lambda asked: asked.within(9).ask(Asked.pid),
    "tell": lambda asked: asked.tell(Asked.end),
    "tell within": lambda asked: asked.within(9).tell(Asked.end),
    "stream": open_stream,
    "wait": lambda asked: asked.wait_ready(),
}


async def each_try_lets_others_run(send: Send, asked: Ref[Asked]) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        await checkpoint()
        before = turns
        for _ in range(20):
            with pytest.raises((ActorStopped, NodeDown)):
                await send(asked)
        assert turns - before >= 19  # on trio, the others run before or after it in each turn
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("send", ["ask", "ask within", "wait"])
async def test_each_try_of_any_task_with_an_actor_that_has_ended_lets_others_run(send: str) -> None:
    with anyio.fail_after(PATIENCE):
        async with running_system() as system:
            asked = await system.spawn(Asked)
            await asked.stop()
            await each_try_lets_others_run(SENDS[send], asked)


@pytest.mark.parametrize("send", [name for name in SENDS if name != "wait"])
async def test_each_try_of_any_task_with_a_node_that_is_down_lets_others_run(send: str) -> None:
    slow = nodes("there", backoff=Backoff(first=60.0, cap=60.0))
    with anyio.fail_after(PATIENCE):
        async with running_system(Topology(nodes=[slow], patience=0)) as system:
            asked = await system.spawn(Asked, on="there")
            for _ in range(2):  # the first restart comes at once
                await asked.wait_ready()
                with suppress(ActorCrashed, NodeDown):
                    await asked.ask(Asked.end)
            await each_try_lets_others_run(SENDS[send], asked)
