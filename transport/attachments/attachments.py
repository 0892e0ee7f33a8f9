"""What one link carries beside its frames: shared memory by lease, and descriptors.

Rule 1: what a message needs is sent just before it, in its lane: a segment to map, a descriptor.
Rule 2: until the message is sent everything can be undone; each message ends with `commit` or `undo`.
Rule 3: a message moves all that it marks, or nothing: the sender loses it at `commit`.
"""

import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from functools import partial
from typing import Any, Final

from actors.transport.attachments.anyio_streams import close_moved_stream, is_stream, stream_parts
from actors.transport.attachments.mode import Mode, Thresholds, choose_mode, payload_bytes
from actors.transport.attachments.move import (
    CANNOT_LEAVE,
    NO_DESCRIPTORS,
    Move,
    check_move,
)
from actors.transport.attachments.moved_stream import stream_from_socket
from actors.transport.attachments.transaction import MAX_DESCRIPTORS, Prerequisite, SendTransaction
from actors.transport.errors import FrameError, TooBig, Undecodable, Unsendable
from actors.transport.memory.buffer import Buffer
from actors.transport.memory.lease import Lease
from actors.transport.memory.mapping import NO_DESCRIPTOR_FREE, SegmentMappings
from actors.transport.memory.pool import SegmentPool
from actors.transport.memory.shared_array import SharedArray
from actors.transport.memory.shared_buffer import SharedBuffer
from actors.transport.memory.thread_pool import thread_pool
from actors.transport.types.numpy import (
    array_bytes,
    array_layout,
    in_one_piece,
    layout_from_plain,
    layout_to_plain,
    rebuild_array,
    scalar_from_plain,
    scalar_to_plain,
    why_no_layout,
)
from actors.transport.wire.frames import BULK_LANES, MESSAGE_LIMIT
from actors.transport.wire.outbox import close_all

__all__ = ["AttachmentKind", "Attachments"]

_MOST_UNCLAIMED: Final = MAX_DESCRIPTORS * (len(BULK_LANES) + 1)
"""Attachments whose descriptors have come and whose messages have not: one of each lane is on its way."""
_COPIED: Final = 8
"""A lease of bytes, copied at both ends, pays from so many times the size on from which one of a view does."""
_NOT_MOVED: Final = "only what is sent, replied or streamed can be moved; in here it is copied"


def _nothing(*_args: object) -> None:
    """The default of the callbacks."""


class AttachmentKind(IntEnum):
    """The kind of an attachment; the first field of its extension."""

    BYTES = 1
    BYTEARRAY = 2
    VIEW = 3
    ARRAY = 4
    ARRAY_COPY = 5
    BUFFER = 6
    BUFFER_COPY = 7
    BUFFER_BACK = 8
    SHARED = 9
    SOCKET = 10
    STREAM = 11
    SCALAR = 12
    SHARED_ARRAY = 13
    KEPT = 14


_BY_DESCRIPTORS: Final = (AttachmentKind.SHARED, AttachmentKind.SOCKET, AttachmentKind.STREAM)


class Attachments:
    """One link's attachments, both ways; `pool` and `mappings` use this object as the key of the other end.

    Args:
        pool: the shared memory this node lends.
        mappings: the shared memory of other nodes that this node has mapped.
        thresholds: sizes from which payloads go by shared memory.
        on_cold: called when a payload went into the frame because the pool had only cold slots, so that
            `SegmentPool.warm` is called soon.
        linked: whether there is or will be a link, over which descriptors can be sent.
    """

    def __init__(
        self,
        pool: SegmentPool,
        mappings: SegmentMappings,
        *,
        thresholds: Thresholds | None = None,
        on_cold: Callable[[], object] = _nothing,
        linked: bool = True,
    ) -> None:
        self._on_cold = on_cold
        self._pool = pool
        self._mappings = mappings
        self.thresholds: Thresholds = thresholds or Thresholds()
        self.open: bool = False
        """Whether descriptors can be sent; until then everything is copied."""
        self.copy_only: bool = not linked
        """Whether only copies travel now: in errors, outside of messages, and without a link."""
        self._may_move = True
        self._may_send_fds = linked
        self._no_descriptors = NO_DESCRIPTORS
        self.kept: list[SharedBuffer] | None = None
        """The shared buffers of values that are packed now and sent or unpacked later, which keep their place
        here; None while values are sent at once."""
        self.transaction: SendTransaction = SendTransaction()
        self.modes: dict[Mode, int] = dict.fromkeys(Mode, 0)
        """How many payloads were sent in each mode."""
        self.bytes_lent: int = 0
        """How many bytes were sent beside the frames."""
        self.largest = MESSAGE_LIMIT
        """Bytes that the payloads of one message may have, however they are sent, without moved buffers."""
        self._sent = 0
        self._received_fds: dict[int, list[int]] = {}
        self._decoders = self._new_decoders()

    def _new_decoders(self) -> dict[int, Callable[..., Any]]:
        """What rebuilds each kind of attachment from its fields."""
        pool, mappings = self._pool, self._mappings
        return {
            AttachmentKind.BYTES: lambda *lease: mappings.copy(self, lease, bytes),
            AttachmentKind.BYTEARRAY: lambda *lease: mappings.copy(self, lease, bytearray),
            AttachmentKind.VIEW: lambda form, shape, *lease: _cast(
                self._open_lease(lease), form, shape
            ),
            AttachmentKind.ARRAY: lambda form, *lease: rebuild_array(
                self._open_lease(lease), layout_from_plain(form)
            ),
            AttachmentKind.ARRAY_COPY: lambda form, data: rebuild_array(
                memoryview(data), layout_from_plain(form)
            ),
            AttachmentKind.SCALAR: scalar_from_plain,
            AttachmentKind.BUFFER: lambda *lease: Buffer.from_lease(mappings, self, lease),
            AttachmentKind.BUFFER_COPY: _filled,
            AttachmentKind.BUFFER_BACK: lambda *lease: Buffer.from_return(pool, self, lease),
            AttachmentKind.SHARED_ARRAY: self._shared_array,
            AttachmentKind.KEPT: self._kept,
            AttachmentKind.SHARED: lambda number: SharedBuffer.from_fds(self._take_fds(number)),
            AttachmentKind.SOCKET: self._socket,
            AttachmentKind.STREAM: self._stream,
        }

    @classmethod
    def none(cls) -> "Attachments":
        """The attachments of an encoder or decoder without a link: everything is copied."""
        return cls(thread_pool(), SegmentMappings(), linked=False)

    @contextmanager
    def only_copies(self, *, descriptors: bool = False) -> Iterator[None]:
        """Send everything that is encoded inside the block by copy, or also what goes by *descriptors*."""
        before = self.copy_only, self._may_move, self._may_send_fds
        self.copy_only, self._may_move = True, False
        self._may_send_fds = descriptors and self._may_send_fds
        try:
            yield
        finally:
            self.copy_only, self._may_move, self._may_send_fds = before

    def refuse_descriptors(self) -> None:
        """The other end is on another machine: copy everything from now on, and refuse what cannot be."""
        self.copy_only, self._may_send_fds, self._no_descriptors = True, False, CANNOT_LEAVE

    # ------------------------------------------------------------ writing

    def may_share(self, size: int, *, copied: bool = False) -> bool:
        """Whether a payload of so many bytes may go by shared memory instead of in the frame.

        Args:
            size: bytes.
            copied: whether the other end copies them out: a lease of them pays from eight times the size on.

        Raises:
            TooBig: no message may have so many.
        """
        total = size + self.transaction.lent
        if total > self.largest:
            raise TooBig(total, self.largest)
        least = self.thresholds.share * _COPIED if copied else self.thresholds.share
        return size >= least and self.open and not self.copy_only

    def lease(self, value: Any) -> list[int] | None:
        """Copy a payload into shared memory for the other end; None if it has to go in the frame."""
        data = payload_bytes(value)
        if data is None:
            return None
        # Released here: a stack frame that an exception keeps would fix the size of a bytearray.
        with data:
            lease = self._lease(value, data)
        if lease is None:
            self.modes[Mode.COPY] += 1
            return None
        self.modes[Mode.LEASE] += 1
        self.bytes_lent += lease.descriptor.length
        self.transaction.lent += lease.descriptor.length
        return self._add_lease(lease, self._pool.cancel)

    def _lease(self, value: Any, data: memoryview) -> Lease | None:
        size = len(data)
        availability = self._pool.availability(size, self)
        mode = choose_mode(
            value, same_process=False, availability=availability, thresholds=self.thresholds
        )
        if mode is Mode.LEASE:
            return self._pool.lease(data, self, cold=size > self.thresholds.frame)
        if mode is Mode.COPY:
            self._on_cold()
            # The pool refuses this, and remembers the size for `warm`.
            return self._pool.lease(data, self)
        return None

    def _add_lease(self, lease: Lease, back: Callable[[Lease, Any], object]) -> list[int]:
        prerequisite = None
        if lease.introduction is not None:
            layout, fd = lease.introduction
            prerequisite = Prerequisite("arena", list(layout), [fd])
            self.transaction.need(prerequisite)
        self.transaction.on_undo(partial(self._undo_lease, lease, prerequisite, back))
        return list(lease.descriptor)

    def _undo_lease(
        self, lease: Lease, prerequisite: Prerequisite | None, back: Callable[[Lease, Any], object]
    ) -> None:
        if prerequisite in self.transaction.prerequisites:
            self.transaction.prerequisites.remove(prerequisite)  # `back` closes its descriptor
        else:
            lease = lease._replace(introduction=None)  # the other end has mapped the segment by now
        back(lease, self)

    def encode_view(self, value: memoryview) -> list[Any] | None:
        """A view, by lease; None if it has to go in the frame."""
        lease = self.lease(value) if self.may_share(value.nbytes) else None
        return (
            None
            if lease is None
            else [AttachmentKind.VIEW, value.format, list(value.shape or ()), *lease]
        )

    def encode_array(self, value: Any) -> list[Any]:
        """A numpy array, by lease or by copy.

        Raises:
            Unsendable: it is not plain data.
        """
        form = array_layout(value)
        if form is None:
            raise Unsendable("", value, why_no_layout(value))
        value = in_one_piece(value)
        data = array_bytes(value)
        lease = self.lease(value) if self.may_share(value.nbytes) else None
        plain = layout_to_plain(form)
        if lease is not None:
            return [AttachmentKind.ARRAY, plain, *lease]
        return [AttachmentKind.ARRAY_COPY, plain, b"" if data is None else bytes(data)]

    def encode_scalar(self, value: Any) -> list[Any]:
        """A numpy scalar, always by copy.

        Raises:
            Unsendable: it is not plain data.
        """
        plain = scalar_to_plain(value)
        if plain is None:
            raise Unsendable("", value, why_no_layout(value))
        return [AttachmentKind.SCALAR, *plain]

    def encode_buffer(self, value: Buffer) -> list[Any]:
        """A copy of a buffer that the sender keeps, by lease or in the frame."""
        lease = self.lease(value) if self.may_share(len(value)) else None
        return (
            [AttachmentKind.BUFFER_COPY, bytes(value)]
            if lease is None
            else [AttachmentKind.BUFFER, *lease]
        )

    def encode_shared(self, value: SharedBuffer) -> list[Any]:
        """A shared buffer: both ends have the same bytes."""
        if self.kept is not None:
            self.kept.append(value)
            return [AttachmentKind.KEPT, len(self.kept) - 1]
        number = self._send_fds(value, value.duplicate_fds)
        self.modes[Mode.SHARED] += 1
        return [AttachmentKind.SHARED, number]

    def encode_shared_array(self, value: SharedArray) -> list[Any]:
        """A shared array: a layout, and the bytes as a shared buffer."""
        buffer, layout = value.parts
        return [AttachmentKind.SHARED_ARRAY, layout_to_plain(layout), *self.encode_shared(buffer)]

    def _send_fds(self, value: object, make: Callable[[], list[int]]) -> int:
        """Send descriptors before the message; returns the number by which the other end finds them."""
        if not self._may_send_fds:
            raise Unsendable("", value, self._no_descriptors)
        self.transaction.count_descriptors(value)
        self.transaction.need(Prerequisite("fds", [self._sent + 1], make()))
        self._sent += 1
        return self._sent

    def encode_move(self, mark: Move[Any]) -> list[Any]:
        """A marked value; the sender loses it at `commit`.

        Raises:
            Unsendable: values of its kind cannot be moved.
            Moved, StillViewed: it cannot be moved now.
        """
        value = mark.value
        if not self._may_move:
            raise Unsendable("", value, _NOT_MOVED)
        self.transaction.add_moved(value)
        check_move(value)
        if isinstance(value, Buffer):
            return self._move_buffer(value)
        if isinstance(value, bytearray):
            return self._move_bytearray(value)
        return self._move_stream(value) if is_stream(value) else self._move_socket(value)

    def _move_buffer(self, value: Buffer) -> list[Any]:
        size = len(value)
        if self.open and not self.copy_only:
            back = value.return_descriptor(self._mappings, self)
            if back is not None:
                self.modes[Mode.TRANSFER] += 1
                self.bytes_lent += size
                self.transaction.on_commit(partial(value.return_to, self._mappings, self))
                return [AttachmentKind.BUFFER_BACK, *back]
            lease = value.lease_to(self._pool, self)
            if lease is not None:
                self.modes[Mode.TRANSFER] += 1
                self.bytes_lent += size
                return [
                    AttachmentKind.BUFFER,
                    *self._add_lease(lease, partial(value.undo_lease, self._pool)),
                ]
        written = self.encode_buffer(value)
        self.transaction.on_commit(value.free_copied)
        return written

    def _move_bytearray(self, value: bytearray) -> list[Any]:
        lease = self.lease(value) if self.may_share(len(value)) else None
        self.transaction.on_commit(value.clear)
        return [AttachmentKind.BYTEARRAY, *lease] if lease is not None else [0, bytes(value)]

    def _move_socket(self, value: socket.socket) -> list[Any]:
        number = self._send_fds(value, lambda: [os.dup(value.fileno())])
        self.transaction.on_commit(value.close)
        self.modes[Mode.TRANSFER] += 1
        return [
            AttachmentKind.SOCKET,
            number,
            int(value.family),
            int(value.type),
            value.proto,
            value.gettimeout(),
        ]

    def _move_stream(self, value: Any) -> list[Any]:
        sock, unread = stream_parts(value)
        number = self._send_fds(value, lambda: [os.dup(sock.fileno())])
        self.transaction.on_commit(partial(close_moved_stream, value))
        self.modes[Mode.TRANSFER] += 1
        return [AttachmentKind.STREAM, number, int(sock.family), int(sock.type), sock.proto, unread]

    # ------------------------------------------------------------ reading

    def decode(self, parts: Sequence[Any]) -> Any:
        """Rebuild one attachment from the fields of its extension.

        Raises:
            FrameError: it is malformed, or names memory or descriptors that never came; the link ends.
        """
        reader = self._decoders.get(parts[0]) if parts and type(parts[0]) is int else None
        if reader is None:
            raise FrameError(f"there is no such kind of attachment: {parts!r:.80}")
        try:
            return reader(*parts[1:])
        except TypeError as error:
            raise FrameError(f"this attachment has the wrong parts: {parts!r:.80}") from error

    def give_back(self, parts: Sequence[Any]) -> None:
        """Give up what came for an attachment whose message cannot be rebuilt; errors are as in `decode`."""
        if len(parts) > 1 and parts[0] in _BY_DESCRIPTORS:
            close_all(self._take_fds(parts[1]))
        else:
            self.decode(parts)

    def _open_lease(self, lease: Sequence[Any]) -> memoryview:
        return self._mappings.open(self, lease)

    def _shared_array(self, form: Any, kind: Any, number: Any) -> SharedArray:
        if kind not in (AttachmentKind.SHARED, AttachmentKind.KEPT):
            raise FrameError(f"a shared array has shared bytes, got attachment {kind!r:.80}")
        return SharedArray.from_parts(self.decode([kind, number]), layout_from_plain(form))

    def _kept(self, index: Any) -> SharedBuffer:
        if self.kept is None or type(index) is not int or not 0 <= index < len(self.kept):
            raise FrameError(f"no shared buffer is kept under {index!r:.80}")
        return self.kept[index]

    def _socket(
        self, number: Any, family: Any, kind: Any, proto: Any, timeout: Any
    ) -> socket.socket:
        fds = self._take_fds(number)
        fits = [type(part) for part in (family, kind, proto)] == [int] * 3
        patient = timeout is None or (type(timeout) is float and timeout >= 0)
        if len(fds) != 1 or not (fits and patient and stat.S_ISSOCK(os.fstat(fds[0]).st_mode)):
            close_all(fds)
            raise FrameError(f"the descriptor of attachment {number} is not a socket")
        try:
            sock = socket.socket(family, kind, proto, fileno=fds[0])
        except (OSError, OverflowError) as error:
            close_all(fds)
            raise FrameError(f"attachment {number} is not the socket it claims to be") from error
        try:
            sock.settimeout(timeout)
        except OverflowError as error:
            sock.close()
            raise FrameError(f"a socket cannot have a timeout of {timeout} s") from error
        return sock

    def _stream(self, number: Any, family: Any, kind: Any, proto: Any, unread: Any) -> Any:
        sock = self._socket(number, family, kind, proto, 0.0)
        if sock.type != socket.SOCK_STREAM or type(unread) is not bytes:
            sock.close()
            raise FrameError(f"the descriptor of attachment {number} is not a stream socket")
        return stream_from_socket(sock, unread)

    def _take_fds(self, number: Any) -> list[int]:
        fds = self._received_fds.pop(number, None) if type(number) is int else None
        if fds is None:
            raise FrameError(f"the descriptors of attachment {number!r:.80} never came")
        if not fds:
            raise Undecodable(NO_DESCRIPTOR_FREE)
        return fds

    def receive_prerequisite(self, op: str, numbers: Any, fds: list[int]) -> None:
        """Keep descriptors that the other end sent before the message that needs them.

        Args:
            op: "arena" to map a segment, "fds" for the descriptors of an attachment.
            numbers: the layout of the segment, or the number of the attachment.
            fds: the descriptors; owned from here on.

        Raises:
            FrameError: the fields do not fit each other.
        """
        if op == "arena" and len(fds) == 1:
            self._mappings.introduce(self, numbers, fds[0])
            return
        if op != "fds" or type(numbers) is not list or len(numbers) != 1:
            close_all(fds)
            raise FrameError(f"descriptors came for an unknown purpose: {op!r:.80} {numbers!r:.80}")
        number = numbers[0]
        if type(number) is not int or number in self._received_fds:
            close_all(fds)
            raise FrameError(
                f"descriptors came for attachment {number!r:.80}, no number or a used one"
            )
        if len(self._received_fds) >= _MOST_UNCLAIMED:
            close_all(fds)
            raise FrameError(
                f"descriptors of over {_MOST_UNCLAIMED} attachments came, and no message for them"
            )
        self._received_fds[number] = fds

    def lose_prerequisite(self, op: str, numbers: Any) -> list[int]:
        """Record that descriptors came which this process had no number free for.

        The message that needs them cannot be rebuilt.

        Args:
            op: as in `receive_prerequisite`.
            numbers: as there.

        Returns:
            the segments that the other end has to introduce again.

        Raises:
            FrameError: the fields do not fit each other.
        """
        if op == "arena":
            return [self._mappings.lose(self, numbers)]
        self.receive_prerequisite(op, numbers, [])
        return []

    def close_unclaimed_fds(self) -> None:
        """Close descriptors that came for messages which never came."""
        for fds in self._received_fds.values():
            close_all(fds)
        self._received_fds.clear()

    # ------------------------------------------------------------ the end

    def close(self) -> None:
        """End with the link: leases of the other end are no longer returned to it."""
        self.open = False
        self._mappings.forget(self)
        self.close_unclaimed_fds()

    def reclaim(self) -> None:
        """Free the slots leased to the other end; only when it is certain that its process is gone."""
        self._pool.reclaim(self)

    def retire(self, numbers: Sequence[Any]) -> None:
        """Drop segments that the other end has closed."""
        self._mappings.retire(self, numbers)

    def introduce_again(self, numbers: Sequence[Any]) -> None:
        """Send the descriptors of segments once more before they are used: the other end lost them."""
        self._pool.introduce_again(numbers, self)

    def take_retired(self) -> list[int]:
        """Our segments that were closed since the last call and that the other end still has mapped."""
        return self._pool.take_retired(self)

    def release(self, batch: Sequence[Any]) -> None:
        """Free leases that the other end has returned."""
        self._pool.release(batch, self)


def _cast(view: memoryview, form: Any, shape: Any) -> memoryview:
    return view if form == "B" and len(shape) == 1 else view.cast(form, tuple(shape))


def _filled(data: bytes) -> Buffer:
    buffer = Buffer(len(data), zero=False)
    buffer[:] = data
    return buffer
