"""`move(x)`: the mark of a value whose ownership goes to the receiver, and moving within one process.

Rule: a message that moves anything is gone through twice here: once to see that all of it can be sent,
and once to move. So it moves all that it moves, or nothing; what then fails is given back.
"""

import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

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
    "NO_DESCRIPTORS",
    "Move",
    "MovePhase",
    "MovesFound",
    "check_move",
    "check_moves",
    "current_phase",
    "finish_moves",
    "move",
    "move_marked",
    "undo_moves",
]

T = TypeVar("T")
NO_DESCRIPTORS: Final = "sockets and shared buffers travel in messages, and in nothing else"
ONE_OWNER: Final = "what is sent more than once cannot be moved: a moved thing has one owner"


@dataclass(frozen=True, slots=True)
class Move(Generic[T]):
    """Marks a value that the sender gives away."""

    value: T


class MovesFound(Exception):
    """A message moves something: it is to be gone through twice."""


def move(value: T) -> T:
    """Mark `value` to be given away with the message; typed as what it carries, for signatures.

    A `Buffer`, a bytearray, a socket or a socket stream of anyio can be moved, at any depth of a message.
    Nothing moves before the message is sent, and then all that it moves or nothing. A `Buffer` costs the
    same at any size and raises `Moved` afterwards, a bytearray is empty, a socket or stream closed.
    """
    return cast("T", Move(value))


class MovePhase:
    """Which pass a message that moves something within this process is in."""

    def __init__(self) -> None:
        self._marks: list[Move[Any]] | None = None
        self._moving = False
        self._moved: list[tuple[Any, Any]] = []
        self.undoable = False
        """Whether the message has to wait for room: what moves is noted, to be given back if need be."""
        self.leaves_process = False
        """Whether it leaves_process this process after that: marks stay, and local values are refused."""
        self.sent_to_many = False
        """Whether it is sent more than once: then nothing is moved."""
        self.reused = False
        """Whether it is kept, to be copied again and again: descriptors are not."""
        self.for_thread = False
        """Whether another thread gets the copy itself: what belongs to a link or to memory is refused."""

    def visit(self, mark: Move[Any]) -> bool:
        """Take note of a mark; return whether it is to be moved now.

        Raises:
            MovesFound: neither pass has begun.
            Unsendable: this is nothing that can be given away.
        """
        if _check_of(mark.value) is None:
            raise Unsendable("", mark.value, _why_not(mark.value))
        if self.sent_to_many:
            raise Unsendable("", mark.value, ONE_OWNER)
        if self.reused and type(mark.value) not in (Buffer, bytearray):
            raise Unsendable("", mark.value, NO_DESCRIPTORS)
        if self._marks is not None:
            self._marks.append(mark)
        elif not self._moving:
            raise MovesFound
        return self._moving

    def record(self, original: Any, now: Any) -> None:
        """*original* has been moved, and is *now* this."""
        self._moved.append((original, now))

    def check_then_move(self, step: Callable[[], T]) -> T:
        """Take *step* once to check and once to move.

        Raises:
            Moved, StillViewed, Unsendable: nothing was moved.
        """
        self._marks = []
        try:
            step()
            check_moves(self._marks)
            self._marks, self._moving = None, True
            result = step()
        except BaseException:
            undo_moves(self.take_moved())
            raise
        finally:
            self._marks, self._moving = None, False
        if not self.undoable:
            finish_moves(self.take_moved())
        return result

    def take_moved(self) -> list[tuple[Any, Any]]:
        """What was moved since the last call: each as it was and as it is now."""
        moved, self._moved = self._moved, []
        return moved


class _ThreadState(threading.local):
    def __init__(self) -> None:
        self.phase = MovePhase()


_local = _ThreadState()


def current_phase() -> MovePhase:
    """The phase of the message this thread is taking a snapshot of."""
    return _local.phase


def move_marked(mark: Move[Any]) -> Any:
    """What a marked value becomes within this process."""
    phase = _local.phase
    if not phase.visit(mark):
        return None
    value = mark.value
    now = _take(value)
    phase.record(value, now)
    return Move(now) if phase.leaves_process else now


def _take(value: Any) -> Any:
    if isinstance(value, Buffer):
        return value.take()
    if isinstance(value, bytearray):
        taken = bytearray(value)
        value.clear()
        return taken
    if is_stream(value):
        return take_stream(value)
    timeout = value.gettimeout()
    sock = socket.socket(value.family, value.type, value.proto, fileno=value.detach())
    sock.settimeout(timeout)
    return sock


def undo_moves(moved: Iterable[tuple[Any, Any]]) -> None:
    """Give what was moved back to where it was: the message could not be sent after all."""
    for original, now in moved:
        if isinstance(original, Buffer):
            original.undo_take(now)
        elif isinstance(original, bytearray):
            original[:] = now
        elif is_stream(original):
            undo_take_stream(original, now)
        else:
            timeout = now.gettimeout()
            now_is = (now.family, now.type, now.proto)
            socket.socket.__init__(original, *now_is, fileno=now.detach())
            original.settimeout(timeout)


def finish_moves(moved: Iterable[tuple[Any, Any]]) -> None:
    """What was moved is the receiver's for good."""
    for original, _ in moved:
        if is_stream(original):
            finish_stream_move(original)


def _check_bytearray(value: bytearray) -> None:
    try:
        value.append(0)
        value.pop()
    except BufferError as error:
        why = f"views of this bytearray of {len(value)} bytes are alive; release them, then move it"
        raise StillViewed(why) from error


def _check_socket(value: socket.socket) -> None:
    if value.fileno() < 0:
        raise Moved(f"{short_repr(value)} is closed, or was moved before")


_CHECKS: Final[dict[type, Callable[[Any], None]]] = {
    Buffer: Buffer.check_move,
    bytearray: _check_bytearray,
    socket.socket: _check_socket,
}


def _check_of(value: object) -> Callable[[Any], None] | None:
    check = _CHECKS.get(type(value))
    return check_stream if check is None and is_stream(value) else check


_STREAMS: Final = frozenset({"anyio", "asyncio", "trio"})


def _why_not(value: object) -> str:
    if type(value).__module__.partition(".")[0] in _STREAMS:
        return (
            "only socket streams of anyio can be moved: this one may have bytes, or a state, that would be "
            "lost; move the stream or the socket it is made of, before it is made"
        )
    return "only buffers, bytearrays, sockets and socket streams can be moved"


def check_move(value: Any) -> None:
    """See that `value` can be moved; changes nothing.

    Raises:
        Unsendable: it is of no kind that can be.
        Moved: it was moved before.
        StillViewed: somebody still looks at a buffer, or uses a stream.
    """
    check = _check_of(value)
    if check is None:
        raise Unsendable("", value, _why_not(value))
    check(value)


def check_moves(moves: Iterable[Move[Any]]) -> None:
    """See that everything one message moves can be moved; changes nothing.

    Raises:
        Moved: something was moved before, or appears twice.
        StillViewed: somebody still looks at a buffer.
    """
    seen: set[int] = set()
    for marked in moves:
        value = marked.value
        if id(value) in seen:
            raise Moved(f"{short_repr(value)} is moved twice in one message")
        seen.add(id(value))
        check_move(value)
