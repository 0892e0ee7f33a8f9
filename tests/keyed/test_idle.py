"""An actor that has had nothing to do is stopped, and no message is lost by that."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from actors import Actor, Keyed, System
from actors.testing import eventually
from tests.keyed.conftest import Open
from tests.keyed.rooms import Room, Visitor

pytestmark = pytest.mark.within(30)

_PERIOD: Final = 0.028


async def test_messages_hammered_at_the_moment_of_the_stop_arrive_once_and_in_order(
    book: Open, system: System
) -> None:
    """From both nodes and the parent, at an actor that is idle as soon as nobody sends."""
    rooms = await book(Recorder, on="box", idle=0.02)
    log = await system.spawn(Log, name="log")
    visitors = [await system.spawn(Sender, on=on) for on in ("box/0", "box/1", "local")]
    each = 60

    async with anyio.create_task_group() as tasks:
        for number, visitor in enumerate(visitors):
            tasks.start_soon(visitor.ask, Sender.send, rooms, "x", number, each)
    await eventually(partial(_all_there, log, each * len(visitors)), within=20)

    entries = await log.ask(Log.entries)
    for number in range(len(visitors)):
        assert [what for _, who, what in entries if who == number] == [*range(each)]
    assert len({uid for uid, _, _ in entries}) > 3  # it was stopped again and again
    for visitor in visitors:
        await visitor.stop()
    await log.stop()


async def _all_there(log: Any, count: int) -> bool:
    return len(await log.ask(Log.entries)) >= count


class Log(Actor):
    """Keeps what recorders got."""

    def __init__(self) -> None:
        self.got: list[tuple[int, int, int]] = []

    async def add(self, uid: int, who: int, what: int) -> None:
        self.got.append((uid, who, what))

    async def entries(self) -> list[tuple[int, int, int]]:
        return self.got


class Recorder(Actor):
    """Passes on what it gets."""

    def __init__(self, key: str) -> None:
        self.key = key

    async def add(self, log: Any, who: int, what: int) -> None:
        await log.tell(Log.add, self.context.ref.uid, who, what)


class Sender(Actor):
    """Sends with pauses around the idle time."""

    async def send(self, rooms: Keyed[Any, Recorder], key: str, who: int, count: int) -> None:
        log = await self.context.system.lookup("log")
        for number in range(count):
            await rooms[key].tell(Recorder.add, log, who, number)
            # All senders at the same moments, by the clock that all processes share: mostly 22 to 34 ms
            # apart, as an idle actor is stopped, now and then long enough for it on a busy machine, too.
            period = _PERIOD * (10 if number % 6 == 5 else 1)
            await anyio.sleep(period - time.monotonic() % period + 0.001 * (number % 7))


async def test_no_key_ever_has_two_actors_while_they_are_stopped_and_used(
    book: Open, system: System, tmp_path: Path
) -> None:
    """Each actor makes a file when it starts, which must not be there, and removes it when it ends."""
    rooms = await book(partial(Room, folder=str(tmp_path)), on="box", idle=0.02)
    visitors = [await system.spawn(Visitor, on=on) for on in ("box/0", "box/1", "local")]
    said = [*range(25)]

    async with anyio.create_task_group() as tasks:
        for pause, visitor in zip((0.025, 0.031, 0.02), visitors, strict=True):
            for key in ("a", "b"):
                tasks.start_soon(visitor.ask, Visitor.say_each_after, rooms, key, said, pause)

    await eventually(lambda: not any(tmp_path.iterdir()))
    assert await rooms.count() == 0
    for visitor in visitors:
        await visitor.stop()
