"""Waits for a connection's sticky key without consuming a byte.

Rule 1: bytes are looked at with MSG_PEEK; the node reads them all.
Rule 2: no busy loop. Readiness is level-triggered, so after each look SO_RCVLOWAT is set to one byte
more than has arrived: the next wake-up means new bytes, or that the client has ended.
Rule 3: bounded in bytes, in time, in number and in looks: a client that sends byte by byte is
looked at ever more rarely. Past a bound the connection is passed on with the key found so far, or
without one; no other connection waits for it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from actors._base.loop import Loop, Timer
from actors.routing.balancer.records import Connection
from actors.routing.sticky.http_head import HEAD_LIMIT, NEED_MORE
from actors.routing.sticky.keys import Key, Peeked
from actors.routing.sticky.proxy_protocol import proxy_header

__all__ = ["Peeker"]

_PATIENCE: Final = 2.0
"""Seconds that one connection may take."""
_SHORTEST_BACK_OFF: Final = 0.02
_FREE_LOOKS: Final = 32
"""Looks at one connection without back-off between them; an honest head takes fewer."""
_LONGEST_BACK_OFF: Final = 0.25
"""Seconds between two looks; the back-off doubles up to this."""


@dataclass(slots=True, eq=False)
class _Peek:
    connection: Connection
    fd: int
    deadline: Timer
    seen: int
    looks: int = 0
    retry: Timer | None = None


class Peeker:
    """Finds the key of each connection and passes the connection on.

    Args:
        loop: the event loop.
        key: where keys come from.
        found: called once for each connection that is not broken, its `key` set.
        failed: called with what a user's key raised.
        limit: how many may wait; when one more comes, the oldest is passed on without its key.
        proxy_protocol: connections begin with a PROXY header, which is hidden from the key.
    """

    def __init__(
        self,
        loop: Loop,
        key: Key,
        *,
        found: Callable[[Connection], None],
        failed: Callable[[Exception], None],
        limit: int,
        proxy_protocol: bool,
    ) -> None:
        self._loop = loop
        self._key = key
        self._proxy_protocol = proxy_protocol
        self._needs_head = key.needs_head or proxy_protocol
        self._found = found
        self._failed = failed
        self._limit = limit
        self._peeks: dict[int, _Peek] = {}

    def __len__(self) -> int:
        return len(self._peeks)

    def add(self, connection: Connection) -> None:
        """Find the key of *connection*, now or as soon as enough has arrived."""
        if not self._needs_head:
            self._extract_key(connection, b"", complete=True)
            self._found(connection)
            return
        head = _peek(connection.sock)
        if head is None:
            connection.sock.close()
        elif self._extract_key(connection, head, complete=len(head) >= HEAD_LIMIT):
            self._found(connection)
        else:
            self._start_peek(connection, len(head))

    def close(self) -> None:
        """Close every connection whose key is still awaited."""
        for peek in list(self._peeks.values()):
            self._end(peek)
            peek.connection.sock.close()

    def _start_peek(self, connection: Connection, seen: int) -> None:
        if len(self._peeks) >= self._limit:
            self._give_up(next(iter(self._peeks)))
        fd = connection.sock.fileno()
        deadline = self._loop.call_later(_PATIENCE, self._give_up, fd)
        peek = _Peek(connection, fd, deadline, seen)
        self._peeks[fd] = peek
        self._watch(peek)

    def _watch(self, peek: _Peek) -> None:
        peek.retry = None
        peek.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, peek.seen + 1)
        self._loop.watch_readable(peek.fd, lambda: self._look(peek))

    def _look(self, peek: _Peek) -> None:
        head = _peek(peek.connection.sock)
        if head is None:
            self._end(peek)
            peek.connection.sock.close()
            return
        nothing_new = len(head) <= peek.seen
        if nothing_new and peek.connection.sock.family == socket.AF_UNIX:
            self._back_off(peek, _SHORTEST_BACK_OFF)  # poll(2) ignores SO_RCVLOWAT on Unix sockets
            return
        complete = nothing_new or len(head) >= HEAD_LIMIT
        if self._extract_key(peek.connection, head, complete=complete):
            self._pass_on(peek)
        else:
            peek.seen = len(head)
            self._resume(peek)

    def _resume(self, peek: _Peek) -> None:
        """Wait for more bytes; after many looks, back off first."""
        peek.looks += 1
        extra = peek.looks - _FREE_LOOKS
        if extra < 0:
            peek.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, peek.seen + 1)
        else:
            self._back_off(peek, min(_LONGEST_BACK_OFF, _SHORTEST_BACK_OFF * 2**extra))

    def _back_off(self, peek: _Peek, seconds: float) -> None:
        """Stop watching the connection for a while."""
        self._loop.unwatch_readable(peek.fd)
        peek.retry = self._loop.call_later(seconds, self._watch, peek)

    def _give_up(self, fd: int) -> None:
        """Pass the connection on with what has arrived."""
        peek = self._peeks[fd]
        self._extract_key(peek.connection, _peek(peek.connection.sock) or b"", complete=True)
        self._pass_on(peek)

    def _pass_on(self, peek: _Peek) -> None:
        self._end(peek)
        peek.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._found(peek.connection)

    def _end(self, peek: _Peek) -> None:
        del self._peeks[peek.fd]
        peek.deadline.cancel()
        if peek.retry is None:
            self._loop.unwatch_readable(peek.fd)
        else:
            peek.retry.cancel()

    def _extract_key(self, connection: Connection, head: bytes, *, complete: bool) -> bool:
        """Set the key if *head* says enough, or is *complete*; return whether it did."""
        peeked = Peeked(head, connection.client, complete)
        if self._proxy_protocol:
            header = proxy_header(head)
            if header is NEED_MORE:
                return complete
            if header is None:
                return True  # the node closes it
            client = header.client
            peeked = Peeked(head[header.length :], client or peeked.client, complete, client)
        try:
            key = self._key.extract(peeked)
        except Exception as error:  # noqa: BLE001 - a user's key must not stop the router
            self._failed(error)
            return True
        if key is NEED_MORE:
            return complete
        connection.key = key
        return True


def _peek(sock: socket.socket) -> bytes | None:
    """Return what has arrived, up to the limit; None if the connection is broken."""
    try:
        return sock.recv(HEAD_LIMIT, socket.MSG_PEEK)
    except BlockingIOError:
        return b""
    except OSError:
        return None
