"""What one link carries beside its frames: shared memory by number, and descriptors.

Rule 1: what a message needs goes just ahead of it, in its lane: an arena to map, a descriptor.
Rule 2: until the message is on its way everything can be undone; `commit` or `undo` ends each.
Rule 3: a message moves all that it moves, or nothing: what it gives away goes with `commit`.
"""

import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from functools import partial
from typing import Any, Final

from actors.transport.attachments.anyio_streams import give_away_stream, is_stream, stream_parts
from actors.transport.attachments.mode import Mode, Thresholds, choose_mode, payload_bytes
from actors.transport.attachments.move import NO_DESCRIPTORS, Move, check_move
from actors.transport.attachments.moved_stream import arrived
from actors.transport.attachments.transaction import MOST_DESCRIPTORS, Prerequisite, SendTransaction
from actors.transport.errors import FrameError, Unsendable
from actors.transport.memory.buffer import Buffer
from actors.transport.memory.lease import Lease
from actors.transport.memory.mapping import SegmentMappings
from actors.transport.memory.pool import SegmentPool
from actors.transport.memory.shared_buffer import SharedBuffer
from actors.transport.memory.thread_pool import arenas_here
from actors.transport.types.numpy import (
    NOT_PLAIN,
    array_bytes,
    array_form,
    form_of,
    plain_form,
    rebuild_array,
)
from actors.transport.wire.outbox import close_all

__all__ = ["AttachmentKind", "Attachments"]

_NOT_GIVEN: Final = "only what is sent, replied or streamed is given away; in here it is copied"


def _nothing(*_args: object) -> None:
    """There is no link to tell."""


class AttachmentKind(IntEnum):
    """What a piece of cargo is; the first field of its extension."""

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


class Attachments:
    """One link's cargo, both ways; also what identifies the other end to arenas and mappings.

    Args:
        arenas: the memory this node lends.
        mappings: what it has mapped of others.
        sizes: from which sizes on shared memory is used.
        wanted: called when shared memory was wanted and not there: `SegmentPool.warm` has something to do.
        linked: whether there is or will be a link, so that descriptors can go over it.
    """

    def __init__(
        self,
        arenas: SegmentPool,
        mappings: SegmentMappings,
        *,
        sizes: Thresholds | None = None,
        wanted: Callable[[], object] = _nothing,
        linked: bool = True,
    ) -> None:
        self._wanted = wanted
        self._arenas = arenas
        self._mappings = mappings
        self.sizes = sizes or Thresholds()
        self.open = False
        """Whether descriptors can be sent now; until then everything is copied."""
        self.copying = not linked
        """Whether only copies travel just now: in errors, in what is no message, without a link."""
        self._giving = True
        self.load = SendTransaction()
        self.modes: dict[Mode, int] = dict.fromkeys(Mode, 0)
        """How many payloads went each way."""
        self.lent = 0
        """How many bytes went beside the frames."""
        self._sent = 0
        self._arrived: dict[int, list[int]] = {}
        self._readers: dict[int, Callable[..., Any]] = {
            AttachmentKind.BYTES: lambda *lease: bytes(self._view(lease)),
            AttachmentKind.BYTEARRAY: lambda *lease: bytearray(self._view(lease)),
            AttachmentKind.VIEW: lambda form, shape, *lease: _cast(self._view(lease), form, shape),
            AttachmentKind.ARRAY: lambda form, *lease: rebuild_array(
                self._view(lease), form_of(form)
            ),
            AttachmentKind.ARRAY_COPY: lambda form, data: rebuild_array(
                memoryview(data), form_of(form)
            ),
            AttachmentKind.BUFFER: lambda *lease: Buffer.arrived(mappings, self, lease),
            AttachmentKind.BUFFER_COPY: _filled,
            AttachmentKind.BUFFER_BACK: lambda *lease: Buffer.came_back(arenas, self, lease),
            AttachmentKind.SHARED: lambda number: SharedBuffer.arrived(self._claim(number)),
            AttachmentKind.SOCKET: self._socket,
            AttachmentKind.STREAM: self._stream,
        }

    @classmethod
    def none(cls) -> "Attachments":
        """The cargo of an encoder or decoder without a link: everything is copied."""
        return cls(arenas_here(), SegmentMappings(), linked=False)

    @contextmanager
    def only_copies(self) -> Iterator[None]:
        """Let nothing travel in here but by copy."""
        before = self.copying, self._giving
        self.copying, self._giving = True, False
        try:
            yield
        finally:
            self.copying, self._giving = before

    # ------------------------------------------------------------ writing

    def big(self, size: int) -> bool:
        """Whether a payload of so many bytes may go another way than into the frame."""
        return size >= self.sizes.share and self.open and not self.copying

    def lease(self, value: Any) -> list[int] | None:
        """Copy a payload into shared memory for the other end; None if it is to be copied instead."""
        data = payload_bytes(value)
        if data is None:
            return None
        # Released for certain: a frame that an exception keeps would keep a bytearray's size fixed.
        with data:
            lease = self._lease(value, data)
        if lease is None:
            self.modes[Mode.COPY] += 1
            return None
        self.modes[Mode.LEASE] += 1
        self.lent += lease.descriptor.length
        return self._lend(lease, self._arenas.cancel)

    def _lease(self, value: Any, data: memoryview) -> Lease | None:
        size = len(data)
        room = self._arenas.room(size, self)
        mode = choose_mode(value, same_process=False, room=room, sizes=self.sizes)
        if mode is Mode.LEASE:
            return self._arenas.lease(data, self, cold=size > self.sizes.frame)
        if mode is Mode.COPY:
            self._wanted()
            return self._arenas.lease(data, self)  # refused, but noted: warm the next time
        return None

    def _lend(self, lease: Lease, back: Callable[[Lease, Any], object]) -> list[int]:
        ahead = None
        if lease.introduction is not None:
            plan, fd = lease.introduction
            ahead = Prerequisite("arena", list(plan), [fd])
            self.load.ahead.append(ahead)
        self.load.on_undo(partial(self._take_back, lease, ahead, back))
        return list(lease.descriptor)

    def _take_back(
        self, lease: Lease, ahead: Prerequisite | None, back: Callable[[Lease, Any], object]
    ) -> None:
        if ahead in self.load.ahead:
            self.load.ahead.remove(ahead)  # whoever takes it back closes its descriptor
        else:
            lease = lease._replace(introduction=None)  # the other end knows the arena by now
        back(lease, self)

    def view(self, value: memoryview) -> list[Any] | None:
        """A big view by lease."""
        lease = self.lease(value) if self.big(value.nbytes) else None
        return (
            None
            if lease is None
            else [AttachmentKind.VIEW, value.format, list(value.shape or ()), *lease]
        )

    def array(self, value: Any) -> list[Any]:
        """A numpy array, by lease or by copy.

        Raises:
            Unsendable: it is not in one piece of plain data.
        """
        form, data = array_form(value), array_bytes(value)
        if form is None or (data is None and value.nbytes):
            raise Unsendable("", value, NOT_PLAIN)
        lease = self.lease(value) if self.big(value.nbytes) else None
        plain = plain_form(form)
        if lease is not None:
            return [AttachmentKind.ARRAY, plain, *lease]
        return [AttachmentKind.ARRAY_COPY, plain, b"" if data is None else bytes(data)]

    def buffer(self, value: Buffer) -> list[Any]:
        """A buffer that stays: the other end gets one of its own."""
        lease = self.lease(value) if self.big(len(value)) else None
        return (
            [AttachmentKind.BUFFER_COPY, bytes(value)]
            if lease is None
            else [AttachmentKind.BUFFER, *lease]
        )

    def shared(self, value: SharedBuffer) -> list[Any]:
        """The same bytes for both ends."""
        number = self._send_fds(value, value.fds)
        self.modes[Mode.SHARED] += 1
        return [AttachmentKind.SHARED, number]

    def _send_fds(self, value: object, make: Callable[[], list[int]]) -> int:
        """Have descriptors sent ahead; return the number by which the other end finds them."""
        if self.copying:
            raise Unsendable("", value, NO_DESCRIPTORS)
        self.load.count(value)
        self.load.ahead.append(Prerequisite("fds", [self._sent + 1], make()))
        self._sent += 1
        return self._sent

    def move(self, mark: Move[Any]) -> list[Any]:
        """What is given away, when the message is on its way.

        Raises:
            Unsendable: this is nothing that can be given away.
            Moved, StillViewed: it cannot be now.
        """
        value = mark.value
        if not self._giving:
            raise Unsendable("", value, _NOT_GIVEN)
        self.load.claim(value)
        check_move(value)
        if isinstance(value, Buffer):
            return self._move_buffer(value)
        if isinstance(value, bytearray):
            return self._move_bytearray(value)
        return self._move_stream(value) if is_stream(value) else self._move_socket(value)

    def _move_buffer(self, value: Buffer) -> list[Any]:
        size = len(value)
        if self.open and not self.copying:
            back = value.way_back(self._mappings, self)
            if back is not None:
                self.modes[Mode.TRANSFER] += 1
                self.lent += size
                self.load.on_commit(partial(value.return_to, self._mappings, self))
                return [AttachmentKind.BUFFER_BACK, *back]
            lease = value.lease_to(self._arenas, self)
            if lease is not None:
                self.modes[Mode.TRANSFER] += 1
                self.lent += size
                return [
                    AttachmentKind.BUFFER,
                    *self._lend(lease, partial(value.stay, self._arenas)),
                ]
        written = self.buffer(value)
        self.load.on_commit(value.let_go)
        return written

    def _move_bytearray(self, value: bytearray) -> list[Any]:
        lease = self.lease(value) if self.big(len(value)) else None
        self.load.on_commit(value.clear)
        return [AttachmentKind.BYTEARRAY, *lease] if lease is not None else [0, bytes(value)]

    def _move_socket(self, value: socket.socket) -> list[Any]:
        number = self._send_fds(value, lambda: [os.dup(value.fileno())])
        self.load.on_commit(value.close)
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
        self.load.on_commit(partial(give_away_stream, value))
        self.modes[Mode.TRANSFER] += 1
        return [AttachmentKind.STREAM, number, int(sock.family), int(sock.type), sock.proto, unread]

    # ------------------------------------------------------------ reading

    def read(self, parts: Sequence[Any]) -> Any:
        """Rebuild one piece of cargo from the fields of its extension.

        Raises:
            FrameError: it names what is not there; the link ends.
        """
        reader = self._readers.get(parts[0]) if parts and type(parts[0]) is int else None
        if reader is None:
            raise FrameError(f"no cargo is like {parts!r:.80}")
        try:
            return reader(*parts[1:])
        except TypeError as error:
            raise FrameError(f"this cargo has the wrong parts: {parts!r:.80}") from error

    def _view(self, lease: Sequence[Any]) -> memoryview:
        return self._mappings.open(self, lease)

    def _socket(
        self, number: Any, family: Any, kind: Any, proto: Any, timeout: Any
    ) -> socket.socket:
        fds = self._claim(number)
        fits = [type(part) for part in (family, kind, proto)] == [int] * 3
        patient = timeout is None or (type(timeout) is float and timeout >= 0)
        if len(fds) != 1 or not (fits and patient and stat.S_ISSOCK(os.fstat(fds[0]).st_mode)):
            close_all(fds)
            raise FrameError(f"what came as number {number} is no socket")
        try:
            sock = socket.socket(family, kind, proto, fileno=fds[0])
        except (OSError, OverflowError) as error:
            close_all(fds)
            raise FrameError(f"what came as number {number} is another socket") from error
        try:
            sock.settimeout(timeout)
        except OverflowError as error:
            sock.close()
            raise FrameError(f"no socket has a timeout of {timeout} s") from error
        return sock

    def _stream(self, number: Any, family: Any, kind: Any, proto: Any, unread: Any) -> Any:
        sock = self._socket(number, family, kind, proto, 0.0)
        if sock.type != socket.SOCK_STREAM or type(unread) is not bytes:
            sock.close()
            raise FrameError(f"what came as number {number} is no stream")
        return arrived(sock, unread)

    def _claim(self, number: Any) -> list[int]:
        fds = self._arrived.pop(number, None) if type(number) is int else None
        if fds is None:
            raise FrameError(f"the descriptors of cargo {number!r:.80} never came")
        return fds

    def came(self, op: str, numbers: Any, fds: list[int]) -> None:
        """Take what came ahead of a message.

        Raises:
            FrameError: it is not what it says.
        """
        if op == "arena" and len(fds) == 1:
            self._mappings.introduce(self, numbers, fds[0])
            return
        if op != "fds" or type(numbers) is not list or len(numbers) != 1:
            close_all(fds)
            raise FrameError(f"descriptors came for {op!r:.80} {numbers!r:.80}")
        number = numbers[0]
        if type(number) is not int or number in self._arrived:
            close_all(fds)
            raise FrameError(f"descriptors came as number {number!r:.80}, which is none")
        if len(self._arrived) >= MOST_DESCRIPTORS:
            close_all(fds)
            raise FrameError(f"over {MOST_DESCRIPTORS} descriptors wait for one message")
        self._arrived[number] = fds

    def drop_arrived(self) -> None:
        """A message could not be rebuilt: nobody will ask for what came ahead of it."""
        for fds in self._arrived.values():
            close_all(fds)
        self._arrived.clear()

    # ------------------------------------------------------------ the end

    def close(self) -> None:
        """The link is at its end: nothing of the other end's is given back any more."""
        self.open = False
        self._mappings.forget(self)
        self.drop_arrived()

    def reclaim(self) -> None:
        """The process at the other end is gone for certain: what it had is free."""
        self._arenas.reclaim(self)

    def retire(self, numbers: Sequence[Any]) -> None:
        """The other end has closed some arenas."""
        self._mappings.retire(self, numbers)

    def retired(self) -> list[int]:
        """Our own arenas that the other end knows and that are closed since the last call."""
        return self._arenas.retired(self)

    def give_back(self, batch: Sequence[Any]) -> None:
        """The other end needs some leases no more."""
        self._arenas.give_back(batch, self)


def _cast(view: memoryview, form: Any, shape: Any) -> memoryview:
    return view if form == "B" and len(shape) == 1 else view.cast(form, tuple(shape))


def _filled(data: bytes) -> Buffer:
    buffer = Buffer(len(data), zero=False)
    buffer[:] = data
    return buffer
