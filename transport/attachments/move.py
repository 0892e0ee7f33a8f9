"""`move(x)`: the mark of a value whose ownership goes to the receiver, and moving within one process.

Rule: a snapshot that finds a mark is made twice: first to check that the whole message can be sent, then to
move. So a message moves all that it marks, or nothing; if it then fails, everything is moved back.
"""

import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

from actors.transport.attachments.anyio_streams import (
    check_stream,
    finish_stream_move,
    is_stream,
    take_stream,
    undo_take_stream,
)
from actors.transport.errors import Moved, StillViewed, Unsendable, short_repr
from actors.transport.memory.buffer import Buffer

__all__ = [
    "CANNOT_LEAVE",
    "NO_DESCRIPTORS",
    "Move",
    "MovePhase",
    "MovesFound",
    "check_move",
    "check_moves",
    "current_phase",
    "finish_moves",
    "move",
    "undo_moves",
]

T = TypeVar("T")
CANNOT_LEAVE: Final = "it cannot leave this machine"
NO_DESCRIPTORS: Final = "sockets and streams can be sent in messages only"
ONE_OWNER: Final = (
    "a moved value has one owner, so it cannot be in a message that is sent more than once"
)


@dataclass(frozen=True, slots=True)
class Move(Generic[T]):
    """Marks a value whose ownership goes to the receiver."""

    value: T


class MovesFound(Exception):
    """A snapshot found a mark: it has to be made twice, by `MovePhase.check_then_move`."""


def move(value: T) -> T:
    """Mark `value` so that the message moves it to the receiver; typed as the value, for signatures.

    A `Buffer`, a bytearray, a socket or a socket stream of anyio can be moved, at any depth of a message.
    Nothing moves before the message is sent, and then all that it moves or nothing. Afterwards a `Buffer`
    raises `Moved`, a bytearray is empty, a socket or stream is closed. Moving a `Buffer` takes the same
    time at any size.
    """
    return cast("T", Move(value))


class MovePhase:
    """How this thread makes its current snapshot: what may be in it, and whether it checks or moves now."""

    def __init__(self) -> None:
        self._marks: list[Move[Any]] | None = None
        self._moving = False
        self._moved: list[tuple[Any, Any]] = []
        self.undoable = False
        """Whether the message waits for room first: what it moves is kept, to be moved back if need be."""
        self.leaves_process = False
        """Whether the message leaves this process: marks stay, and local values are refused."""
        self.leaves_machine = False
        """Whether it leaves this machine: descriptors and shared memory are refused."""
        self.sent_to_many = False
        """Whether it is sent more than once: then nothing can be moved."""
        self.reused = False
        """Whether it is kept and copied again and again: descriptors are refused."""
        self.for_thread = False
        """Whether another thread gets the snapshot: what belongs to a link or to memory is refused."""

    def move(self, mark: Move[Any]) -> Any:
        """What a marked value becomes; None while the message is only checked.

        Raises:
            MovesFound: the snapshot is not made by `check_then_move` yet.
            Unsendable: the value cannot be moved, or not in such a message.
        """
        value = mark.value
        movable = _movable(value)
        if self.sent_to_many:
            raise Unsendable("", value, ONE_OWNER)
        if self.reused and type(value) not in (Buffer, bytearray):
            raise Unsendable("", value, NO_DESCRIPTORS)
        if self.leaves_machine and type(value) not in (Buffer, bytearray):
            raise Unsendable("", value, CANNOT_LEAVE)
        if self._marks is not None:
            self._marks.append(mark)
            return None
        if not self._moving:
            raise MovesFound
        now = movable.take(value)
        self._moved.append((value, now))
        return Move(now) if self.leaves_process else now

    def check_then_move(self, snapshot: Callable[[], T]) -> T:
        """Make a snapshot twice: once to check that everything can be moved, once to move it.

        Raises:
            Moved, StillViewed, Unsendable: nothing was moved.
        """
        self._marks = []
        try:
            snapshot()
            check_moves(self._marks)
            self._marks, self._moving = None, True
            result = snapshot()
        except BaseException:
            undo_moves(self.take_moved())
            raise
        finally:
            self._marks, self._moving = None, False
        if not self.undoable:
            finish_moves(self.take_moved())
        return result

    def take_moved(self) -> list[tuple[Any, Any]]:
        """What was moved since the last call: pairs of the sender's and the receiver's object."""
        moved, self._moved = self._moved, []
        return moved


class _ThreadState(threading.local):
    def __init__(self) -> None:
        self.phase = MovePhase()


_local = _ThreadState()


def current_phase() -> MovePhase:
    """This thread's `MovePhase`, the same object at every call."""
    return _local.phase


def undo_moves(moved: Iterable[tuple[Any, Any]]) -> None:
    """Move everything back to the sender's objects: the message could not be sent."""
    for original, now in moved:
        _movable(original).undo(original, now)


def finish_moves(moved: Iterable[tuple[Any, Any]]) -> None:
    """Release what the sender's objects still hold: the message is sent, and cannot be undone."""
    for original, _ in moved:
        if is_stream(original):
            finish_stream_move(original)


def check_move(value: Any) -> None:
    """Check that `value` can be moved; changes nothing.

    Raises:
        Unsendable: values of its kind cannot be moved.
        Moved: it was moved before.
        StillViewed: a view of a buffer is alive, or a task uses a stream.
    """
    _movable(value).check(value)


def check_moves(moves: Iterable[Move[Any]]) -> None:
    """Check that everything one message moves can be moved; changes nothing.

    Raises:
        Moved: something was moved before, or appears twice.
        StillViewed: a view of a buffer is alive, or a task uses a stream.
    """
    seen: set[int] = set()
    for marked in moves:
        value = marked.value
        if id(value) in seen:
            raise Moved(f"{short_repr(value)} is moved twice in one message")
        seen.add(id(value))
        check_move(value)


# ------------------------------------------------------------ the kinds that can be moved


class _Movable(NamedTuple):
    """How values of one kind are moved."""

    check: Callable[[Any], None]
    take: Callable[[Any], Any]
    undo: Callable[[Any, Any], None]


def _check_bytearray(value: bytearray) -> None:
    try:
        value.append(0)
        value.pop()
    except BufferError as error:
        why = f"views of this bytearray of {len(value)} bytes are alive; release them, then move it"
        raise StillViewed(why) from error


def _take_bytearray(value: bytearray) -> bytearray:
    taken = bytearray(value)
    value.clear()
    return taken


def _undo_take_bytearray(original: bytearray, now: bytearray) -> None:
    original[:] = now


def _check_socket(value: socket.socket) -> None:
    if value.fileno() < 0:
        raise Moved(f"{short_repr(value)} is closed, or was moved before")


def _take_socket(value: socket.socket) -> socket.socket:
    timeout = value.gettimeout()
    sock = socket.socket(value.family, value.type, value.proto, fileno=value.detach())
    sock.settimeout(timeout)
    return sock


def _undo_take_socket(original: socket.socket, now: socket.socket) -> None:
    timeout = now.gettimeout()
    kind = (now.family, now.type, now.proto)
    socket.socket.__init__(original, *kind, fileno=now.detach())
    original.settimeout(timeout)


_MOVABLE: Final[dict[type, _Movable]] = {
    Buffer: _Movable(Buffer.check_move, Buffer.take, Buffer.undo_take),
    bytearray: _Movable(_check_bytearray, _take_bytearray, _undo_take_bytearray),
    socket.socket: _Movable(_check_socket, _take_socket, _undo_take_socket),
}
_STREAM: Final = _Movable(check_stream, take_stream, undo_take_stream)
_STREAM_PACKAGES: Final = frozenset({"anyio", "asyncio", "trio"})


def _movable(value: object) -> _Movable:
    movable = _MOVABLE.get(type(value))
    if movable is not None:
        return movable
    if is_stream(value):
        return _STREAM
    why = "only buffers, bytearrays, sockets and socket streams can be moved"
    if type(value).__module__.partition(".")[0] in _STREAM_PACKAGES:
        why = (
            "only socket streams of anyio can be moved: this one may have bytes, or a state, that would be "
            "lost; move the stream or the socket it is made of, before it is made"
        )
    raise Unsendable("", value, why)
