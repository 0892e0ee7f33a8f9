"""The C extensions keep nothing of what they have handled: neither memory nor references.

Every value is copied, packed and read, whole and damaged, thousands of times; messages are told and asked, and
rings are written and read. The blocks of memory that Python has in use are counted before and after; so are all
references where Python counts them: a build with --with-pydebug, for which msgpack has to be compiled, too, as
what was compiled for another build counts none of its own.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

import actors
from actors._extensions import not_loaded
from actors.transport import Decoder, Encoder, FrameError, Lane, register, snapshot, snapshot_args
from actors.transport.channels.ring_extension import RING
from actors.transport.memory import memfd
from actors.transport.types import twins
from tests.transport.sample_values import SAMPLES, Registered
from tests.transport.test_twins import Opaque, damaged

ROUNDS = int(os.environ.get("LEAK_ROUNDS", "1000000"))
"""Of all values together."""
ALLOWED = 200
"""Blocks and references that come and go by themselves, such as in caches that are full some time later."""

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(twins.COMPILED is None, reason=not_loaded()),
]

register(Registered, lambda thing: thing.value, Registered)


def in_use() -> tuple[int, int]:
    """Blocks of memory, and references (0 where nobody counts them)."""
    for _ in range(3):
        gc.collect()
    return sys.getallocatedblocks(), getattr(sys, "gettotalrefcount", lambda: 0)()


def grown(act: Callable[[], object], rounds: int) -> tuple[int, int]:
    """What is in use after so many rounds beyond what was after a tenth of them."""
    for _ in range(max(rounds // 10, 10)):
        act()
    blocks, references = in_use()
    for _ in range(rounds):
        act()
    now = in_use()
    return now[0] - blocks, now[1] - references


def _say(name: str, rounds: int, more: Sequence[int]) -> None:
    blocks, references = more
    print(f"\n{name}: {rounds} rounds, {blocks} blocks, {references} references more", end="")  # noqa: T201


def check(name: str, act: Callable[[], object], rounds: int) -> None:
    more = grown(act, rounds)
    _say(name, rounds, more)
    assert max(more) < ALLOWED, name


@pytest.mark.parametrize("name", SAMPLES)
def test_values_that_are_copied_packed_and_read_leave_nothing(name: str) -> None:
    value = SAMPLES[name]
    encoder, decoder = Encoder(), Decoder()

    def send() -> list[bytes]:
        encoder.pack([1, 7, "method", [encoder.encode_value(value)], {"key": 1}])
        return [*encoder.take(Lane.CONTROL), *encoder.take(Lane.DATA)]

    def all_of_it() -> None:
        snapshot(value)
        snapshot_args((value, 1), {"key": value})
        for body in send():
            list(decoder.feed(body))

    check(name, all_of_it, max(ROUNDS // len(SAMPLES) // 4, 100))


def test_damaged_messages_leave_nothing() -> None:
    all_of_them = list(damaged(5, 3))

    def read() -> None:
        for introductions, _, bad in all_of_them:
            with suppress(FrameError):
                decoder = Decoder()
                for body in introductions:
                    decoder.feed(body)
                list(decoder.feed(bad))

    check("damaged messages", read, max(ROUNDS // 4 // len(all_of_them), 10))


def test_what_cannot_be_sent_leaves_nothing() -> None:
    refused: list[Any] = [[Opaque()], {"a": (1, Opaque())}, {1: {2: [Opaque()]}}]

    def refuse() -> None:
        for value in refused:
            with suppress(Exception):
                snapshot(value)
            with suppress(Exception):
                Encoder().encode_value(value)

    check("refused values", refuse, max(ROUNDS // 100, 100))


class Counter(actors.Actor, on_error={ValueError: actors.OnError.RESUME}):
    """Counts."""

    def __init__(self) -> None:
        self.count = 0

    async def add(self, by: Any, *, wait: bool = False) -> Any:
        """Count, after a turn of the loop if that is wanted."""
        self.count += 1
        if wait:
            await asyncio.sleep(0)
        return by

    async def fail(self) -> None:
        """Fail."""
        raise ValueError("of no use")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_messages_within_a_node_leave_nothing(anyio_backend: str) -> None:
    async with actors.System() as system:
        counter = await system.spawn(Counter)

        async def some(rounds: int) -> None:
            for number in range(rounds):
                await counter.tell(Counter.add, {"a": [number]})
                await counter.ask(Counter.add, number)
                await counter.ask(Counter.add, [number], wait=True)
                if not number % 50:
                    with suppress(ValueError):
                        await counter.ask(Counter.fail)

        rounds = max(ROUNDS // 10, 100)
        await some(rounds // 10)
        before = in_use()
        await some(rounds)
        after = in_use()
    more = [now - was for now, was in zip(after, before, strict=True)]
    _say("messages", rounds, more)
    assert max(more) < ALLOWED


@pytest.mark.skipif(RING is None, reason=not_loaded())
def test_rings_leave_nothing() -> None:
    record = b"x" * 100

    def ring() -> None:
        fd = memfd.create(RING.SIZE)
        try:
            writer, reader = RING.Writer(fd, FrameError), RING.Reader(fd, FrameError)
        finally:
            os.close(fd)
        reader.wake()
        for number in range(20):
            writer.put(1, record, number)
            reader.take(number)
        writer.close()
        reader.close()

    check("rings", ring, max(ROUNDS // 100, 100))
