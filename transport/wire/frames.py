"""Frames to bytes and a byte stream to frames, without I/O; what is in a body is not known here.

A frame is eight header bytes and a body (little endian)::

    magic u8 = 0xAC | version << 4 | lane u8 | fd count u16 | body length u32

A body is a batch of messages, at most 64 KiB together, or one message. A message of more than `PIECE` bytes
goes in several frames; all but its last have the bit MORE, 0x08, in their lane byte, and between them frames
of other lanes may go. A frame with the bit TO_RING, 0x80, is the last one before the next record of the
channel's ring; lane 0x20 is of the rings themselves. The header is checked before one body byte is kept, and
memory grows only with bytes that arrived.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from functools import partial
from typing import Final, NamedTuple

from actors.transport.errors import FrameError

__all__ = [
    "BULK_LANES",
    "ENVELOPE",
    "FRAME_LIMIT",
    "HEADER_SIZE",
    "MAX_FDS",
    "MESSAGE_LIMIT",
    "PIECE",
    "RING_LANE",
    "SINGLE_HEADER",
    "Frame",
    "FrameDecoder",
    "Lane",
    "encode_header",
]

FRAME_LIMIT: Final = 64 * 1024 * 1024
MESSAGE_LIMIT: Final = 1024 * 1024 * 1024
"""Bytes of one message, unless the system says otherwise."""
PIECE: Final = 257 * 1024
"""Bytes of a big message that go in one frame: a payload of 256 KiB, and what its message has beside it."""
ENVELOPE: Final = 64 * 1024
"""Bytes that a message may have beside its payloads, which the limit of a message does not count."""
HEADER_SIZE: Final = 8
MAX_FDS: Final = 16

_HEADER: Final = struct.Struct("<BBHI")
_MAGIC: Final = 0xAC
_VERSION: Final = 1
_MORE: Final = 0x08
_TO_RING: Final = 0x80


class Lane(IntEnum):
    """Each channel has lanes, each in order: frames of CONTROL overtake all others, those of DATA big messages.

    BULK stands for all of `BULK_LANES`, between which the pieces of big messages take turns.
    """

    CONTROL = 0
    DATA = 1
    BULK = 2


BULK_LANES: Final = range(Lane.BULK, _MORE)
RING_LANE: Final = 0x20
"""That of frames in which a channel says something of its rings; they go with those of CONTROL."""
_LANES: Final = {_VERSION << 4 | lane: Lane(min(lane, Lane.BULK)) for lane in (*Lane, *BULK_LANES)}
_KINDS: Final = frozenset({*_LANES, _VERSION << 4 | RING_LANE})


SINGLE_HEADER: Final = {
    lane: partial(_HEADER.pack, _MAGIC, _VERSION << 4 | lane, 0)
    for lane in (Lane.CONTROL, Lane.DATA)
}
"""By lane, what makes the header of a frame without descriptors from the length of its body."""


class Frame(NamedTuple):
    """One frame, or the whole of a message that came in several.

    `body` is valid until the decoder is asked for the next one. `lane` is None if it says something of the
    rings; `to_ring` tells whether the next message is in the ring.
    """

    lane: Lane | None
    fd_count: int
    body: memoryview
    to_ring: bool = False


class _Header(NamedTuple):
    kind: int
    fd_count: int
    more: bool
    to_ring: bool


def encode_header(
    lane: int, fd_count: int, length: int, *, more: bool = False, to_ring: bool = False
) -> bytes:
    """The eight bytes before a body.

    Args:
        lane: its lane.
        fd_count: descriptors that travel with its first byte, at most 16.
        length: body length in bytes.
        more: whether the next frame of the lane goes on with the same message.
        to_ring: whether the next message is in the ring.

    Raises:
        FrameError: more descriptors than a frame may carry.
    """
    if not 0 <= fd_count <= MAX_FDS:
        raise FrameError(f"a frame carries 0 to {MAX_FDS} descriptors, got {fd_count}")
    kind = _VERSION << 4 | lane | (_MORE if more else 0) | (_TO_RING if to_ring else 0)
    return _HEADER.pack(_MAGIC, kind, fd_count, length)


class FrameDecoder:
    """Turns received chunks into frames.

    Args:
        limit: largest message accepted, in bytes.

    Attributes:
        count: frames so far, each piece of a big message counted, and records of a ring.
        to_ring: of the frame that `single` was asked about last.
    """

    def __init__(self, limit: int = MESSAGE_LIMIT) -> None:
        self.count: int = 0
        self.to_ring: bool = False
        self._message_limit = limit
        self._limit = min(limit, FRAME_LIMIT)
        self._joined: dict[int, bytearray] = {}
        """By lane, what came so far of a message in several frames."""
        self._kept = bytearray()
        self._need = HEADER_SIZE
        self._piece = _Header(0, 0, more=False, to_ring=False)
        """The last piece that came in parts."""
        self._left = 0
        """Bytes of it that have not come."""
        self._failed = False

    @property
    def pending(self) -> int:
        """Bytes kept of frames and messages that are not complete."""
        begun = HEADER_SIZE if self._left else 0
        return begun + len(self._kept) + sum(map(len, self._joined.values()))

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Frame]:
        """Yield each frame that `data` completes, in order.

        Args:
            data: the next bytes of the stream; it may be reused once the iterator is exhausted.

        Raises:
            FrameError: bad magic, version, lane, descriptor count or length; or it failed before.
        """
        if self._failed:
            raise FrameError("this stream broke the protocol earlier")
        rest = memoryview(data)
        if self._left:
            rest = self._go_on(rest)
            if self._left:
                return
            yield from self._end_piece(self._piece, self._joined[self._piece.kind])
        while rest and self._kept:
            rest = self._complete(rest)
            if len(self._kept) < self._need:
                return
            header = self._parse(self._kept)
            if len(self._kept) < self._need:
                continue
            whole = memoryview(self._kept)
            self._kept = bytearray()
            self._need = HEADER_SIZE
            yield from self._whole(header, whole[HEADER_SIZE:])
        if rest:
            yield from self._cut(rest)

    def single(self, data: memoryview) -> Lane | None:
        """The lane of the one frame that `data` is, if it is that and no more: the common case.

        A frame with descriptors, or anything wrong, is left to `feed`.
        """
        if self._kept or self._failed or self._joined or len(data) < HEADER_SIZE:
            return None
        magic, kind, fd_count, length = _HEADER.unpack_from(data)
        if length + HEADER_SIZE != len(data) or length > self._limit or fd_count or magic != _MAGIC:
            return None
        self.to_ring = kind >= _TO_RING
        return _LANES.get(kind & ~_TO_RING)

    def _complete(self, rest: memoryview) -> memoryview:
        """Keep the bytes of `rest` that the incomplete frame still needs; returns the others."""
        missing = self._need - len(self._kept)
        self._kept += rest[:missing]
        return rest[missing:]

    def _cut(self, data: memoryview) -> Iterator[Frame]:
        """Yield the whole frames of `data` without copying; keep the rest."""
        at = 0
        end = len(data)
        while end - at >= HEADER_SIZE:
            header = self._parse(data, at)
            stop = at + self._need
            if stop > end:
                if header.more or header.kind in self._joined:
                    self._begin(header, data[at + HEADER_SIZE :])
                    return
                break
            self._need = HEADER_SIZE
            yield from self._whole(header, data[at + HEADER_SIZE : stop])
            at = stop
        self._kept += data[at:]

    def _whole(self, header: _Header, body: memoryview) -> Iterator[Frame]:
        """Yield the frame, or, with the last one of a message in several, all of them as one."""
        kind, fd_count, more, to_ring = header
        if not more and kind not in self._joined:
            self.count += 1
            yield Frame(_LANES.get(kind), fd_count, body, to_ring)
            return
        joined = self._join(header, len(body))
        joined += body
        yield from self._end_piece(header, joined)

    def _join(self, header: _Header, length: int) -> bytearray:
        """What has come of the message that goes on with a piece of that length."""
        if header.fd_count or header.to_ring:
            self._fail("a frame with descriptors is no part of a message in several frames")
        joined = self._joined.setdefault(header.kind, bytearray())
        if len(joined) + length > self._message_limit:
            self._fail(f"a message holds at most {self._message_limit} bytes, this one has more")
        return joined

    def _end_piece(self, header: _Header, joined: bytearray) -> Iterator[Frame]:
        self.count += 1
        if not header.more:
            del self._joined[header.kind]
            yield Frame(_LANES.get(header.kind), 0, memoryview(joined))

    def _begin(self, header: _Header, part: memoryview) -> None:
        """Take a part of a piece; the rest is put behind it as it comes, without being kept elsewhere."""
        length = self._need - HEADER_SIZE
        joined = self._join(header, length)
        joined += part
        self._piece = header
        self._left = length - len(part)
        self._need = HEADER_SIZE

    def _go_on(self, data: memoryview) -> memoryview:
        """Take more of a piece; returns what is behind it."""
        joined = self._joined[self._piece.kind]
        part = data[: self._left]
        joined += part
        self._left -= len(part)
        return data[len(part) :]

    def _parse(self, data: bytearray | memoryview, at: int = 0) -> _Header:
        magic, kind, fd_count, length = _HEADER.unpack_from(data, at)
        lane = kind & ~(_MORE | _TO_RING)
        if magic != _MAGIC or lane not in _KINDS:
            self._fail(f"expected magic 0xac and version {_VERSION}, got {magic:#x} and {kind:#x}")
        if fd_count > MAX_FDS:
            self._fail(
                f"a frame carries at most {MAX_FDS} descriptors, its header claims {fd_count}"
            )
        if length > self._limit:
            self._fail(f"a frame holds at most {self._limit} bytes, its header claims {length}")
        self._need = HEADER_SIZE + length
        return _Header(lane, fd_count, bool(kind & _MORE), bool(kind & _TO_RING))

    def _fail(self, why: str) -> None:
        self._failed = True
        self._left = 0
        self._kept = bytearray()
        self._joined.clear()
        raise FrameError(why)
