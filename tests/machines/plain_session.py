"""A connection without encryption that offers what is used of a `TlsSession`, and can be cut."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any


class PlainSession:
    """One end of a socketpair."""

    owes = False

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.cut = False
        """Whether all that comes and goes is lost."""
        sock.setblocking(False)

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, data: Any) -> int:
        return len(data) if self.cut else self._sock.send(data)

    def push(self) -> None:
        """Nothing is kept."""

    def recvmsg_into(self, buffers: Sequence[Any], _anc: int = 0, _flags: int = 0) -> Any:
        count = self._sock.recv_into(buffers[0])
        if self.cut and count:
            raise BlockingIOError
        return count, [], 0, None

    def recv_into(self, buffer: Any) -> int:
        count: int = self.recvmsg_into([buffer])[0]
        return count

    def close(self) -> None:
        self._sock.close()


def session_pair() -> tuple[PlainSession, PlainSession]:
    """Return both ends."""
    ours, theirs = socket.socketpair()
    return PlainSession(ours), PlainSession(theirs)
