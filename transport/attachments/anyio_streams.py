"""Giving a socket stream of anyio away: its socket, and the bytes it has read and nobody has had.

The only file that knows the insides of anyio's own streams. One that is not as it is known here is refused.
"""

import os
import socket
from typing import Any, Final

import anyio
from anyio.abc import SocketAttribute, SocketStream

from actors.transport.attachments.moved_stream import MovedStream, MovedUnixStream, arrived
from actors.transport.errors import Moved, StillViewed, Unsendable, shown

__all__ = [
    "check_stream",
    "give_away_stream",
    "is_stream",
    "part_with_stream",
    "put_stream_back",
    "stream_parts",
    "take_stream",
]

_ASYNCIO: Final = "anyio._backends._asyncio"
_TRIO: Final = "anyio._backends._trio"
# By class: whether a transport of the loop has the socket. Else the stream has it and reads nothing ahead.
_KNOWN: Final = {
    (_ASYNCIO, "SocketStream"): True,
    (_ASYNCIO, "UNIXSocketStream"): False,
    (_TRIO, "SocketStream"): False,
    (_TRIO, "UNIXSocketStream"): False,
    (MovedStream.__module__, MovedStream.__qualname__): False,
    (MovedUnixStream.__module__, MovedUnixStream.__qualname__): False,
}
_OTHERWISE: Final = (
    "this version of anyio has other streams; move the socket, before a stream is made of it"
)


def is_stream(value: object) -> bool:
    """Whether this is a stream that can be given away."""
    return (type(value).__module__, type(value).__qualname__) in _KNOWN


def _on_transport(stream: SocketStream) -> bool:
    return _KNOWN[type(stream).__module__, type(stream).__qualname__]


def _insides(stream: Any) -> tuple[Any, Any]:
    """The transport and the protocol of one that has them."""
    return stream._transport, stream._protocol  # noqa: SLF001 - whose file this is


def _raw(stream: Any) -> Any:
    return stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django's


def check_stream(stream: Any) -> None:
    """See that a stream can be given away; changes nothing.

    Raises:
        Unsendable: it is not as it is known here.
        Moved: it is closed, or was moved before.
        StillViewed: a task reads from it or writes to it.
    """
    try:
        closed, unsent = _state(stream)
    except AttributeError as error:
        raise Unsendable("", stream, f"{_OTHERWISE} ({error})") from error
    if closed:
        raise Moved(f"{shown(stream)} is closed, or was moved before")
    try:
        with stream._receive_guard, stream._send_guard:  # noqa: SLF001 - as above
            pass
    except anyio.BusyResourceError as error:
        why = f"a task is using {shown(stream)}; let it finish, then move the stream"
        raise StillViewed(why) from error
    if unsent:
        raise StillViewed(f"bytes of a send that was cancelled are still in {shown(stream)}")


def _state(stream: Any) -> tuple[bool, bool]:
    """Whether it is closed, and whether there is something it has not sent yet."""
    if not _on_transport(stream):
        return _raw(stream).fileno() < 0, False
    transport, protocol = _insides(stream)
    len(protocol.read_queue)
    closed = stream._closed or transport.is_closing()  # noqa: SLF001 - as above
    # uvloop does not count what it has handed to libuv.
    return closed, transport.get_write_buffer_size() > 0 or not protocol.write_event.is_set()


def stream_parts(stream: Any) -> tuple[Any, bytes]:
    """Its socket, and the bytes it has read and nobody has had."""
    return _raw(stream), _unread(stream)


def _unread(stream: Any) -> bytes:
    if _on_transport(stream):
        return b"".join(_insides(stream)[1].read_queue)
    return getattr(stream, "_unread", b"")


def take_stream(stream: Any) -> MovedStream:
    """Take a stream that was checked: another has its socket and its bytes, and it is closed.

    Until it is parted with for good, it can be put back.
    """
    unread = _unread(stream)
    raw = _raw(stream)
    if _on_transport(stream):
        # The loop keeps its own descriptor until then; nothing is read with it.
        if _insides(stream)[0].is_reading():
            _insides(stream)[0].pause_reading()
        _empty(stream)
        return arrived(socket.socket(fileno=os.dup(raw.fileno())), unread)
    _mark(stream, closed=True)
    return arrived(socket.socket(raw.family, raw.type, raw.proto, raw.detach()), unread)


def put_stream_back(stream: Any, taken: MovedStream) -> None:
    """Undo `take_stream`."""
    sock = _raw(taken)
    if _on_transport(stream):
        _fill(stream, _unread(taken))
        sock.close()
        return
    raw = _raw(stream)
    now_is = (sock.family, sock.type, sock.proto)
    socket.socket.__init__(raw, *now_is, fileno=sock.detach())
    raw.setblocking(False)
    _mark(stream, closed=False)


def part_with_stream(stream: Any) -> None:
    """What was taken of it is the receiver's for good."""
    if _on_transport(stream):
        # Not `aclose`: some ends its writing side first, and that is the connection's, not ours.
        _insides(stream)[0].abort()


def give_away_stream(stream: Any) -> None:
    """Close a stream whose socket has gone to another process as a copy of its descriptor."""
    if _on_transport(stream):
        _empty(stream)
        part_with_stream(stream)
    else:
        _mark(stream, closed=True)
        _raw(stream).close()


def _mark(stream: Any, *, closed: bool) -> None:
    # What two of them call it.
    name = "_closing" if hasattr(stream, "_closing") else "_closed"
    setattr(stream, name, closed)


def _empty(stream: Any) -> None:
    """Leave nothing in it; whoever uses it now is told that it is closed."""
    protocol = _insides(stream)[1]
    protocol.read_queue.clear()
    protocol.read_event.set()
    stream._closed = True  # noqa: SLF001 - as above


def _fill(stream: Any, unread: bytes) -> None:
    """Undo `_empty`."""
    protocol = _insides(stream)[1]
    stream._closed = False  # noqa: SLF001 - as above
    if unread:
        protocol.read_queue.append(unread)
    elif not protocol.is_at_eof:
        protocol.read_event.clear()
