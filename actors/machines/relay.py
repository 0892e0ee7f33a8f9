"""Bytes of a client between a socket of this machine and a session to another one, both ways.

Each piece goes with its length; one of no length says that nothing more comes that way, so either side may end
first. The end of the session says that the socket at its other end was closed, and so this one is closed.

Rule 1: of each way at most one piece is here: who does not read holds up who writes, for as long as it likes.
Rule 2: what was closed both ways at one end is closed at the other, when that has got what was sent before.
"""

from __future__ import annotations

import select
from contextlib import suppress
from socket import SHUT_WR
from typing import TYPE_CHECKING, Final

from actors.transport.channels.lingering_close import LingeringClose

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from actors.transport.channels.tls_session import TlsSession
    from actors.transport.wire.loop import ChannelLoop, ChannelTimer

__all__ = ["Relay"]

_PIECE: Final = 64 * 1024
_LENGTH: Final = 4
_LOOKS_EVERY: Final = 1.0
"""Seconds between two looks at an end that is not read from now: whether it was closed."""


class Relay:
    """Carries them until both ways have ended, or one end has gone.

    Args:
        loop: of this process.
        sock: of this machine, non-blocking; it is closed in the end.
        session: to the other machine; it is closed in the end.
        first: bytes that go to the other machine before those of the socket.
        place: the key of the other machine.
        ended: called with this relay when it is over.
    """

    def __init__(
        self,
        loop: ChannelLoop,
        sock: socket.socket,
        session: TlsSession,
        first: bytes,
        place: str,
        ended: Callable[[Relay], object],
    ) -> None:
        self.place = place
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
        self._left = False
        """Whether whoever has the other end of the socket has closed it."""
        self._watched: set[str] = set()
        self._looks: ChannelTimer | None = None
        self._last_words: LingeringClose | None = None
        self._buffer = memoryview(bytearray(_PIECE))
        self.closed: bool = False
        session.let_peer_wait()
        self._move()

    def close(self) -> None:
        """End both connections now."""
        if self.closed:
            return
        if self._last_words is not None:
            self._last_words.abandon()
            return
        self._let_go()
        self._session.close()
        self._end()

    def _let_go(self) -> None:
        """Watch nothing any more, and close the socket."""
        self._watch(set())
        if self._looks is not None:
            self._looks.cancel()
        self._sock.close()

    def _end(self) -> None:
        self.closed = True
        self._on_ended(self)

    def _move(self) -> None:
        """Carry what there is, and wait for more."""
        try:
            wanted = self._send_away() | self._take_in()
        except OSError:
            self.close()
            return
        if self._left:
            self._leave()
        elif self._read_all and self._written_all and not (self._out or self._session.owes):
            self.close()
        else:
            self._watch(wanted)
            if self._looks is None and not {"socket readable", "session readable"} <= wanted:
                self._looks = self._loop.call_later(_LOOKS_EVERY, self._look)

    def _send_away(self) -> set[str]:
        """From the socket to the session; return what has to be waited for."""
        self._session.push()
        while True:
            while self._out:
                try:
                    self._out = self._out[self._session.send(self._out) :]
                except (BlockingIOError, InterruptedError):
                    return {"session writable"}
            owed = {"session writable"} if self._session.owes else set()
            if self._read_all:
                return owed
            try:
                self._out = memoryview(self._next_out())
            except (BlockingIOError, InterruptedError):
                return {"socket readable"} | owed

    def _next_out(self) -> bytes:
        """Read a piece of the socket.

        Raises:
            BlockingIOError: there is none now.
        """
        try:
            count = self._sock.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            raise
        except OSError:  # it was closed over bytes that nobody had read
            count = 0
            self._left = True
        self._read_all = not count
        self._left = self._left or (self._read_all and _was_closed(self._sock))
        return _piece(self._buffer[:count])

    def _take_in(self) -> set[str]:
        """From the session to the socket; return what has to be waited for."""
        while not self._left:
            while self._rest:
                try:
                    self._rest = self._rest[self._sock.send(self._rest) :]
                except (BlockingIOError, InterruptedError):
                    return {"socket writable"}
                except OSError:
                    self._left = True  # what it wrote before is still read
                    return set()
            if self._next_piece():
                continue
            try:
                count = self._session.recv_into(self._buffer)
            except (BlockingIOError, InterruptedError):
                return {"session readable"}
            if not count:
                raise ConnectionResetError("the other end was closed")
            self._in += self._buffer[:count]
        return set()

    def _next_piece(self) -> bool:
        """Take the next piece apart, if it has come whole."""
        size = int.from_bytes(self._in[:_LENGTH], "little")
        if size > _PIECE or (self._in and self._written_all):
            raise ConnectionAbortedError(f"a piece of {size} bytes that cannot be")
        if len(self._in) < _LENGTH or len(self._in) < _LENGTH + size:
            return False
        self._rest = memoryview(bytes(self._in[_LENGTH : _LENGTH + size]))
        del self._in[: _LENGTH + size]
        if not size:
            self._written_all = True
            with suppress(OSError):  # it has closed, which is seen where it is read
                self._sock.shutdown(SHUT_WR)
        return True

    # -- the end ----------------------------------------------------------------------------------

    def _look(self) -> None:
        """See whether one end was closed: that is heard of only where it is read."""
        self._looks = None
        if "session readable" not in self._watched and _was_closed(self._session):
            self.close()  # as only a reset does, while there is something that was not read
            return
        if "socket readable" not in self._watched and _was_closed(self._sock):
            self._left = True
        self._move()

    def _leave(self) -> None:
        """The socket was closed: send what it had written, and then the end of the session."""
        rest = [bytes(self._out)]
        while not self._read_all:
            try:
                rest.append(self._next_out())
            except (BlockingIOError, InterruptedError):
                break
        self._let_go()
        self._last_words = LingeringClose(
            self._loop, self._session, [part for part in rest if part], self._end
        )

    # -- what is waited for -----------------------------------------------------------------------

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


def _was_closed(end: socket.socket | TlsSession) -> bool:
    """Whether both ways of a connection have ended, or it is broken."""
    poll = select.poll()
    poll.register(end.fileno(), 0)
    return bool(poll.poll(0))


def _piece(data: bytes | memoryview) -> bytes:
    return len(data).to_bytes(_LENGTH, "little") + data
