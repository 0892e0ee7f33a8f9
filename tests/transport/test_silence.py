"""Since when the machine at the other end of a connection owes an answer."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from typing import Any, cast

import pytest

from actors.transport.channels.silence import Silence, silent_since
from tests.transport.tls_pair import tcp_pair


@pytest.mark.parametrize(
    "before, now, heard, owes, since",
    [
        (None, 100.0, 40.0, False, None),  # idle for a minute
        (None, 100.0, 40.0, True, 100.0),  # was idle for a minute, and has just been asked
        (100.0, 105.0, 40.0, True, 100.0),  # has not answered since
        (100.0, 105.0, 104.0, True, 104.0),  # has answered something else meanwhile
        (100.0, 105.0, 104.0, False, None),  # has answered
    ],
)
def test_a_machine_is_silent_while_it_owes_an_answer(
    before: float | None, now: float, heard: float, *, owes: bool, since: float | None
) -> None:
    assert silent_since(before, now, heard, owes=owes) == since


class Connection:
    """What the kernel says of one."""

    def __init__(self) -> None:
        self.probes = self.segments = self.heard_ago = 0

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        head = struct.pack("=3xB4x", self.probes)
        return (head + struct.pack("=16xI28xI", self.segments, self.heard_ago))[:size]


@pytest.mark.parametrize("what", ["probes", "segments"])
def test_what_was_not_answered_is_counted_from_the_first_question_that_finds_it(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    connection = Connection()
    asked = Silence(cast("Any", connection))
    connection.heard_ago = 60_000
    assert asked.seconds() == 0
    setattr(connection, what, 1)
    assert asked.seconds() == 0
    now, connection.heard_ago = 1003.0, 63_000
    assert asked.seconds() == 3
    setattr(connection, what, 0)
    assert asked.seconds() == 0


def test_a_machine_whose_process_reads_nothing_answers() -> None:
    ours, theirs = tcp_pair()
    with ours, theirs:
        ours.setblocking(False)
        asked = Silence(ours)
        with suppress(BlockingIOError):
            while True:
                ours.send(bytes(1_000_000))
        for _ in range(100):
            assert asked.seconds() < 1, "a probe is answered at once"
