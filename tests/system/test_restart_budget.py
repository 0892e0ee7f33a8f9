"""Crashes against a budget, in virtual time: what is told, what ends, and what is forgiven."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
import trio.testing

from actors import Actor, Backoff, Budget, ExitKind, Restart, System, Topology, child, supervisor
from actors._base.events import Event
from actors.errors import ActorStopped, SystemStopped
from actors.testing import VirtualTimeLoop, running_system


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": VirtualTimeLoop}
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Fragile(Actor):
    async def crash(self, text: str) -> None:
        raise RuntimeError(text)

    async def incarnation(self) -> int:
        return self.context.incarnation


def under(budget: Budget, top: Budget) -> Topology:
    tree = supervisor("family", [child(Fragile), child(Fragile, name="twin")], budget=budget)
    return Topology(children=[tree], budget=top)


async def crash(system: System, times: int) -> None:
    """Crash the fragile child, each time as soon as it runs again."""
    for n in range(1, times + 1):
        fragile = await system.lookup("fragile")
        assert fragile is not None
        await fragile.tell(Fragile.crash, f"crash {n}")
        if n < times:
            await fragile.wait_ready()


async def test_four_crashes_in_a_second_take_the_supervisor_down(
    capfd: pytest.CaptureFixture[str],
) -> None:
    events: list[Event] = []

    async def run() -> None:
        async with running_system(under(Budget(3, 5.0), Budget(0, 5.0))) as system:
            stream = system.events()
            try:
                await crash(system, 4)
                await anyio.sleep_forever()
            finally:
                stream.close()
                events.extend(stream._records)

    with anyio.fail_after(60), pytest.raises(SystemStopped, match="the system ended by itself"):
        await run()
    exceeded = [event for event in events if event.kind == "budget_exceeded"]
    assert exceeded[0].facts["supervisor"] == "family"
    assert "crash 1" in exceeded[0].facts["traceback"]
    assert "in crash" in exceeded[0].facts["traceback"]
    ended = [event.facts for event in events if event.kind == "child_ended"]
    assert [facts["exit"] for facts in ended if facts["child"] == "fragile"] == [
        f"CRASHED(RuntimeError: crash {n})" for n in range(1, 5)
    ]
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    said = [line for line in lines if line["event"] == "budget exceeded"]
    assert said[0]["level"] == "error"
    assert "RuntimeError: crash 1" in said[0]["traceback"]


async def test_the_supervisor_above_brings_the_whole_family_back() -> None:
    with anyio.fail_after(60):
        async with running_system(under(Budget(3, 5.0), Budget(1, 5.0))) as system:
            fragile, twin = await system.lookup("fragile"), await system.lookup("twin")
            assert fragile is not None
            assert twin is not None
            await crash(system, 4)
            # Everybody who has an address of the family reaches the new one.
            assert await fragile.ask(Fragile.incarnation) == 5
            assert await twin.ask(Fragile.incarnation) == 2
            assert await system.lookup("fragile") == fragile


async def test_c16_crashes_that_are_far_apart_are_forgiven() -> None:
    with anyio.fail_after(600):
        async with running_system(under(Budget(3, 5.0), Budget(0, 5.0))) as system:
            fragile = await system.lookup("fragile")
            assert fragile is not None
            for _ in range(4):
                await crash(system, 3)
                await anyio.sleep(5.1)
            assert await fragile.ask(Fragile.incarnation) == 13


async def test_c49_a_backoff_waits_longer_each_time_and_shows_it() -> None:
    backoff = Backoff(first=1, factor=2, cap=60, jitter=0)
    with anyio.fail_after(600):
        async with running_system() as system:
            fragile = await system.spawn(Fragile, backoff=backoff)
            waits = []
            for _ in range(5):
                before = anyio.current_time()
                await fragile.tell(Fragile.crash, "again")
                await fragile.wait_ready()
                waits.append(round(anyio.current_time() - before, 3))
            assert waits == [0, 1, 2, 4, 8]
            await fragile.tell(Fragile.crash, "and again")
            await anyio.sleep(1)
            spawned = next(c for c in (await system.tree())["children"] if c["name"] == "spawned")
            assert spawned["children"][0]["state"] == "BACKING_OFF"
            # A stop during a backoff works at once.
            before = anyio.current_time()
        assert anyio.current_time() == before


async def test_c50_a_backoff_that_gives_up_ends_the_actor_with_its_error() -> None:
    backoff = Backoff(first=1, factor=1, jitter=0, give_up_after=2)
    with anyio.fail_after(600):
        async with running_system() as system:
            fragile = await system.spawn(Fragile, backoff=backoff, restart=Restart.PERMANENT)
            for n in range(3):
                await fragile.tell(Fragile.crash, f"crash {n}")
            end = await fragile.wait()
            assert end.kind is ExitKind.CRASHED
            assert "is given up after 2 restarts in a row" in str(end)
            assert end.error is not None
            assert str(end.error.__cause__) == "crash 2"
            with pytest.raises(ActorStopped, match="it has ended: CRASHED"):
                await fragile.ask(Fragile.incarnation)
