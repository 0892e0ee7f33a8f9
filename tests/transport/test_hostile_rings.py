"""A peer that breaks the rules of rings ends its link by one error."""

from __future__ import annotations

import mmap
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from actors._extensions import not_loaded
from actors.transport import FrameError, Lane, encode_header
from actors.transport.channels.ring_extension import RING
from actors.transport.channels.rings import RingNote
from actors.transport.memory import memfd
from actors.transport.testing import ManualLoop
from actors.transport.wire.frames import RING_LANE
from tests.transport.recording_channel import RecordingChannel, frame

pytestmark = pytest.mark.skipif(RING is None, reason=not_loaded())

MESSAGE = b"\x92\x01\x05"


def _yes() -> bool:
    return True


class Stranger:
    """The other end of a channel that has accepted its ring, as bytes."""

    def __init__(self, loop: ManualLoop, sock: socket.socket, end: RecordingChannel) -> None:
        self.loop = loop
        self.sock = sock
        self.end = end
        fd = memfd.create(RING.SIZE)
        self.writer = RING.Writer(fd, FrameError)
        self.memory = mmap.mmap(fd, RING.SIZE)
        end.channel.rings.allow(_yes)
        socket.send_fds(sock, [note(RingNote.OFFER, 1)], [fd])
        os.close(fd)
        loop.settle()
        self.frames = 1

    def lead_to_ring(self) -> None:
        self.sock.send(encode_header(Lane.DATA, 0, 3, to_ring=True) + MESSAGE)
        self.frames += 1
        self.loop.settle()

    def put(self, body: bytes, number: int) -> None:
        self.memory[128:132] = bytes(4)  # as if the reader did not sleep
        assert self.writer.put(1, body, number) == RING.WRITTEN

    def error(self) -> str:
        self.loop.settle()
        (error,) = self.end.ends
        assert isinstance(error, FrameError)
        return str(error)


def note(kind: int, fds: int = 0, *, to_ring: bool = False) -> bytes:
    return encode_header(RING_LANE, fds, 1, to_ring=to_ring) + bytes([kind])


@pytest.fixture
def stranger(loop: ManualLoop, raw: tuple[socket.socket, RecordingChannel]) -> Iterator[Stranger]:
    stranger = Stranger(loop, *raw)
    yield stranger
    stranger.writer.close()
    stranger.memory.close()


def test_a_stranger_that_keeps_the_rules_is_heard(stranger: Stranger) -> None:
    stranger.lead_to_ring()
    stranger.put(MESSAGE, stranger.frames)
    stranger.writer.mark(stranger.frames + 1)
    stranger.sock.send(frame(MESSAGE))
    stranger.loop.settle()
    assert stranger.end.got == [[1, 5]] * 3
    assert stranger.end.ends == []


def _frame_past_the_ring(stranger: Stranger) -> None:
    stranger.lead_to_ring()
    stranger.sock.send(frame(MESSAGE))


def _wrong_number(stranger: Stranger) -> None:
    stranger.lead_to_ring()
    stranger.put(MESSAGE, 77)
    stranger.writer.mark(stranger.frames)
    stranger.sock.send(note(RingNote.BELL))


def _no_messages(stranger: Stranger) -> None:
    stranger.lead_to_ring()
    stranger.put(b"\xc1", stranger.frames)
    stranger.writer.mark(stranger.frames + 1)
    stranger.sock.send(note(RingNote.BELL))


def _wrong_head(stranger: Stranger) -> None:
    stranger.lead_to_ring()
    stranger.memory[:8] = b"\xff" * 8
    stranger.sock.send(note(RingNote.BELL))


def _end_with_nonsense(stranger: Stranger) -> None:
    stranger.lead_to_ring()
    stranger.memory[:8] = b"\xff" * 8
    stranger.sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(
    "breaks,error",
    [
        (_frame_past_the_ring, "a frame came over the socket, and nothing in the ring leads to it"),
        (_wrong_number, "a ring has record 77 where 2 is expected"),
        (_no_messages, "bytes that are not messages"),
        (_wrong_head, "the writer of a ring claims position 18446744073709551615, after 0"),
        (_end_with_nonsense, "the writer of a ring claims position 18446744073709551615, after 0"),
        (lambda s: s.sock.send(note(RingNote.REFUSE) + note(RingNote.REFUSE)), "a note on rings"),
        (lambda s: s.sock.send(note(9)), r"a note on rings must not be b'\\t' now"),
        (lambda s: s.sock.send(note(RingNote.CLOSE) * 2), r"a note on rings must not be b'\\x04'"),
        (
            lambda s: s.sock.send(note(RingNote.CLOSE) + note(RingNote.BELL)),
            r"a note on rings must not be b'\\x05'",
        ),
        (
            lambda s: s.sock.send(note(RingNote.CLOSE, to_ring=True)),
            "a frame leads to a ring, and there is none",
        ),
        (
            lambda s: socket.send_fds(s.sock, [note(RingNote.OFFER, 1)], [0]),
            r"a note on rings must not be b'\\x01'",
        ),
        (
            lambda s: socket.send_fds(s.sock, [note(RingNote.BELL, 1)], [0]),
            "descriptors came with",
        ),
    ],
)
def test_a_peer_that_breaks_the_rules_ends_its_link_by_one_error(
    stranger: Stranger, breaks: Callable[[Stranger], object], error: str
) -> None:
    breaks(stranger)
    assert error.replace("\\\\", "\\") in stranger.error()


@pytest.mark.parametrize(
    "size,error", [(4096, "passed a segment of 4096 bytes and said 131072"), (0, "no segment")]
)
def test_a_descriptor_that_is_no_ring_ends_the_link(
    loop: ManualLoop, raw: tuple[socket.socket, RecordingChannel], size: int, error: str
) -> None:
    ours, end = raw
    end.channel.rings.allow(_yes)
    fd = memfd.create(size) if size else os.open("/dev/null", os.O_RDWR)
    socket.send_fds(ours, [note(RingNote.OFFER, 1)], [fd])
    os.close(fd)
    loop.settle()
    assert error in str(end.ends[0])


def test_a_second_offer_after_a_refusal_ends_the_link(
    loop: ManualLoop, raw: tuple[socket.socket, RecordingChannel]
) -> None:
    ours, end = raw
    for _ in range(2):
        fd = memfd.create(RING.SIZE)
        socket.send_fds(ours, [note(RingNote.OFFER, 1)], [fd])
        os.close(fd)
        loop.settle()
    assert len(end.ends) == 1
    assert ours.recv(100) == note(RingNote.REFUSE)
