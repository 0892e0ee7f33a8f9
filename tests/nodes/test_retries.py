"""An actor that asks again and again whom it cannot reach keeps its own node from nothing."""

from __future__ import annotations

import os
import signal

import anyio

from actors import Actor, Backoff, NodeDown, Ref, System, Topology, nodes
from actors.testing import running_system

PATIENCE = 20


class Asked(Actor):
    async def pid(self) -> int:
        return os.getpid()

    async def end(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


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
