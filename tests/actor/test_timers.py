"""Timers to the second, in virtual time: when they go off, what a slow actor misses, what ends them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Actor, Exit, Restart, local
from actors.testing import Probe, running_system
from tests.actor.virtual_time import VIRTUAL_LOOPS, virtual_loop


@pytest.fixture(params=VIRTUAL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_loop(request.param)


class Clock(Actor):
    """Puts down when each tick comes, counted from its own start."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.began = anyio.current_time()

    def put(self, value: Any) -> None:
        self.probe.put((round(anyio.current_time() - self.began, 6), value))

    async def tick(self, label: str, busy: float = 0) -> None:
        self.put(label)
        if busy:
            await anyio.sleep(busy)

    async def tell_probe(self, probe: Probe) -> None:
        probe.put(probe is self.probe)

    async def once(self, seconds: float, label: str, key: Any = None) -> None:
        self.context.timers.once(seconds, Clock.tick, label, key=key)

    async def every(self, seconds: float, label: str, busy: float = 0, key: Any = None) -> None:
        self.context.timers.every(seconds, Clock.tick, label, busy, key=key)

    async def every_local(self) -> None:
        self.context.timers.every(1, Clock.tell_probe, local(self.probe), key="local")

    async def cancel(self, key: Any) -> None:
        assert self.context.timers.cancel(key)

    async def loud(self) -> None:
        self.context.timers.every(1, Clock.tick, "every")
        self.context.timers.once(2.5, Clock.crash)

    async def crash(self) -> None:
        raise RuntimeError("boom")


async def _heard(probe: Probe, times: int) -> list[Any]:
    with anyio.fail_after(1000):
        return [await probe.next(1000) for _ in range(times)]


async def test_once_is_once_and_on_time() -> None:
    async with running_system() as system:
        probe = Probe()
        clock = await system.spawn(Clock, local(probe))
        await clock.ask(Clock.once, 30, "late")
        await clock.ask(Clock.once, 1.5, "early")
        await clock.ask(Clock.once, 0, "now")
        assert await _heard(probe, 3) == [(0, "now"), (1.5, "early"), (30, "late")]
        await anyio.sleep(1000)
    assert len(probe.heard) == 3


async def test_every_does_not_drift() -> None:
    async with running_system() as system:
        probe = Probe()
        clock = await system.spawn(Clock, local(probe))
        await clock.ask(Clock.every, 0.1, "tick", 0.03)
        heard = await _heard(probe, 1000)
    assert heard == [(round(n * 0.1, 6), "tick") for n in range(1, 1001)]


async def test_a_slow_actor_misses_ticks_and_keeps_to_the_row() -> None:
    async with running_system() as system:
        probe = Probe()
        clock = await system.spawn(Clock, local(probe))
        await clock.ask(Clock.every, 1, "tick", 2.5, "row")
        # While it is busy one tick is queued, which is handled as soon as it is free.
        assert [at for at, _ in await _heard(probe, 4)] == [1, 3.5, 6, 8.5]
        # Asked while it handles the fourth: the tick that follows stands behind this.
        await clock.ask(Clock.cancel, "row")
        await anyio.sleep(1000)
    assert len(probe.heard) == 4


async def test_a_timer_is_cancelled_in_time_and_replaced_by_its_key() -> None:
    async with running_system() as system:
        probe = Probe()
        clock = await system.spawn(Clock, local(probe))
        await clock.ask(Clock.once, 5, "cancelled", "a")
        await clock.ask(Clock.every, 2, "replaced", 0, "b")
        await anyio.sleep(3)
        await clock.ask(Clock.cancel, "a")
        await clock.ask(Clock.once, 4, "instead", "b")
        await anyio.sleep(1000)
    assert probe.heard == [(2, "replaced"), (7, "instead")]


async def test_a_timer_set_again_and_again_goes_off_after_the_last_time() -> None:
    async with running_system() as system:
        probe = Probe()
        clock = await system.spawn(Clock, local(probe))
        for _ in range(10):
            await clock.ask(Clock.once, 1, "quiet", "idle")
            await anyio.sleep(0.75)
        await anyio.sleep(1000)
    assert probe.heard == [(7.75, "quiet")]


async def test_a_crash_ends_every_timer() -> None:
    async with running_system() as system:
        probe = Probe()
        clock = await system.spawn(Clock, local(probe), restart=Restart.TEMPORARY)
        await clock.ask(Clock.loud)
        assert str(await clock.wait()) == "CRASHED(RuntimeError: boom)"
        await anyio.sleep(1000)
    assert probe.heard == [(1, "every"), (2, "every")]


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_an_end_ends_every_timer(how: str) -> None:
    async with running_system() as system:
        probe = Probe()
        clock = await system.spawn(Clock, local(probe), restart=Restart.TEMPORARY)
        await clock.ask(Clock.every, 1, "tick")
        await anyio.sleep(2.5)
        if how == "kill":
            clock.kill()
        else:
            await clock.stop()
        assert await clock.wait() == (Exit.KILLED if how == "kill" else Exit.SHUTDOWN)
        await anyio.sleep(1000)
    assert probe.heard == [(1, "tick"), (2, "tick")]


async def test_an_object_marked_local_is_the_same_at_each_tick() -> None:
    async with running_system() as system:
        probe = Probe()
        clock = await system.spawn(Clock, local(probe))
        await clock.ask(Clock.every_local)
        assert await _heard(probe, 3) == [True, True, True]
        await clock.ask(Clock.cancel, "local")
