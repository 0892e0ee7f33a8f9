"""A peer that breaks the rules loses its link by an error of its own, and takes nothing else with it."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors.transport import (
    FRAME_LIMIT,
    Attachments,
    Channel,
    ChannelBroken,
    Decoder,
    Encoder,
    FrameError,
    Lane,
    OutOfRange,
    SegmentMappings,
    SegmentPool,
    StaleLease,
    TransportError,
    Unsealed,
    encode_header,
    pair,
    set_thread_pool,
)
from actors.transport.attachments.attachments import AttachmentKind
from actors.transport.testing import ManualLoop
from actors.transport.types.tags import Tag
from tests.transport.attachment_link import AttachmentLink, pipe_end
from tests.transport.recording_channel import frame
from tests.transport.sample_values import open_fds

BIG = 600_000
NOTE = 20


class Victim:
    """One end of a link, with its attachments, and what it saw of the other."""

    def __init__(self, loop: ManualLoop, sock: socket.socket) -> None:
        self.got: list[Any] = []
        self.ends: list[TransportError | None] = []
        attachments = self.attachments = Attachments(SegmentPool(), SegmentMappings())
        attachments.open = True
        self.channel = Channel(
            sock,
            loop,
            encoder=Encoder(attachments=attachments),
            decoder=Decoder(attachments=attachments),
            receive=lambda messages, _lane: self.got.extend(messages),
            receive_fds=lambda message, fds: attachments.receive_prerequisite(
                message[1], message[2][0], fds
            ),
            closed=self.ends.append,
        )

    def close(self) -> None:
        self.channel.close()
        self.attachments.close()
        self.__dict__.clear()  # a fixture is remembered beyond its end
        gc.collect()


class Liar:
    """The other end: writes what it likes, and has memory to lend."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.link = AttachmentLink()
        self.link.warm(BIG, 4)

    def send(self, data: bytes, *fds: int, said: int | None = None) -> None:
        """Send a frame whose header says so many descriptors."""
        header = encode_header(Lane.DATA, len(fds) if said is None else said, len(data))
        if fds:
            socket.send_fds(self.sock, [header + data], fds)
            for fd in fds:
                os.close(fd)
        else:
            self.sock.sendall(header + data)

    def say(self, *message: Any, fds: tuple[int, ...] = (), said: int | None = None) -> None:
        encoder = Encoder()
        encoder.pack(list(message))
        (body,) = encoder.take(Lane.DATA)
        self.send(body, *fds, said=said)

    def carry(self, *parts: Any) -> None:
        """Send a message whose attachments has these parts."""
        self.say(1, Encoder()._ext(Tag.ATTACHMENT, list(parts)))

    def lease(self) -> list[int]:
        """Lend some bytes as any link does, but do not say so; return the lease's numbers."""
        here = self.link.here
        packed = self.link.encoder.encode_value(bytes(BIG))
        for op, numbers, fds in here.transaction.prerequisites:
            self.say(NOTE, op, [numbers], fds=tuple(fds))
        here.transaction.prerequisites.clear()
        here.transaction.commit()
        lease: list[int] = Decoder()._unpack(packed.data)[1:]
        return lease


def unsealed(size: int) -> int:
    fd = os.memfd_create("bad", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    return fd


def truncated(liar: Liar) -> None:
    liar.sock.sendall(frame(b"\x92\x01\x05")[:-1])
    liar.sock.close()


def oversized(liar: Liar) -> None:
    liar.sock.sendall(encode_header(Lane.DATA, 0, FRAME_LIMIT + 1))


def stale(liar: Liar) -> None:
    *slot, generation = liar.lease()
    liar.carry(AttachmentKind.BYTES, *slot, generation + 2)


def beyond(liar: Liar) -> None:
    segment, offset, *rest = liar.lease()
    liar.carry(AttachmentKind.BYTES, segment, offset + (1 << 40), *rest)


def too_long(liar: Liar) -> None:
    segment, offset, _, generation = liar.lease()
    liar.carry(AttachmentKind.BYTES, segment, offset, 1 << 30, generation)


def no_socket(liar: Liar) -> None:
    liar.say(NOTE, "fds", [[1]], fds=(pipe_end(),))
    liar.carry(AttachmentKind.SOCKET, 1, int(socket.AF_UNIX), int(socket.SOCK_STREAM), 0, None)


LIES: dict[str, tuple[Callable[[Liar], None], type[TransportError], str]] = {
    "truncated": (truncated, ChannelBroken, "the peer closed inside a frame"),
    "oversized": (oversized, FrameError, r"over the limit|at most"),
    "fewer descriptors than it says": (
        lambda liar: liar.say(NOTE, "fds", [[1]], fds=(pipe_end(),), said=2),
        FrameError,
        "claims 2 descriptors, 1 came",
    ),
    "more descriptors than it says": (
        lambda liar: liar.say(NOTE, "fds", [[1]], fds=(pipe_end(), pipe_end()), said=1),
        FrameError,
        "1 descriptors came that no frame claims",
    ),
    "stale lease": (stale, StaleLease, "is stale"),
    "an offset out of range": (beyond, OutOfRange, "no slot of"),
    "a length out of range": (too_long, OutOfRange, "no slot of"),
    "an unsealed memfd": (
        lambda liar: liar.say(NOTE, "arena", [[9, 65536, 1]], fds=(unsealed(65536 + 4096),)),
        Unsealed,
        "may change its size",
    ),
    "a pipe for memory": (
        lambda liar: liar.say(NOTE, "arena", [[9, 65536, 1]], fds=(pipe_end(),)),
        Unsealed,
        "no segment",
    ),
    "a socket that is a pipe": (
        no_socket,
        FrameError,
        "is not a socket",
    ),
}


@pytest.fixture
def ends() -> Iterator[tuple[ManualLoop, Victim, Liar]]:
    loop = ManualLoop()
    ours, theirs = pair()
    theirs.setblocking(True)
    victim, liar = Victim(loop, ours), Liar(theirs)
    set_thread_pool(liar.link.pool)
    yield loop, victim, liar
    set_thread_pool(None)
    liar.sock.close()
    victim.close()
    liar.link.close()


@pytest.mark.parametrize("lie", LIES)
def test_each_lie_ends_its_link_by_its_own_error(
    ends: tuple[ManualLoop, Victim, Liar], lie: str
) -> None:
    loop, victim, liar = ends
    tell, error, text = LIES[lie]
    liar.carry(AttachmentKind.BYTES, *liar.lease())
    loop.settle()
    assert victim.got == [[1, bytes(BIG)]], "what is no lie arrives"
    before = open_fds()
    tell(liar)
    loop.run_until(lambda: victim.ends)
    (caught,) = victim.ends
    with pytest.raises(error, match=text):
        raise caught or AssertionError
    assert type(caught) is error
    assert len(victim.got) == 1
    # Both the link and what came over it are closed, and its peer is told.
    victim.attachments.close()
    assert open_fds() < before
    if liar.sock.fileno() >= 0:
        liar.sock.settimeout(10)
        with liar.sock:
            assert liar.sock.recv(1) == b""
