"""The node's side of `ReusePort` and `SharedListener`: a node that accepts for itself.

Rule 1: another server serves; this one brings it connections, numbers them and counts.
Rule 2: it stops accepting before anything else ends.
Rule 3: counts are sent to the parent at most every tenth of a second, not for each connection.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from actors._base.loop import Loop, Timer
from actors.routing.balancer.acceptor import Acceptor
from actors.routing.balancer.records import Connection
from actors.routing.interfaces import Acks, Report, Server

__all__ = ["OpenCounter", "SelfAcceptingServer"]

_EVERY: Final = 0.1
_UNLIMITED: Final = 1024


class OpenCounter:
    """Counts what a node serves and has served, and sends the counts to the parent."""

    def __init__(self, loop: Loop, counted: Callable[[int, int], object]) -> None:
        self._loop = loop
        self._counted = counted
        self._timer: Timer | None = None
        self._sent = (0, 0)
        self.open: int = 0
        self.total: int = 0

    def begin(self) -> None:
        """Count one more."""
        self.open += 1
        self.total += 1
        self._send_soon()

    def end(self) -> None:
        """Count one less."""
        self.open -= 1
        self._send_soon()

    def close(self) -> None:
        """Send the last counts."""
        if self._timer is not None:
            self._timer.cancel()
            self._send()

    def _send_soon(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(_EVERY, self._send)

    def _send(self) -> None:
        self._timer = None
        if self._sent != (self.open, self.total):
            self._sent = (self.open, self.total)
            self._counted(self.open, self.total)


class SelfAcceptingServer:
    """Accepts from the socket attached and has an inner server serve. See `SocketServer`.

    Args:
        make: makes the inner server; it is given where to acknowledge connections.
        loop: the node's event loop.
        listener: the listener's name, for reports.
        own_socket: whether no other node accepts from the same socket (`ReusePort`).
        counted: called with how many connections are open and how many there were in all.
        report: takes the records of `actors.routing.events`.
    """

    def __init__(
        self,
        make: Callable[[Acks], Server],
        loop: Loop,
        *,
        listener: str,
        own_socket: bool,
        counted: Callable[[int, int], object],
        report: Report,
    ) -> None:
        self._counter = OpenCounter(loop, counted)
        self._inner = make(self)
        self._loop = loop
        self._listener = listener
        self._own_socket = own_socket
        self._report = report
        self._numbers = count(1)
        self._limit: int | None = None
        self._listening: socket.socket | None = None
        self._acceptor: Acceptor | None = None

    @property
    def open(self) -> int:
        return self._inner.open

    @property
    def served(self) -> int:
        return self._inner.served

    async def start(self) -> None:
        """Make the handler ready; nothing is accepted before `attach_socket`."""
        await self._inner.start()

    def slots_changed(self, slot: int, live: Sequence[int], every: Sequence[int]) -> None:
        self._inner.slots_changed(slot, live, every)

    def take(self, connection: int, sock: socket.socket) -> None:  # noqa: ARG002 - connections are numbered here
        """Serve a connection from the queue of a dead node; it gets a number of this node."""
        sock.setblocking(False)
        self._inner.take(next(self._numbers), sock)

    def attach_socket(self, limit: int | None, *socks: socket.socket) -> None:
        """Accept from the one socket given from now on, never having more than *limit* open."""
        self.detach_socket()
        (listening,) = socks
        listening.setblocking(False)
        self._limit = limit
        self._listening = listening
        self._acceptor = Acceptor(
            listening,
            self._loop,
            accepted=self._accepted,
            room=self._room,
            report=self._report,
            listener=self._listener,
        )
        self._acceptor.set_accepting(True)

    def detach_socket(self) -> None:
        """Stop accepting; the clients that wait in the queue of a socket of this node are still served."""
        acceptor, self._acceptor = self._acceptor, None
        listening, self._listening = self._listening, None
        if acceptor is None or listening is None:
            return
        if self._own_socket:
            # No other node accepts from it: the kernel resets what is in its queue when it is closed.
            acceptor.accept_all()
        acceptor.close()
        listening.close()

    async def drain(self, seconds: float, patience: float = 0.0) -> None:
        """Stop accepting, then end what is being served."""
        self.detach_socket()
        await self._inner.drain(seconds, patience)

    async def stop(self) -> None:
        """Stop accepting, abort what is being served and end the handler."""
        self.detach_socket()
        try:
            await self._inner.stop()
        finally:
            self._counter.close()

    def acknowledged(self, number: int) -> None:  # noqa: ARG002 - the parent gets counts only
        """Count a connection that the inner server has taken."""
        self._counter.begin()

    def refused(self, number: int) -> None:
        """Do nothing: the connection is closed and no other node gets it."""

    def closed(self, number: int) -> None:  # noqa: ARG002 - the parent gets counts only
        """Count a connection that has ended; there may be room to accept again."""
        self._counter.end()
        self._update_accepting()

    def _accepted(self, connection: Connection) -> None:
        self._inner.take(next(self._numbers), connection.sock)
        if self._own_socket or self._acceptor is None:
            self._update_accepting()
        else:
            # One client for each turn of the loop, so that the other nodes get some as well.
            self._acceptor.set_accepting(False)
            self._loop.call_soon(self._update_accepting)

    def _room(self) -> int:
        return _UNLIMITED if self._limit is None else self._limit - self._counter.open

    def _update_accepting(self) -> None:
        if self._acceptor is not None:
            self._acceptor.set_accepting(self._room() > 0)
