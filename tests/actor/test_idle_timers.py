"""`timers.idle`: an actor is told once when no message has come for so many seconds, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from actors import Actor, OnError, Ref, Restart, concurrent, local
from actors.errors import ActorCrashed, NotAMessage
from actors.testing import Probe, running_system
from tests.actor.virtual_time import VIRTUAL_LOOPS, virtual_loop


@pytest.fixture(params=VIRTUAL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_loop(request.param)


class Sleepy(Actor, on_error={ValueError: OnError.RESUME}):
    """Puts down when it fell asleep, counted from its own start."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.began = anyio.current_time()
        self.ended: list[Any] = []

    async def on_start(self) -> None:
        self.context.timers.idle(10, Sleepy.asleep, "ten")

    async def asleep(self, label: str, busy: float = 0) -> None:
        self.probe.put((round(anyio.current_time() - self.began, 6), label))
        if busy:
            await anyio.sleep(busy)

    async def work(self, seconds: float = 0) -> None:
        await anyio.sleep(seconds)

    @concurrent
    async def beside(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def numbers(self) -> AsyncIterator[int]:
        for number in range(1000):
            yield number

    async def tick(self) -> None: ...

    async def fail(self) -> None:
        raise ValueError

    async def crash(self) -> None:
        raise RuntimeError("boom")

    async def idle(self, seconds: float, label: str, key: str | None = None) -> Any:
        return self.context.timers.idle(seconds, Sleepy.asleep, label, key=key)

    async def cancel(self, key: Any) -> bool:
        return self.context.timers.cancel(key)

    async def every(self, seconds: float) -> None:
        self.context.timers.every(seconds, Sleepy.tick)

    async def watch(self, ref: Ref[Any]) -> None:
        self.context.watch(ref)

    async def from_a_task(self, seconds: float) -> None:
        async def later() -> None:
            await anyio.sleep(seconds)
            self.context.timers.idle(3, Sleepy.asleep, "task")

        self.context.tasks.start_soon(later)


async def _told(probe: Probe) -> list[Any]:
    """Return what was told in the next 1000 seconds."""
    await anyio.sleep(1000)
    return probe.heard


async def _sleepy(system: Any, probe: Probe, **options: Any) -> Ref[Sleepy]:
    ref: Ref[Sleepy] = await system.spawn(Sleepy, local(probe), **options)
    return ref


async def test_an_actor_is_told_once_when_no_message_came() -> None:
    async with running_system() as system:
        probe = Probe()
        await _sleepy(system, probe)
        assert await _told(probe) == [(10, "ten")]


async def test_a_message_sets_the_timer_again_and_its_work_does_not_count() -> None:
    async with running_system() as system:
        probe = Probe()
        ref = await _sleepy(system, probe)
        await anyio.sleep(9)
        await ref.tell(Sleepy.work)  # at 9
        await anyio.sleep(9.5)
        await ref.tell(Sleepy.work, 20)  # from 18.5 to 38.5
        await anyio.sleep(40)  # until 58.5
        await ref.tell(Sleepy.work)
        assert await _told(probe) == [(48.5, "ten"), (68.5, "ten")]


async def test_several_timers_have_seconds_of_their_own() -> None:
    async with running_system() as system:
        probe = Probe()
        ref = await _sleepy(system, probe)
        for seconds, label in ((5, "five"), (20, "twenty"), (5, "five too")):
            await ref.ask(Sleepy.idle, seconds, label)
        told = await _told(probe)
        assert sorted(told) == [(5, "five"), (5, "five too"), (10, "ten"), (20, "twenty")]


async def test_a_timer_is_cancelled_and_replaced_by_its_key() -> None:
    async with running_system() as system:
        probe = Probe()
        ref = await _sleepy(system, probe)
        key = await ref.ask(Sleepy.idle, 3, "cancelled")
        await ref.ask(Sleepy.idle, 4, "replaced", "mine")
        await ref.ask(Sleepy.idle, 5, "mine", "mine")
        assert await ref.ask(Sleepy.cancel, key)
        assert not await ref.ask(Sleepy.cancel, key)
        assert await _told(probe) == [(5, "mine"), (10, "ten")]


async def test_its_own_ticks_and_notices_do_not_keep_an_actor_awake() -> None:
    async with running_system() as system:
        probe, other = Probe(), Probe()
        ref = await _sleepy(system, probe)
        watched = await _sleepy(system, other)
        await ref.ask(Sleepy.every, 3)
        await ref.ask(Sleepy.watch, watched)
        await anyio.sleep(5)
        await watched.stop()
        assert await _told(probe) == [(10, "ten")]


async def test_an_actor_is_not_idle_while_a_concurrent_handler_runs() -> None:
    async with running_system() as system:
        probe = Probe()
        ref = await _sleepy(system, probe)
        await ref.tell(Sleepy.beside, 25)
        await ref.tell(Sleepy.beside, 33)
        assert await _told(probe) == [(43, "ten")]


async def test_an_actor_is_not_idle_while_a_stream_is_open() -> None:
    async with running_system() as system:
        probe = Probe()
        ref = await _sleepy(system, probe)
        async with ref.stream(Sleepy.numbers) as items:
            assert await anext(items) == 0
            await anyio.sleep(50)
        assert await _told(probe) == [(60, "ten")]


async def test_a_message_that_fails_is_a_message() -> None:
    async with running_system() as system:
        probe = Probe()
        ref = await _sleepy(system, probe)
        await anyio.sleep(8)
        await ref.tell(Sleepy.fail)
        assert await _told(probe) == [(18, "ten")]


async def test_what_was_told_and_takes_its_time_is_not_told_again() -> None:
    async with running_system() as system:
        probe = Probe()
        ref = await _sleepy(system, probe)
        await ref.ask(Sleepy.cancel, "asleep #1")
        await ref.ask(Sleepy.idle, 5, "long")
        await ref.tell(Sleepy.asleep, "said", 30)
        assert await _told(probe) == [(0, "said"), (35, "long")]


async def test_a_timer_that_is_set_while_the_actor_waits_counts_from_then() -> None:
    async with running_system() as system:
        probe = Probe()
        ref = await _sleepy(system, probe)
        await ref.tell(Sleepy.from_a_task, 100)
        assert await _told(probe) == [(10, "ten"), (103, "task")]


async def test_the_timers_end_with_the_incarnation() -> None:
    async with running_system() as system:
        probe = Probe()
        ref = await _sleepy(system, probe, restart=Restart.PERMANENT)
        await ref.tell(Sleepy.idle, 5, "of the first run")
        await anyio.sleep(4)
        with pytest.raises((RuntimeError, ActorCrashed)):
            await ref.ask(Sleepy.crash)
        await ref.tell(Sleepy.crash)
        assert await _told(probe) == [(10, "ten")]  # of the second run


@pytest.mark.parametrize("seconds", [0, -1, "5", True])
async def test_what_is_no_number_of_seconds_is_refused(seconds: Any) -> None:
    async with running_system() as system:
        ref = await _sleepy(system, Probe())
        with pytest.raises(ValueError, match=r"idle\(seconds\) must be more than 0, got"):
            await ref.ask(Sleepy.idle, seconds, "never")


class Wrong(Actor):
    async def start(self) -> None:
        self.context.timers.idle(1, Sleepy.asleep, "of another class")


async def test_a_method_of_another_class_is_refused() -> None:
    async with running_system() as system:
        ref = await system.spawn(Wrong)
        with pytest.raises(NotAMessage, match="is not a method of Wrong"):
            await ref.ask(Wrong.start)
