"""The loop shim offers the same few verbs on asyncio, uvloop and trio."""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import ContextVar
from functools import partial

import anyio
import pytest

from actors._base.loop import Loop, Waiter
from actors._base.run_loop import open_loop
from actors.errors import ActorsError

COLOUR: ContextVar[str] = ContextVar("colour", default="none")


def fill(end: socket.socket) -> None:
    """Write until there is no room."""
    with suppress(BlockingIOError):
        while True:
            end.send(bytes(65536))


def empty(end: socket.socket) -> None:
    """Read until there is nothing."""
    with suppress(BlockingIOError):
        while end.recv(65536):
            pass


def settle(waiter: Waiter) -> None:
    if not waiter.done():
        waiter.set_result(None)


@pytest.fixture
async def loop() -> AsyncIterator[Loop]:
    async with open_loop() as loop:
        yield loop


async def test_a_waiter_gives_its_result_to_whoever_awaits_it(loop: Loop) -> None:
    early, late = loop.waiter(), loop.waiter()
    early.set_result(1)
    assert early.done()
    assert await early == 1
    loop.call_soon(late.set_result, 2)
    assert not late.done()
    with anyio.fail_after(5):
        assert await late == 2
    assert not late.cancelled()


async def test_a_waiter_raises_its_error(loop: Loop) -> None:
    early, late = loop.waiter(), loop.waiter()
    early.set_exception(LookupError("early"))
    with pytest.raises(LookupError, match="early"):
        await early
    loop.call_soon(late.set_exception, LookupError("late"))
    with anyio.fail_after(5), pytest.raises(LookupError, match="late"):
        await late


async def test_a_cancelled_wait_cancels_its_waiter(loop: Loop) -> None:
    waiter = loop.waiter()
    with anyio.move_on_after(0) as scope:
        await waiter
    assert scope.cancelled_caught
    assert waiter.done()
    assert waiter.cancelled()


async def test_calls_run_soon_in_order_and_not_at_once(loop: Loop) -> None:
    calls: list[int] = []
    over = loop.waiter()
    for n in range(5):
        loop.call_soon(calls.append, n)
    loop.call_soon(over.set_result, None)
    assert calls == []
    with anyio.fail_after(5):
        await over
    assert calls == list(range(5))


async def test_timers_fire_in_the_order_of_their_time_and_cancelled_ones_never(loop: Loop) -> None:
    calls: list[str] = []
    over = loop.waiter()
    began = loop.now()
    loop.call_later(0.02, calls.append, "second")
    loop.call_later(0.01, calls.append, "first")
    cancelled = loop.call_later(0.015, calls.append, "cancelled")
    loop.call_later(0.03, over.set_result, None)
    cancelled.cancel()
    with anyio.fail_after(5):
        await over
    assert calls == ["first", "second"]
    # uvloop's clock has whole milliseconds, and its timers round to them.
    assert loop.now() > began + 0.02
    cancelled.cancel()


async def test_a_cancelled_timer_does_not_keep_its_arguments_until_its_time(loop: Loop) -> None:
    argument = {1}
    gone = weakref.ref(argument)
    timer = loop.call_later(60, argument.add, argument)
    timer.cancel()
    del argument
    assert gone() is None


async def test_another_thread_can_call_in(loop: Loop) -> None:
    waiter = loop.waiter()
    here = threading.get_ident()

    def answer() -> None:
        loop.call_threadsafe(lambda: waiter.set_result(threading.get_ident()))

    thread = threading.Thread(target=answer)
    thread.start()
    with anyio.fail_after(5):
        assert await waiter == here
    thread.join()


async def test_a_readable_descriptor_is_told_until_it_is_unwatched(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        got: list[bytes] = []
        news = loop.waiter()

        def read() -> None:
            got.append(ours.recv(1))
            if len(got) == 2:
                loop.unwatch_readable(ours.fileno())
                news.set_result(None)

        loop.watch_readable(ours.fileno(), read)
        theirs.send(b"abc")
        with anyio.fail_after(5):
            await news
        await anyio.wait_all_tasks_blocked()
        assert got == [b"a", b"b"]
        loop.unwatch_readable(ours.fileno())


async def test_a_writable_descriptor_is_told_when_there_is_room(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        fill(ours)
        room = loop.waiter()

        def writable() -> None:
            loop.unwatch_writable(ours.fileno())
            room.set_result(None)

        loop.watch_writable(ours.fileno(), writable)
        await anyio.wait_all_tasks_blocked()
        assert not room.done()
        theirs.setblocking(False)
        empty(theirs)
        with anyio.fail_after(5):
            await room


async def test_one_descriptor_can_be_watched_both_ways(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        readable, writable = loop.waiter(), loop.waiter()

        def write() -> None:
            loop.unwatch_writable(ours.fileno())
            writable.set_result(None)

        def read() -> None:
            loop.unwatch_readable(ours.fileno())
            readable.set_result(None)

        loop.watch_readable(ours.fileno(), read)
        loop.watch_writable(ours.fileno(), write)
        with anyio.fail_after(5):
            await writable
            assert not readable.done()
            theirs.send(b"x")
            await readable


async def test_a_number_can_be_watched_again_after_its_descriptor_was_closed(loop: Loop) -> None:
    for _ in range(3):
        ours, theirs = socket.socketpair()
        number = ours.fileno()
        news = loop.waiter()
        loop.watch_readable(number, partial(settle, news))
        await anyio.wait_all_tasks_blocked()
        loop.unwatch_readable(number)
        ours.close()
        # The next socket has the same number, before the loop has had a turn.
        again, other = socket.socketpair()
        loop.watch_readable(again.fileno(), partial(settle, news))
        other.send(b"x")
        with anyio.fail_after(5):
            await news
        loop.unwatch_readable(again.fileno())
        for end in (theirs, again, other):
            end.close()


async def test_a_descriptor_that_a_callback_of_the_same_turn_has_unwatched_is_not_told(
    loop: Loop,
) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    ours = [pair[0].fileno() for pair in pairs]
    told: list[int] = []
    news = loop.waiter()

    def take(number: int) -> None:
        told.append(number)
        for other in ours:
            loop.unwatch_readable(other)
        settle(news)

    for number in ours:
        loop.watch_readable(number, partial(take, number))
    await anyio.wait_all_tasks_blocked()
    for _, far in pairs:
        far.send(b"x")
    with anyio.fail_after(5):
        await news
    await anyio.wait_all_tasks_blocked()
    assert len(told) == 1
    for pair in pairs:
        for end in pair:
            end.close()


async def test_a_task_can_be_given_a_fresh_context(loop: Loop) -> None:
    COLOUR.set("red")
    seen: list[str] = []
    over = [loop.waiter(), loop.waiter()]

    async def look(waiter: int) -> None:
        seen.append(COLOUR.get())
        over[waiter].set_result(None)

    loop.start(look, 0, name="inheriting")
    loop.start(look, 1, name="fresh", fresh=True)
    with anyio.fail_after(5):
        for waiter in over:
            await waiter
    assert sorted(seen) == ["none", "red"]


async def test_a_cancelled_task_ends(loop: Loop) -> None:
    over = loop.waiter()

    async def sleep() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            over.set_result(None)

    task = loop.start(sleep, name="sleeper")
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    with anyio.fail_after(5):
        await over


async def test_an_interrupt_breaks_off_one_step_and_not_its_task(loop: Loop) -> None:
    steps: list[str] = []
    over = loop.waiter()
    interrupt = loop.interrupt()

    async def step() -> None:
        steps.append("begins")
        await anyio.sleep_forever()

    async def quick() -> None:
        steps.append("quick")

    async def live() -> None:
        await interrupt.run(step)
        steps.append("broken off" if interrupt.requested else "ended")
        await interrupt.run(quick)
        steps.append("broken off" if interrupt.requested else "ended")
        await interrupt.run(step)
        over.set_result(None)

    loop.start(live, name="interrupted")
    with anyio.fail_after(5):
        for _ in range(2):
            await anyio.wait_all_tasks_blocked()
            interrupt.request()
            interrupt.request()
        await over
    assert steps == ["begins", "broken off", "quick", "ended", "begins"]


async def test_an_interrupted_step_cleans_up_and_its_own_errors_come_through(loop: Loop) -> None:
    interrupt = loop.interrupt()
    outcome = loop.waiter()

    async def step() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError("while cleaning up")

    async def live() -> None:
        try:
            await interrupt.run(step)
        except LookupError as error:
            outcome.set_result(str(error))

    loop.start(live, name="interrupted")
    await anyio.wait_all_tasks_blocked()
    interrupt.request()
    with anyio.fail_after(5):
        assert await outcome == "while cleaning up"


def test_there_is_no_loop_outside_of_async_code() -> None:
    manager = open_loop()
    with pytest.raises(ActorsError, match="no event loop runs here: call this from an async"):
        manager.__aenter__().send(None)
    assert os.getpid() > 0
