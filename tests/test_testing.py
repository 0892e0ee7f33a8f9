"""The public test kit."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import anyio
import pytest

from actors import Actor, local
from actors.errors import ActorsError
from actors.testing import Probe, Recorder, VirtualTimeLoop, eventually, running_system

pytestmark = pytest.mark.usefixtures("no_leaks")


class Reporter(Actor):
    def __init__(self, probe: Probe) -> None:
        self.probe = probe

    async def report(self, value: Any) -> None:
        self.probe.put(value)

    async def crash(self) -> None:
        raise RuntimeError("boom")


async def test_a_probe_hands_out_what_it_was_told_in_order() -> None:
    async with running_system() as system:
        probe = await Probe.start(system)
        for n in range(3):
            await probe.ref.tell(Recorder.record, n)
        assert [await probe.next() for _ in range(2)] == [0, 1]
        assert await probe.expect(2) == 2
        assert probe.heard == [0, 1, 2]


async def test_a_probe_waits_for_what_comes() -> None:
    probe = Probe()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(probe.expect, "late")
        await anyio.wait_all_tasks_blocked()
        probe.put("late")


async def test_a_probe_can_be_handed_to_an_actor_of_this_node() -> None:
    async with running_system() as system:
        probe = Probe()
        reporter = await system.spawn(Reporter, local(probe))
        await reporter.tell(Reporter.report, "hello")
        await reporter.tell(Reporter.crash)
        await reporter.tell(Reporter.report, "from the second incarnation")
        await probe.expect("hello")
        await probe.expect("from the second incarnation")


async def test_a_probe_says_what_it_missed() -> None:
    probe = Probe()
    probe.put(1)
    with pytest.raises(AssertionError, match=r"was told 1 instead of 2; all of it: \[1\]"):
        await probe.expect(2)
    with pytest.raises(AssertionError, match=r"told nothing in 0\.01 s; before that: \[1\]"):
        await probe.next(timeout=0.01)


def test_a_probe_without_an_actor_has_no_address() -> None:
    with pytest.raises(ActorsError, match="make it with `await Probe"):
        _ = Probe().ref


async def test_eventually_returns_the_first_true_value() -> None:
    values = iter([0, None, "there"])
    assert await eventually(lambda: next(values)) == "there"

    async def ask() -> int:
        await anyio.lowlevel.checkpoint()
        return 7

    assert await eventually(ask) == 7


async def test_eventually_says_what_never_came_true() -> None:
    def ready() -> list[int]:
        return []

    with pytest.raises(AssertionError, match=r"ready was not true within 0\.02 s: last \[\]"):
        await eventually(ready, within=0.02)


async def test_an_error_in_a_running_system_carries_the_last_events() -> None:
    async def fail() -> None:
        async with running_system() as system:
            await system.spawn(Reporter, local(Probe()), name="witness")
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as caught:
        await fail()
    (note,) = caught.value.__notes__
    assert note.startswith("last events of the system:")
    assert "child_started: {'supervisor': 'spawned', 'child': 'witness'" in note
    assert note.endswith("system_stopped: {}")


def test_virtual_time_jumps_and_is_exact() -> None:
    async def sleep() -> list[float]:
        times = []
        for seconds in (0.1, 3600, 1e-6):
            await asyncio.sleep(seconds)
            times.append(asyncio.get_running_loop().time())
        return times

    began = time.monotonic()
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(sleep()) == pytest.approx([0.1, 3600.1, 3600.100001], abs=1e-9)
    assert time.monotonic() - began < 5


def test_virtual_time_keeps_timers_in_order() -> None:
    async def race() -> list[str]:
        order: list[str] = []

        async def note(seconds: float, name: str) -> None:
            await asyncio.sleep(seconds)
            order.append(name)

        await asyncio.gather(note(20, "third"), note(10, "second"), note(5, "first"))
        return order

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(race()) == ["first", "second", "third"]
