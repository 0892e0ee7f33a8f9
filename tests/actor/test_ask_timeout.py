"""`ask_timeout`: the deadline of an ask whose caller set none, to the second, in virtual time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from actors import Actor, Ref, System, Topology
from actors.errors import DeadlineExceeded, InvalidSpec
from tests.actor.virtual_time import VIRTUAL_LOOPS, virtual_loop


@pytest.fixture(params=VIRTUAL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_loop(request.param)


class Plain(Actor):
    async def nap(self, seconds: float) -> str:
        await anyio.sleep(seconds)
        return "awake"

    async def left(self, other: Ref[Any], seconds: float) -> float:
        """Return after how many seconds an ask made here has ended."""
        began = anyio.current_time()
        with contextlib.suppress(DeadlineExceeded):
            await other.ask(Plain.nap, seconds)
        return anyio.current_time() - began

    async def naps(self, seconds: float, times: int) -> AsyncIterator[int]:
        for number in range(times):
            await anyio.sleep(seconds)
            yield number


class Quick(Plain, ask_timeout=2):
    pass


class Quicker(Quick):
    pass


class Endless(Quick, ask_timeout=None):
    pass


async def _seconds_until_late(ref: Ref[Any], text: str) -> float:
    began = anyio.current_time()
    with pytest.raises(DeadlineExceeded, match=text):
        await ref.ask(Plain.nap, 3600)
    return anyio.current_time() - began


async def test_an_ask_ends_after_the_ask_timeout_of_the_class() -> None:
    async with System() as system:
        for cls in (Quick, Quicker):
            ref = await system.spawn(cls)
            text = f"no reply to nap in 2 s, the ask_timeout of {cls.__name__}"
            assert await _seconds_until_late(ref, text) == pytest.approx(2)
            assert await ref.ask(Plain.nap, 1) == "awake"  # the handler was cancelled


async def test_an_ask_ends_after_the_ask_timeout_of_the_system_if_the_class_has_none() -> None:
    async with System(ask_timeout=5) as system:
        plain, quick = await system.spawn(Plain), await system.spawn(Quick)
        text = "no reply to nap in 5 s, the ask_timeout of the system"
        assert await _seconds_until_late(plain, text) == pytest.approx(5)
        assert await _seconds_until_late(quick, "the ask_timeout of Quick") == pytest.approx(2)


async def test_a_class_says_none_for_no_deadline_whatever_the_system_says() -> None:
    async with System(ask_timeout=5) as system:
        endless = await system.spawn(Endless)
        assert await endless.ask(Plain.nap, 3600) == "awake"


async def test_a_deadline_of_the_callers_own_wins_be_it_longer_or_shorter() -> None:
    async with System(ask_timeout=5) as system:
        quick = await system.spawn(Quick)
        assert await quick.within(60).ask(Plain.nap, 30) == "awake"
        with pytest.raises(DeadlineExceeded, match=r"no reply to nap in 1 s$"):
            await quick.within(1).ask(Plain.nap, 3600)


async def test_a_shorter_scope_around_the_ask_still_cancels_it() -> None:
    async with System() as system:
        quick = await system.spawn(Quick)
        began = anyio.current_time()
        with anyio.move_on_after(1) as scope:
            await quick.ask(Plain.nap, 3600)
        assert scope.cancelled_caught
        assert anyio.current_time() - began == pytest.approx(1)


async def test_the_deadline_is_inherited_by_the_asks_of_the_handler() -> None:
    async with System() as system:
        outer, inner = await system.spawn(Quick), await system.spawn(Endless)
        with pytest.raises(DeadlineExceeded, match="no reply to left in 2 s"):
            await outer.ask(Plain.left, inner, 3600)
        assert await inner.ask(Plain.left, outer, 3600) == pytest.approx(2)


async def test_the_earlier_of_an_inherited_deadline_and_the_ask_timeout_counts() -> None:
    async with System() as system:
        outer, quick = await system.spawn(Plain), await system.spawn(Quick)
        assert await outer.within(60).ask(Plain.left, quick, 3600) == pytest.approx(2)
        with pytest.raises(DeadlineExceeded, match=r"no reply to left in 1 s$"):
            await outer.within(1).ask(Plain.left, quick, 3600)


async def test_an_ask_that_waits_for_room_ends_then_too() -> None:
    async with System() as system:
        quick = await system.spawn(Quick, mailbox=1)
        for _ in range(2):  # one is handled, one waits in the mailbox
            await quick.tell(Plain.nap, 60)
            await anyio.sleep(0.1)
        began = anyio.current_time()
        with pytest.raises(DeadlineExceeded, match=r"no room in its mailbox in 2 s"):
            await quick.ask(Plain.nap, 0)
        assert anyio.current_time() - began == pytest.approx(2)


async def test_streams_and_tells_have_no_ask_timeout() -> None:
    async with System(ask_timeout=5) as system:
        quick = await system.spawn(Quick)
        await quick.tell(Plain.nap, 30)
        async with quick.stream(Plain.naps, 10, 3) as items:
            assert [item async for item in items] == [0, 1, 2]


@pytest.mark.parametrize("seconds", [0, -1, True, "5", float("inf"), float("nan")])
def test_what_is_no_number_of_seconds_is_refused(seconds: Any) -> None:
    text = "ask_timeout must be more than 0 seconds, or None, got"
    with pytest.raises(InvalidSpec, match=f"Wrong: {text}"):
        type("Wrong", (Actor,), {}, ask_timeout=seconds)
    for make in (System, Topology):
        with pytest.raises(InvalidSpec, match=f"{make.__name__}: {text}"):
            make(ask_timeout=seconds)
