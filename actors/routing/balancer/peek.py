"""Waiting for a sticky key without consuming a byte.

Rule 1: bytes are looked at with MSG_PEEK; the node reads them all.
Rule 2: no busy loop. Readiness is level-triggered, so after each look SO_RCVLOWAT is raised one
above what is there: the next wake-up means something new, or that the client has ended.
Rule 3: bounded in bytes, in time, in number and in looks: a client that sends byte by byte is
looked at ever more rarely. Past a bound the connection goes on with what is known, at most without
a key; nobody else waits for it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from actors.routing.balancer.records import Connection
from actors.routing.interfaces import RouterLoop, RouterTimer
from actors.routing.sticky.http_head import HEAD_LIMIT, NEED_MORE
from actors.routing.sticky.keys import Key, Peeked
from actors.routing.sticky.proxy_protocol import proxy_header

__all__ = ["Peeker"]

_BACK_OFF: Final = 0.02
_PATIENT_LOOKS: Final = 32
"""Looks at one connection as soon as there is something new; an honest head takes fewer."""
_LONGEST_REST: Final = 0.25
"""Seconds between two looks at a client that has used them up: twice as long each time, to this."""


@dataclass(slots=True, eq=False)
class _Wait:
    connection: Connection
    fd: int
    deadline: RouterTimer
    seen: int
    looks: int = 0
    retry: RouterTimer | None = None


class Peeker:
    """Finds the key of each connection and passes the connection on.

    Args:
        loop: the event loop.
        key: where keys come from.
        found: called once for each connection, its `key` set.
        failed: called with what a user's key raised.
        seconds: how long one connection may take.
        limit: how many may wait; one more, and the oldest goes on without its key.
        proxied: connections begin with a PROXY header, which the key does not get to see.
    """

    def __init__(
        self,
        loop: RouterLoop,
        key: Key,
        *,
        found: Callable[[Connection], None],
        failed: Callable[[Exception], None],
        seconds: float = 2.0,
        limit: int = 1024,
        proxied: bool = False,
    ) -> None:
        self._loop = loop
        self._key = key
        self._proxied = proxied
        self._needs_head = key.needs_head or proxied
        self._found = found
        self._failed = failed
        self._seconds = seconds
        self._limit = limit
        self._waits: dict[int, _Wait] = {}

    def __len__(self) -> int:
        return len(self._waits)

    def add(self, connection: Connection) -> None:
        """Find the key of *connection*, now or as soon as enough has arrived."""
        if not self._needs_head:
            self._decide(connection, b"", complete=True)
            self._found(connection)
            return
        head = _peek(connection.sock)
        if head is None:
            connection.close()
        elif self._decide(connection, head, complete=len(head) >= HEAD_LIMIT):
            self._found(connection)
        else:
            self._wait(connection, len(head))

    def close(self) -> None:
        """Close all that wait."""
        for wait in list(self._waits.values()):
            self._end(wait)
            wait.connection.close()

    def _wait(self, connection: Connection, seen: int) -> None:
        if len(self._waits) >= self._limit:
            self._give_up(next(iter(self._waits)))
        fd = connection.sock.fileno()
        deadline = self._loop.call_later(self._seconds, self._give_up, fd)
        wait = _Wait(connection, fd, deadline, seen)
        self._waits[fd] = wait
        self._watch(wait)

    def _watch(self, wait: _Wait) -> None:
        wait.retry = None
        wait.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wait.seen + 1)
        self._loop.watch_readable(wait.fd, lambda: self._look(wait))

    def _look(self, wait: _Wait) -> None:
        head = _peek(wait.connection.sock)
        if head is None:
            self._end(wait)
            wait.connection.close()
            return
        nothing_new = len(head) <= wait.seen
        if nothing_new and wait.connection.sock.family == socket.AF_UNIX:
            self._rest(wait, _BACK_OFF)  # polling a Unix socket does not honour SO_RCVLOWAT
            return
        complete = nothing_new or len(head) >= HEAD_LIMIT
        if self._decide(wait.connection, head, complete=complete):
            self._pass_on(wait)
        else:
            wait.seen = len(head)
            self._go_on(wait)

    def _go_on(self, wait: _Wait) -> None:
        """Wait for more, the longer the more often there was too little."""
        wait.looks += 1
        extra = wait.looks - _PATIENT_LOOKS
        if extra < 0:
            wait.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wait.seen + 1)
        else:
            self._rest(wait, min(_LONGEST_REST, _BACK_OFF * 2**extra))

    def _rest(self, wait: _Wait, seconds: float) -> None:
        """Do not look for a while."""
        self._loop.unwatch_readable(wait.fd)
        wait.retry = self._loop.call_later(seconds, self._watch, wait)

    def _give_up(self, fd: int) -> None:
        """Go on with what has arrived."""
        wait = self._waits[fd]
        self._decide(wait.connection, _peek(wait.connection.sock) or b"", complete=True)
        self._pass_on(wait)

    def _pass_on(self, wait: _Wait) -> None:
        self._end(wait)
        wait.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._found(wait.connection)

    def _end(self, wait: _Wait) -> None:
        del self._waits[wait.fd]
        wait.deadline.cancel()
        if wait.retry is None:
            self._loop.unwatch_readable(wait.fd)
        else:
            wait.retry.cancel()

    def _decide(self, connection: Connection, head: bytes, *, complete: bool) -> bool:
        """Set the key if that can be decided; return whether it could."""
        peeked = Peeked(head, connection.client, complete)
        if self._proxied:
            header = proxy_header(head)
            if header is NEED_MORE:
                return complete
            if header is None:
                return True  # for the node to refuse
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
