"""What one item of a stream costs its actor does not depend on how many streams are open."""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import Handler, MessageKind
from actors._messaging.stream import Stream, StreamProducers


async def _numbers(_actor: object) -> AsyncIterator[int]:
    for number in range(100):
        yield number


async def _steps_of_an_item(streams: int, make_waiter: Any) -> int:
    queued: list[Envelope] = []
    producers = StreamProducers("an actor", queued.append)
    handler = Handler("numbers", _numbers, MessageKind.STREAM)
    for _ in range(streams):
        stream: Any = Stream(make_waiter)
        producers.open(None, Envelope(handler, (), {}, stream))
    steps = 0

    def count(*_: object) -> Any:
        nonlocal steps
        steps += 1
        return count

    before = sys.gettrace()
    gc.disable()  # it would run, and have counted, finalizers of what other tests have left
    sys.settrace(count)
    try:
        await producers.resume(queued[-1].args[0])
    finally:
        sys.settrace(before)
        gc.enable()
    await producers.aclose(lambda: RuntimeError("the test is over"))
    return steps


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_item_takes_as_many_steps_beside_a_thousand_open_streams_as_beside_one() -> None:
    few, many = [await _steps_of_an_item(count, None) for count in (2, 1000)]
    assert few == many
