"""An answer that is larger than a message may be is told to the caller, who would wait for ever."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from actors._remoting import protocol as wire
from actors._remoting.link import Link
from actors.transport import Lane, TooBig

pytestmark = pytest.mark.within(10)


async def _huge(_link: Link) -> bytes:
    return bytes(1024)


async def test_a_caller_is_told_that_the_answer_is_too_big() -> None:
    sent: list[list[Any]] = []

    def pack(message: list[Any], lane: Lane) -> int:
        if message[0] == wire.ANSWER:
            raise TooBig(1024, 512)
        sent.append([lane, *message])
        return 1

    link = object.__new__(Link)
    link.closed = None
    link.serves = SimpleNamespace(calls={"huge": _huge})  # type: ignore[assignment]
    link.attachments = SimpleNamespace(only_copies=nullcontext)  # type: ignore[assignment]
    link._tasks = {}
    link._channel = None
    link._packing = SimpleNamespace(pack=pack, encode_value=lambda value, _: value)  # type: ignore[assignment]
    link.encoder = SimpleNamespace(encode_error=repr)  # type: ignore[assignment]

    await link._serve(7, "huge", [])

    assert sent == [[Lane.CONTROL, wire.FAILED, 7, repr(TooBig(1024, 512))]]
