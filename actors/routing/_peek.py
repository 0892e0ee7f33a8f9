"""Waiting for a sticky key without consuming a byte.

Rule 1: bytes are looked at with MSG_PEEK; the node reads them all.
Rule 2: no busy loop. Readiness is level-triggered, so after each look SO_RCVLOWAT is raised one
above what is there: the next wake-up means something new, or that the client has ended.
Rule 3: bounded in bytes, in time and in number. Past a bound the connection goes on with what is
known, at most without a key; nobody else waits for it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ._connection import Connection
from ._head import HEAD_LIMIT, NEED_MORE
from ._keys import Key, Peeked
from ._protocols import Loop, Timer

__all__ = ["Peeker"]

_BACK_OFF: Final = 0.02


@dataclass(slots=True, eq=False)
class _Wait:
    connection: Connection
    fd: int
    deadline: Timer
    seen: int
    retry: Timer | None = None


class Peeker:
    """Finds the key of each connection and passes the connection on.

    Args:
        loop: the event loop.
        key: where keys come from.
        found: called once for each connection, its `key` set.
        failed: called with what a user's key raised.
        seconds: how long one connection may take.
        limit: how many may wait; one more, and the oldest goes on without its key.
    """

    def __init__(
        self,
        loop: Loop,
        key: Key,
        *,
        found: Callable[[Connection], None],
        failed: Callable[[Exception], None],
        seconds: float = 2.0,
        limit: int = 1024,
    ) -> None:
        self._loop = loop
        self._key = key
        self._needs_head = key.needs_head
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
            self._back_off(wait)
            return
        complete = nothing_new or len(head) >= HEAD_LIMIT
        if self._decide(wait.connection, head, complete=complete):
            self._pass_on(wait)
        else:
            wait.seen = len(head)
            wait.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wait.seen + 1)

    def _back_off(self, wait: _Wait) -> None:
        """Look again in a while: polling a Unix socket does not honour SO_RCVLOWAT."""
        self._loop.unwatch_readable(wait.fd)
        wait.retry = self._loop.call_later(_BACK_OFF, self._watch, wait)

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
        try:
            key = self._key.extract(Peeked(head, connection.client, complete))
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
