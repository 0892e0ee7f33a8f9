"""What a node says of a moment: rates, lag, and its busiest actors; on every loop."""

from __future__ import annotations

import time
from itertools import count
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from actors import Actor, System, concurrent
from actors._system.system import coordinator_of
from actors.nodes import ORDERS
from actors.nodes.health.sampling import _lag, sample

PATIENCE = 20


class Teller(Actor):
    async def note(self) -> None:
        pass

    async def hold(self) -> None:
        await anyio.sleep_forever()

    @concurrent
    async def hold_beside(self) -> None:
        await anyio.sleep_forever()

    async def block(self) -> None:
        time.sleep(0.3)  # noqa: ASYNC251 - that is what is looked for

    async def fail(self) -> None:
        raise ValueError("once")


async def rows(system: System, by: str = "mailbox", seconds: float = 0.0) -> list[dict[str, Any]]:
    facts = await sample(coordinator_of(system).host, seconds, 10, by)
    busiest: list[dict[str, Any]] = facts["busiest"]
    return busiest


async def test_messages_that_were_handled_meanwhile_are_counted_and_no_others() -> None:
    with anyio.fail_after(PATIENCE):
        async with System() as system:
            busy, idle = await system.spawn(Teller, name="busy"), await system.spawn(Teller)
            for _ in range(300):
                await busy.ask(Teller.note)
                await idle.ask(Teller.note)
            facts: dict[str, Any] = {}

            async def look() -> None:
                facts.update(await sample(coordinator_of(system).host, 0.2, 1, "rate"))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(look)
                await anyio.lowlevel.checkpoint()
                for _ in range(100):
                    await busy.ask(Teller.note)
            (first,) = facts["busiest"]
            assert first["name"] == "busy"
            # A hundred in what was at least 0.2 seconds, and none of those before.
            assert 0 < first["rate"] <= 500
            assert facts["rate"] == pytest.approx(first["rate"], abs=0.2)
            assert facts["actors"] == 2
            assert (await rows(system))[0]["rate"] == 0.0


async def test_the_busiest_come_first_by_what_is_asked_for() -> None:
    with anyio.fail_after(PATIENCE):
        async with System() as system:
            holding, full, failed, beside = [
                await system.spawn(Teller, name=name)
                for name in ("holding", "full", "failed", "beside")
            ]
            await holding.tell(Teller.hold)
            await holding.tell(Teller.note)
            await failed.tell(Teller.fail)
            await failed.wait_ready()
            await beside.tell(Teller.hold_beside)
            await beside.ask(Teller.note)
            await anyio.wait_all_tasks_blocked()
            await full.tell(Teller.hold)
            for _ in range(3):
                await full.tell(Teller.note)
            await anyio.wait_all_tasks_blocked()

            first = {by: (await rows(system, by))[0] for by in ORDERS}
            shown = {row["name"]: row for row in await rows(system)}
            for ref in (holding, full, beside):
                ref.kill()
    assert first["mailbox"]["name"] == "full"
    assert first["handling"]["name"] == "holding"
    assert first["restarts"]["name"] == "failed"
    assert (shown["full"]["mailbox"], shown["full"]["handling"]) == (3, "hold")
    assert shown["failed"]["restarts"] == 1
    assert (shown["beside"]["concurrent"], shown["beside"]["handling"]) == (1, None)


async def test_a_loop_that_is_kept_is_late() -> None:
    with anyio.fail_after(PATIENCE):
        async with System() as system:
            teller = await system.spawn(Teller)
            facts: dict[str, Any] = {}

            async def look() -> None:
                facts.update(await sample(coordinator_of(system).host, 0.05, 0, "mailbox"))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(look)
                await anyio.lowlevel.checkpoint()
                await teller.ask(Teller.block)
    assert facts["lag"] > 0.2
    assert facts["busiest"] == []
    assert facts["cpu"] is not None


async def test_time_that_passes_between_two_reads_of_the_clock_fails_no_look() -> None:
    reads = count()
    host: Any = SimpleNamespace(loop=SimpleNamespace(now=lambda: 0.04 * next(reads)))
    assert await _lag(host, 0.1) >= 0
