"""Cargo: what goes beside the frames, what becomes of it when a message does not go, and lies about it."""

import gc
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from actors.transport import (
    Buffer,
    Decoder,
    Encoder,
    FrameError,
    Lane,
    Moved,
    OutOfRange,
    SharedBuffer,
    StaleLease,
    StillViewed,
    Unsealed,
    Unsendable,
    WrongSize,
    move,
    set_thread_pool,
)
from actors.transport.attachments.attachments import AttachmentKind
from actors.transport.attachments.mode import Mode, Thresholds
from actors.transport.attachments.transaction import MAX_DESCRIPTORS
from actors.transport.types.tags import Tag
from tests.transport.attachment_link import AttachmentLink, pipe_end
from tests.transport.shared_memory import KIB

BIG = 600 * KIB
SHARE = Thresholds().share


@pytest.fixture
def link() -> Iterator[AttachmentLink]:
    made = AttachmentLink()
    set_thread_pool(made.pool)
    yield made
    gc.collect()
    made.close()
    set_thread_pool(None)


# -- a message that does not go


def test_what_is_moved_stays_here_until_the_message_is_on_its_way(link: AttachmentLink) -> None:
    ours, theirs = socket.socketpair()
    buffer, array, small = Buffer(BIG), bytearray(BIG), Buffer(8)
    with ours, theirs:
        link.encoder.encode_value([move(buffer), move(array), move(theirs), move(small)])
        assert len(array) == BIG
        link.here.transaction.undo()
        assert (buffer.moved, small.moved, len(array)) == (False, False, BIG)
        assert theirs.fileno() >= 0
        assert link.pool.stats().leases == 0
        got = link.ship([move(buffer), move(array), move(theirs), move(small)])
        assert (buffer.moved, small.moved, len(array), theirs.fileno()) == (True, True, 0, -1)
        got[2].close()
    del got
    link.settle()
    assert link.pool.stats().leases == 0


@dataclass
class Unknown:
    """Has no counterpart at the other end."""

    inner: Any


def test_the_memory_of_a_message_that_cannot_be_rebuilt_goes_back(link: AttachmentLink) -> None:
    def nowhere(module: str, name: str) -> Any:
        raise LookupError(f"{module} has no {name}")

    link.decoder._resolve = nowhere
    link.warm(BIG, 4)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sent = [
            bytes(BIG),
            Unknown(bytes(BIG)),
            ((bytes(BIG),), {"k": [{bytes(BIG)}]}),
            move(theirs),
        ]
        link.encoder.encode_value([1])
        body = link.pack((sent,))
        assert link.pool.stats().leases == 4
        assert link.decoder.feed(b"".join(link.encoder.take(Lane.CONTROL))) == []
        ((_, got),) = link.decoder.feed(body)
        assert "Unknown" in str(got.error)
        assert ours.recv(1) == b""
    link.settle()
    assert link.pool.stats().leases == 0


def test_a_buffer_that_stays_goes_back_to_where_it_was(link: AttachmentLink) -> None:
    buffer = Buffer(BIG)
    buffer[:4] = b"mine"
    for _ in range(3):
        link.encoder.encode_value(move(buffer))
        link.here.transaction.undo()
        assert buffer[:4] == b"mine"
    view = buffer.view()
    with pytest.raises(StillViewed):
        link.encoder.encode_value(move(buffer))
    del view
    got = link.ship(move(buffer))
    assert got[:4] == b"mine"


@pytest.mark.parametrize("bad", [lambda: 0, object(), move("text")], ids=["fn", "object", "text"])
def test_nothing_waits_ahead_for_a_message_that_cannot_be_sent(
    link: AttachmentLink, bad: Any
) -> None:
    link.warm(BIG, 2)
    buffer = Buffer(BIG)
    for _ in range(2):
        with pytest.raises(Unsendable):
            link.encoder.encode_value([bytes(BIG), move(buffer), SharedBuffer(8), bad])
        assert link.here.transaction.empty
        assert link.pool.stats().leases == 0
    assert not buffer.moved


def test_what_is_moved_twice_in_one_message_is_named(link: AttachmentLink) -> None:
    for thing in (Buffer(8), bytearray(b"four")):
        with pytest.raises(Moved, match=r"of 8 bytes|four"):
            link.encoder.encode_value({"a": move(thing), "b": [move(thing)]})
        assert link.here.transaction.empty


def test_an_error_carries_copies_and_nothing_waits_for_it(link: AttachmentLink) -> None:
    link.warm(BIG, 2)
    error = ValueError("no", SharedBuffer(8), move(Buffer(8)), bytes(BIG // 4))
    link.encoder.pack([1, link.encoder.encode_error(error)])
    assert link.here.transaction.empty
    for lane in (Lane.CONTROL, Lane.DATA):
        (body,) = link.encoder.take(lane)
        messages = link.decoder.feed(body)
    ((_, got),) = messages
    assert got.args[1].startswith("<SharedBuffer")
    assert got.args[2].startswith("Move(value=<Buffer of 8 bytes>")
    assert len(got.args[3]) == BIG // 4


def test_one_message_carries_so_many_descriptors_and_no_more(link: AttachmentLink) -> None:
    shared = SharedBuffer(8)
    assert len(link.ship([shared] * 20)) == 20
    with pytest.raises(Unsendable, match="at most 256 sockets and shared buffers"):
        link.encoder.encode_value([shared] * (MAX_DESCRIPTORS + 1))
    assert link.here.transaction.empty


def test_what_came_for_a_message_that_cannot_be_rebuilt_is_closed(link: AttachmentLink) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        body = link.pack(deque([{"a": move(theirs)}]))
        damaged = body.replace(bytes([Tag.DEQUE]), bytes([99]), 1)
        (message,) = link.decoder.feed(damaged)
        assert "unknown tag 99" in str(message[1].error)
        assert ours.recv(1) == b""


# -- lies


def carrying(*parts: Any) -> Callable[[AttachmentLink], Any]:
    """Feed a message whose attachments has these parts."""

    def feed(link: AttachmentLink) -> Any:
        encoder = Encoder()
        encoder.pack([1, encoder._ext(Tag.ATTACHMENT, list(parts))])
        (body,) = encoder.take(Lane.DATA)
        return link.decoder.feed(body)

    return feed


def leased(change: Callable[[list[Any]], list[Any]]) -> Callable[[AttachmentLink], Any]:
    """Feed a message that names a lease that is there, but for the change."""

    def feed(link: AttachmentLink) -> Any:
        link.warm(BIG)
        packed = link.encoder.encode_value(bytes(BIG))
        for op, numbers, fds in link.here.transaction.prerequisites:
            link.there.receive_prerequisite(op, numbers, fds)
        link.here.transaction.prerequisites.clear()
        link.here.transaction.commit()
        parts = Decoder()._unpack(packed.data)
        return carrying(AttachmentKind.BYTES, *change(parts[1:]))(link)

    return feed


def segment(*numbers: int, fds: Callable[[], list[int]]) -> Callable[[AttachmentLink], Any]:
    return lambda link: link.there.receive_prerequisite("arena", list(numbers), fds())


def unsealed(size: int) -> int:
    fd = os.memfd_create("bad", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    return fd


def ahead(
    *fds: Callable[[], int], number: Any = 1, then: Any = None
) -> Callable[[AttachmentLink], Any]:
    """Descriptors come, and a message asks for them."""

    def feed(link: AttachmentLink) -> Any:
        link.there.receive_prerequisite("fds", [number], [fd() for fd in fds])
        return then(link) if then is not None else None

    return feed


def too_many(link: AttachmentLink) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.transport.attachments.attachments._MOST_UNCLAIMED", 20)
        for number in range(21):
            link.there.receive_prerequisite("fds", [number], [pipe_end()])


def twice(link: AttachmentLink) -> None:
    for _ in range(2):
        link.there.receive_prerequisite("fds", [1], [pipe_end()])


def opened_twice(link: AttachmentLink) -> None:
    link.warm(BIG)
    body = link.pack(memoryview(bytes(BIG)))
    held = link.decoder.feed(body)
    link.decoder.feed(body)
    del held


def datagrams() -> int:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).detach()


def stream_end() -> int:
    return socket.socket(socket.AF_UNIX).detach()


SOCKET = (int(socket.AF_UNIX), int(socket.SOCK_STREAM), 0)
DATAGRAMS = (int(socket.AF_UNIX), int(socket.SOCK_DGRAM), 0)
LIES: dict[str, tuple[Callable[[AttachmentLink], Any], type[FrameError], str]] = {
    "segment never introduced": (
        carrying(AttachmentKind.BYTES, 7, 4096, 10, 1),
        OutOfRange,
        "segment 7 was never introduced by this peer",
    ),
    "stale lease": (leased(lambda d: [*d[:3], d[3] + 2]), StaleLease, "is stale"),
    "free slot": (leased(lambda d: [*d[:3], d[3] + 1]), StaleLease, "is stale"),
    "lease opened twice": (opened_twice, StaleLease, "was opened before"),
    "between slots": (leased(lambda d: [d[0], d[1] + 8, *d[2:]]), OutOfRange, "are no slot of"),
    "past the end": (leased(lambda d: [d[0], d[1] + (1 << 40), *d[2:]]), OutOfRange, "no slot of"),
    "too long": (leased(lambda d: [*d[:2], 1 << 30, d[3]]), OutOfRange, "are no slot of"),
    "of no length": (leased(lambda d: [*d[:2], 0, d[3]]), OutOfRange, "are no slot of"),
    "negative": (leased(lambda d: [*d[:2], -5, d[3]]), OutOfRange, "numbers from 0 up"),
    "lease of text": (leased(lambda d: ["x", *d[1:]]), OutOfRange, "numbers from 0 up"),
    "unsealed": (
        segment(1, 65536, 1, fds=lambda: [unsealed(65536 + 4096)]),
        Unsealed,
        "may change its size",
    ),
    "a pipe for a segment": (
        segment(1, 65536, 1, fds=lambda: [pipe_end()]),
        Unsealed,
        "no segment",
    ),
    "two for a segment": (
        segment(1, 65536, 1, fds=lambda: [pipe_end(), pipe_end()]),
        FrameError,
        "unknown purpose: 'arena'",
    ),
    "a segment of odd slots": (
        segment(1, 65537, 1, fds=lambda: [pipe_end()]),
        WrongSize,
        "no segment is laid out like",
    ),
    "descriptors that never came": (
        carrying(AttachmentKind.SHARED, 5),
        FrameError,
        "attachment 5 never came",
    ),
    "a number that is none": (ahead(pipe_end, number="x"), FrameError, "no number or a used one"),
    "the same number twice": (twice, FrameError, "attachment 1, no number or a used one"),
    "too many that wait": (too_many, FrameError, "descriptors of over 20 attachments came"),
    "a shared buffer of one": (
        ahead(pipe_end, then=carrying(AttachmentKind.SHARED, 1)),
        OutOfRange,
        "comes as 2 descriptors, got 1",
    ),
    "a shared buffer of pipes": (
        ahead(pipe_end, pipe_end, then=carrying(AttachmentKind.SHARED, 1)),
        Unsealed,
        "no segment",
    ),
    "a socket that is a pipe": (
        ahead(pipe_end, then=carrying(AttachmentKind.SOCKET, 1, *SOCKET, None)),
        FrameError,
        "attachment 1 is not a socket",
    ),
    "a socket of two": (
        ahead(pipe_end, pipe_end, then=carrying(AttachmentKind.SOCKET, 1, *SOCKET, None)),
        FrameError,
        "attachment 1 is not a socket",
    ),
    "a socket of no family": (
        ahead(pipe_end, then=carrying(AttachmentKind.SOCKET, 1, "x", 1, 0, None)),
        FrameError,
        "attachment 1 is not a socket",
    ),
    "a stream that is a pipe": (
        ahead(pipe_end, then=carrying(AttachmentKind.STREAM, 1, *SOCKET, b"")),
        FrameError,
        "attachment 1 is not a socket",
    ),
    "a stream of datagrams": (
        ahead(datagrams, then=carrying(AttachmentKind.STREAM, 1, *DATAGRAMS, b"")),
        FrameError,
        "attachment 1 is not a stream socket",
    ),
    "a stream that has read a number": (
        ahead(stream_end, then=carrying(AttachmentKind.STREAM, 1, *SOCKET, 5)),
        FrameError,
        "attachment 1 is not a stream socket",
    ),
    "a buffer back that was never here": (
        carrying(AttachmentKind.BUFFER_BACK, 1, 4096, 10, 1),
        StaleLease,
        "what it does not have",
    ),
    "too few parts": (carrying(AttachmentKind.SOCKET), FrameError, "wrong parts"),
    "no parts": (carrying(), FrameError, "no such kind of attachment"),
    "an unknown kind": (carrying(99, 1), FrameError, "no such kind of attachment"),
    "given back what it has not": (
        lambda link: link.there.release([1, 4096, 1]),
        StaleLease,
        "what it does not have",
    ),
    "given back halves": (
        lambda link: link.there.release([1, 4096]),
        OutOfRange,
        "3 numbers each, got 2",
    ),
    "retired what it has not": (
        lambda link: link.there.retire([4]),
        OutOfRange,
        "segment 4 was never introduced",
    ),
    "an unknown message": (
        lambda link: link.there.receive_prerequisite("what", [1], [pipe_end()]),
        FrameError,
        "unknown purpose: 'what'",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_every_lie_has_its_own_error_and_leaves_nothing_open(
    link: AttachmentLink, lie: str
) -> None:
    tell, error, text = LIES[lie]
    with pytest.raises(error, match=text) as caught:
        tell(link)
    assert type(caught.value) is error
    # And the memory is as good as before.
    assert link.ship(bytes(BIG)) == bytes(BIG)


@pytest.mark.parametrize("make", [bytes, bytearray])
def test_what_is_copied_out_goes_by_lease_from_eight_times_the_size_on(
    link: AttachmentLink, make: Callable[[int], Any]
) -> None:
    link.warm(8 * SHARE, 4)
    assert link.ship(make(8 * SHARE - 1)) == make(8 * SHARE - 1)
    assert link.here.modes[Mode.LEASE] == 0
    assert link.ship(make(8 * SHARE)) == make(8 * SHARE)
    assert link.here.modes[Mode.LEASE] == 1


def test_what_is_read_where_it_is_goes_by_lease_from_the_size_on(link: AttachmentLink) -> None:
    link.warm(SHARE, 4)
    assert link.ship(memoryview(bytes(SHARE))) == bytes(SHARE)
    assert link.here.modes[Mode.LEASE] == 1
