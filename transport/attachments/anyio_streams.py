"""Moving a socket stream of anyio: its socket, and the bytes it has read that nobody has received.

The only file that uses private attributes of anyio's streams; a stream without them is refused.
"""

import os
import socket
from typing import Any, Final

import anyio
from anyio.abc import SocketAttribute, SocketStream

from actors.transport.attachments.moved_stream import (
    MovedStream,
    MovedUnixStream,
    stream_from_socket,
)
from actors.transport.errors import Moved, StillViewed, Unsendable, short_repr

__all__ = [
    "check_stream",
    "close_moved_stream",
    "finish_stream_move",
    "is_stream",
    "stream_parts",
    "take_stream",
    "undo_take_stream",
]

_ASYNCIO: Final = "anyio._backends._asyncio"
_TRIO: Final = "anyio._backends._trio"
# By class: whether a transport of the loop has the socket. If not, the stream has it and reads nothing ahead.
_KNOWN: Final = {
    (_ASYNCIO, "SocketStream"): True,
    # What has the same attributes.
    ("actors.routing.serving.connection_stream", "ConnectionStream"): True,
    (_ASYNCIO, "UNIXSocketStream"): False,
    (_TRIO, "SocketStream"): False,
    (_TRIO, "UNIXSocketStream"): False,
    (MovedStream.__module__, MovedStream.__qualname__): False,
    (MovedUnixStream.__module__, MovedUnixStream.__qualname__): False,
}
_UNKNOWN_STREAM: Final = (
    "this version of anyio has other streams than expected; move the socket instead"
)


def is_stream(value: object) -> bool:
    """Whether this is a stream of a kind that can be moved."""
    return (type(value).__module__, type(value).__qualname__) in _KNOWN


def _uses_transport(stream: SocketStream) -> bool:
    return _KNOWN[type(stream).__module__, type(stream).__qualname__]


def _transport_and_protocol(stream: Any) -> tuple[Any, Any]:
    """The transport and the protocol of a stream that has them."""
    return stream._transport, stream._protocol  # noqa: SLF001 - whose file this is


def _socket_of(stream: Any) -> Any:
    return stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django's


def check_stream(stream: Any) -> None:
    """Check that a stream can be moved; changes nothing.

    Raises:
        Unsendable: it does not have the private attributes that this file expects of anyio's streams.
        Moved: it is closed, or was moved before.
        StillViewed: a task reads from it or writes to it.
    """
    try:
        closed, unsent = _closed_and_unsent(stream)
    except AttributeError as error:
        raise Unsendable("", stream, f"{_UNKNOWN_STREAM} ({error})") from error
    if closed:
        raise Moved(f"{short_repr(stream)} is closed, or was moved before")
    try:
        with stream._receive_guard, stream._send_guard:  # noqa: SLF001 - as above
            pass
    except anyio.BusyResourceError as error:
        why = f"a task is using {short_repr(stream)}; let it finish, then move the stream"
        raise StillViewed(why) from error
    if unsent:
        raise StillViewed(f"bytes of a send that was cancelled are still in {short_repr(stream)}")


def _closed_and_unsent(stream: Any) -> tuple[bool, bool]:
    """Whether it is closed, and whether it has bytes that are not sent yet."""
    if not _uses_transport(stream):
        return _socket_of(stream).fileno() < 0, False
    transport, protocol = _transport_and_protocol(stream)
    len(protocol.read_queue)
    closed = stream._closed or transport.is_closing()  # noqa: SLF001 - as above
    # uvloop does not count what it has handed to libuv.
    return closed, transport.get_write_buffer_size() > 0 or not protocol.write_event.is_set()


def stream_parts(stream: Any) -> tuple[Any, bytes]:
    """Its socket, and the bytes it has read that nobody has received."""
    return _socket_of(stream), _unread(stream)


def _unread(stream: Any) -> bytes:
    if _uses_transport(stream):
        return b"".join(_transport_and_protocol(stream)[1].read_queue)
    return getattr(stream, "_unread", b"")


def take_stream(stream: Any) -> MovedStream:
    """Move a checked stream to a new one, which gets its socket and its bytes; the old one is closed.

    `undo_take_stream` can undo this until `finish_stream_move`.
    """
    unread = _unread(stream)
    raw = _socket_of(stream)
    if _uses_transport(stream):
        # The loop keeps its own descriptor until `finish_stream_move`, and does not read from it.
        if _transport_and_protocol(stream)[0].is_reading():
            _transport_and_protocol(stream)[0].pause_reading()
        _detach(stream)
        return stream_from_socket(socket.socket(fileno=os.dup(raw.fileno())), unread)
    _set_closed(stream, closed=True)
    return stream_from_socket(socket.socket(raw.family, raw.type, raw.proto, raw.detach()), unread)


def undo_take_stream(stream: Any, taken: MovedStream) -> None:
    """Undo `take_stream`."""
    sock = _socket_of(taken)
    if _uses_transport(stream):
        _reattach(stream, _unread(taken))
        sock.close()
        return
    raw = _socket_of(stream)
    now_is = (sock.family, sock.type, sock.proto)
    socket.socket.__init__(raw, *now_is, fileno=sock.detach())
    raw.setblocking(False)
    _set_closed(stream, closed=False)


def finish_stream_move(stream: Any) -> None:
    """Release what a taken stream still holds; it cannot be undone any more."""
    if _uses_transport(stream):
        # Not `aclose`: on some loops it sends an end of file, on a connection that is not ours any more.
        _transport_and_protocol(stream)[0].abort()


def close_moved_stream(stream: Any) -> None:
    """Close a stream whose socket was sent to another process as a duplicated descriptor."""
    if _uses_transport(stream):
        _detach(stream)
        finish_stream_move(stream)
    else:
        _set_closed(stream, closed=True)
        _socket_of(stream).close()


def _set_closed(stream: Any, *, closed: bool) -> None:
    # Which of the two names it is depends on the class.
    name = "_closing" if hasattr(stream, "_closing") else "_closed"
    setattr(stream, name, closed)


def _detach(stream: Any) -> None:
    """Empty it; whoever uses it now gets the error of a closed stream."""
    protocol = _transport_and_protocol(stream)[1]
    protocol.read_queue.clear()
    protocol.read_event.set()
    stream._closed = True  # noqa: SLF001 - as above


def _reattach(stream: Any, unread: bytes) -> None:
    """Undo `_detach`."""
    protocol = _transport_and_protocol(stream)[1]
    stream._closed = False  # noqa: SLF001 - as above
    if unread:
        protocol.read_queue.append(unread)
    elif not protocol.is_at_eof:
        protocol.read_event.clear()
