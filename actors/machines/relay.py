"""Bytes of a client between a socket of this machine and a session to another one, both ways.

Each piece goes with its length; one of no length says that nothing more comes that way, so either side may end
first.

Rule: of each way at most one piece is here: who does not read holds up who writes.
"""

from __future__ import annotations

from socket import SHUT_WR
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from actors._base.loop import Loop
    from actors.transport.channels.tls_session import TlsSession

__all__ = ["Relay"]

_PIECE: Final = 64 * 1024
_LENGTH: Final = 4


class Relay:
    """Carries them until both ways have ended, or one end has gone.

    Args:
        loop: of this process.
        sock: of this machine, non-blocking; it is closed in the end.
        session: to the other machine; it is closed in the end.
        first: bytes that go to the other machine before those of the socket.
        ended: called with this relay when it is over.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        session: TlsSession,
        first: bytes,
        ended: Callable[[Relay], object],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._session = session
        self._on_ended = ended
        self._out = memoryview(_piece(first) if first else b"")
        """What the session has still to take."""
        self._in = bytearray()
        """What came over the session and was not taken apart."""
        self._rest = memoryview(b"")
        """What the socket has still to take."""
        self._read_all = self._written_all = False
        """Whether the socket has ended, and whether the other end has."""
        self._watched: set[str] = set()
        self._buffer = memoryview(bytearray(_PIECE))
        self.closed: bool = False
        self._move()

    def close(self) -> None:
        """End both connections now."""
        if self.closed:
            return
        self.closed = True
        self._watch(set())
        self._sock.close()
        self._session.close()
        self._on_ended(self)

    def _move(self) -> None:
        """Carry what there is, and wait for more."""
        try:
            wanted = self._send_away() | self._take_in()
        except OSError:
            self.close()
            return
        if self._read_all and self._written_all and not (self._out or self._session.owes):
            self.close()
        else:
            self._watch(wanted)

    def _send_away(self) -> set[str]:
        """From the socket to the session; return what has to be waited for."""
        self._session.push()
        while True:
            while self._out:
                try:
                    self._out = self._out[self._session.send(self._out) :]
                except (BlockingIOError, InterruptedError):
                    return {"session writable"}
            if self._read_all:
                return {"session writable"} if self._session.owes else set()
            try:
                count = self._sock.recv_into(self._buffer)
            except (BlockingIOError, InterruptedError):
                owed = {"session writable"} if self._session.owes else set()
                return {"socket readable"} | owed
            self._read_all = not count
            self._out = memoryview(_piece(self._buffer[:count]))

    def _take_in(self) -> set[str]:
        """From the session to the socket; return what has to be waited for."""
        while not self._written_all:
            while self._rest:
                try:
                    self._rest = self._rest[self._sock.send(self._rest) :]
                except (BlockingIOError, InterruptedError):
                    return {"socket writable"}
            if self._next_piece():
                continue
            try:
                count = self._session.recv_into(self._buffer)
            except (BlockingIOError, InterruptedError):
                return {"session readable"}
            if not count:
                raise ConnectionResetError("the other machine has left")
            self._in += self._buffer[:count]
        return set()

    def _next_piece(self) -> bool:
        """Take the next piece apart, if it has come whole."""
        size = int.from_bytes(self._in[:_LENGTH], "little")
        if len(self._in) < _LENGTH + size:
            if size > _PIECE:
                raise ConnectionAbortedError(f"a piece has at most {_PIECE} bytes, this one {size}")
            return False
        if len(self._in) < _LENGTH:
            return False
        self._rest = memoryview(bytes(self._in[_LENGTH : _LENGTH + size]))
        del self._in[: _LENGTH + size]
        if not size:
            self._written_all = True
            self._sock.shutdown(SHUT_WR)
        return True

    def _watch(self, wanted: set[str]) -> None:
        """Be called when one of these can go on."""
        for name in self._watched - wanted:
            self._change(name, watch=False)
        for name in wanted - self._watched:
            self._change(name, watch=True)
        self._watched = wanted

    def _change(self, name: str, *, watch: bool) -> None:
        end, way = name.split()
        fd = (self._sock if end == "socket" else self._session).fileno()
        loop = self._loop
        if watch:
            (loop.watch_readable if way == "readable" else loop.watch_writable)(fd, self._move)
        else:
            (loop.unwatch_readable if way == "readable" else loop.unwatch_writable)(fd)


def _piece(data: bytes | memoryview) -> bytes:
    return len(data).to_bytes(_LENGTH, "little") + data
