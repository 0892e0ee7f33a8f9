"""The watch of a loop sleeps while no code of an actor can run, and is awake as soon as some does."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from types import FrameType
from typing import Any

import anyio
import pytest

from actors import Actor, Ref, System, concurrent
from actors._actor.activity import Activity
from actors._base.events import EventStream
from actors._system.system import coordinator_of
from actors.nodes.health import block_watch
from actors.supervisors import Exit
from actors.testing import eventually, running_system


class Sleep:
    """Whether the watch sleeps, and how often it has begun to."""

    def __init__(self) -> None:
        self.now = False
        self.times = 0


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch) -> Sleep:
    """Tell when the watch sleeps, which it does after two looks."""
    sleep, wait = Sleep(), Activity.wait

    def recorded(activity: Activity) -> None:
        sleep.now = True
        sleep.times += 1
        wait(activity)
        sleep.now = False

    monkeypatch.setattr(Activity, "wait", recorded)
    monkeypatch.setattr(block_watch, "_QUIET", 1)
    return sleep


class Worker(Actor):
    """Runs code in all the ways in which an actor's code runs."""

    def __init__(self) -> None:
        self.woken = anyio.Event()

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002 - the name of the hook
        """Be code that runs at the end."""

    async def nothing(self) -> None:
        """Do nothing."""

    async def wait(self) -> None:
        await self.woken.wait()

    @concurrent
    async def wait_beside(self) -> None:
        await self.woken.wait()

    @concurrent
    async def wake(self) -> None:
        self.woken.set()

    async def work_in_a_task(self) -> None:
        self.context.tasks.start_soon(self.woken.wait)

    async def block(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - that is the test


async def ask(_system: System, ref: Ref[Worker]) -> None:
    await ref.ask(Worker.nothing)


async def spawn(system: System, _ref: Ref[Worker]) -> None:
    await system.spawn(Worker)


async def stop(_system: System, ref: Ref[Worker]) -> None:
    await ref.stop()


async def kill(_system: System, ref: Ref[Worker]) -> None:
    ref.kill()


@asynccontextmanager
async def idle(sleep: Sleep) -> AsyncIterator[tuple[System, Ref[Worker]]]:
    """A system with an idle actor, whose watch sleeps."""
    async with running_system() as system:
        ref = await system.spawn(Worker)
        await ref.ask(Worker.nothing)
        await eventually(lambda: sleep.now)
        yield system, ref


async def blocked(events: EventStream) -> tuple[str, str]:
    """The actor and the message of which the next event says that they have blocked a loop."""
    with anyio.fail_after(20), closing(events):
        async for event in events:
            if event.kind == "loop_blocked":
                break
    return event.facts["actor"], event.facts["message"]


@pytest.mark.parametrize("begin", [ask, spawn, stop, kill])
async def test_the_watch_sleeps_while_actors_are_idle_and_wakes_when_code_of_one_begins(
    begin: Callable[[System, Ref[Worker]], Awaitable[None]], sleep: Sleep
) -> None:
    async with idle(sleep) as (system, ref):
        before = sleep.times
        await begin(system, ref)
        await eventually(lambda: sleep.times > before)


WAYS = {"a handler": "wait", "a concurrent handler": "wait_beside", "a task": "work_in_a_task"}


@pytest.mark.parametrize("method", WAYS.values(), ids=WAYS)
async def test_the_watch_does_not_sleep_while_code_of_an_actor_waits(
    method: str, sleep: Sleep
) -> None:
    async with idle(sleep) as (system, ref):
        host: Any = coordinator_of(system).host
        assert host.at_rest()
        message = getattr(Worker, method)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ref.ask, message)
            await eventually(lambda: not host.at_rest())
            if method == "wait":
                host.cells[ref.uid].incarnation.message_loop.actor.woken.set()
            else:
                await ref.ask(Worker.nothing)
                assert not host.at_rest()
                await ref.ask(Worker.wake)
        await eventually(host.at_rest)
        await eventually(lambda: sleep.now)


async def test_what_blocks_a_loop_after_a_long_rest_is_told(sleep: Sleep) -> None:
    async with idle(sleep) as (system, ref):
        events = system.events()
        await ref.ask(Worker.block, 0.6)
        assert await blocked(events) == (ref.name, "block")


async def test_the_watch_goes_on_when_code_ends_while_it_looks(
    sleep: Sleep, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[block_watch.Work | None] = [None]
    work_of = block_watch.work_of

    def ended_at_first(frame: FrameType | None) -> block_watch.Work | None:
        return looks.pop() if looks else work_of(frame)

    monkeypatch.setattr(block_watch, "work_of", ended_at_first)
    async with idle(sleep) as (system, ref):
        events = system.events()
        await ref.ask(Worker.block, 1.2)
        assert await blocked(events) == (ref.name, "block")
        assert not looks


async def test_a_watch_that_sleeps_ends_with_its_system(sleep: Sleep) -> None:
    async with idle(sleep):
        watching = [each.name for each in threading.enumerate()]
        assert watching.count("actors block watch") == 1
    assert "actors block watch" not in [each.name for each in threading.enumerate()]
