"""A node that accepts for itself: from a socket of its own (`ReusePort`), or in turn with others.

Rule 1: another server serves; this one brings it connections, numbers them and counts.
Rule 2: it stops accepting before anything else ends.
Rule 3: counts go by the scoreboard; under `ReusePort` they are sent to the parent, at most every tenth of a
second.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from actors._base.loop import Loop, Timer
from actors.routing.balancer.acceptor import Acceptor
from actors.routing.interfaces import Acks, Report, Server
from actors.routing.listen.accepted_socket import AcceptedSocket
from actors.routing.listen.listener import Listener
from actors.routing.policy.policy import LeastConnections
from actors.routing.request_times import RequestTimes
from actors.routing.scoreboard import OwnSeat, ScoreboardReader
from actors.routing.serving.accept_loop import AcceptLoop, Place

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


class OwnSocket:
    """Accepts from a socket of which this node is the only one (`ReusePort`)."""

    def __init__(
        self,
        listening: socket.socket,
        loop: Loop,
        *,
        serve: Callable[[socket.socket], object],
        limit: int | None,
        counter: OpenCounter,
        report: Report,
        listener: str,
    ) -> None:
        self._listening = listening
        self._serve = serve
        self._limit = limit
        self._counter = counter
        self._acceptor = Acceptor(
            listening,
            loop,
            accepted=self._take,
            room=self._room,
            report=report,
            listener=listener,
        )
        self._acceptor.set_accepting(True)

    def begin(self) -> None:
        """Count a connection that is served from now on."""
        self._counter.begin()

    def end(self) -> None:
        """Count a connection that has ended; there may be room to accept again."""
        self._counter.end()
        self._update_accepting()

    def leave(self) -> None:
        """Stop accepting; the clients that wait in the queue are still served."""
        if self._listening.fileno() < 0:
            return
        # No other node accepts from it: the kernel resets what is in its queue when it is closed.
        self._acceptor.accept_all()
        self._acceptor.close()
        self._listening.close()

    def close(self) -> None:
        """Leave, and send the last counts."""
        self.leave()
        self._counter.close()

    def _take(self, sock: socket.socket, _client: object) -> None:
        self._serve(sock)
        self._update_accepting()

    def _room(self) -> int:
        return _UNLIMITED if self._limit is None else self._limit - self._counter.open

    def _update_accepting(self) -> None:
        if self._listening.fileno() >= 0:
            self._acceptor.set_accepting(self._room() > 0)


class SelfAcceptingServer:
    """Accepts from the socket attached and has an inner server serve. See `SocketServer`.

    Args:
        make: makes the inner server; it is given where to acknowledge connections.
        spec: the listener.
        loop: the node's event loop.
        counted: called with how many connections are open and how many there were in all.
        report: takes the records of `actors.routing.events`.
    """

    def __init__(
        self,
        make: Callable[[Acks], Server],
        spec: Listener,
        loop: Loop,
        *,
        counted: Callable[[int, int], object],
        report: Report,
    ) -> None:
        self._inner = make(self)
        self._spec = spec
        self._loop = loop
        self._report = report
        self._counter = OpenCounter(loop, counted)
        self._numbers = count(1)
        self._source: OwnSocket | AcceptLoop | None = None

    @property
    def open(self) -> int:
        return self._inner.open

    @property
    def served(self) -> int:
        return self._inner.served

    @property
    def times(self) -> RequestTimes:
        """How long its requests took."""
        return self._inner.times

    async def start(self) -> None:
        """Make the handler ready; nothing is accepted before `attach_socket`."""
        await self._inner.start()

    def slots_changed(self, slot: int, live: Sequence[int], every: Sequence[int]) -> None:
        self._inner.slots_changed(slot, live, every)

    def take(self, connection: int, sock: socket.socket, first: bytes = b"") -> None:  # noqa: ARG002 - connections are numbered here
        """Serve a connection that the parent has accepted."""
        sock.setblocking(False)
        self._serve(sock, first)

    def attach_socket(self, limit: int | None, fds: Sequence[int], seat: int | None = None) -> None:
        """Accept from the socket given from now on, never having more than *limit* open."""
        if self._source is not None:
            self._source.close()
        if seat is not None:
            self._source = self._accept_loop(limit, fds, seat)
            return
        (listening,) = (AcceptedSocket(fileno=fd) for fd in fds)
        listening.setblocking(False)
        self._source = OwnSocket(
            listening,
            self._loop,
            serve=self._serve,
            limit=limit,
            counter=self._counter,
            report=self._report,
            listener=self._spec.name,
        )

    def _accept_loop(self, limit: int | None, fds: Sequence[int], seat: int) -> AcceptLoop:
        listening, bell, writable, readable = fds
        spec = self._spec
        try:
            board, own = ScoreboardReader(readable), OwnSeat(writable, seat)
        except BaseException:
            os.close(listening)
            os.close(bell)
            raise
        finally:
            os.close(writable)
            os.close(readable)
        place = Place(
            listening=AcceptedSocket(fileno=listening),
            board=board,
            seat=own,
            number=seat,
            bell=bell,
            limit=limit,
            by_load=type(spec.policy) is LeastConnections,
            read_first=spec.tls is None and not spec.proxy_protocol,
        )
        return AcceptLoop(
            place,
            self._loop,
            serve=self._serve,
            open_=self.open,
            report=self._report,
            listener=spec.name,
        )

    def add_bells(self, seats: Sequence[int], bells: Sequence[int]) -> None:
        """Take the bells of other nodes."""
        if isinstance(self._source, AcceptLoop):
            self._source.add_bells(seats, bells)
        else:
            for bell in bells:
                os.close(bell)

    def detach_socket(self) -> None:
        """Stop accepting; what has been accepted is served."""
        if self._source is not None:
            self._source.leave()

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
            if self._source is not None:
                self._source.close()
                self._source = None

    def acknowledged(self, number: int) -> None:  # noqa: ARG002 - only counts are shown
        """Count a connection that the inner server has taken."""
        if self._source is not None:
            self._source.begin()

    def refused(self, number: int) -> None:
        """Do nothing: the connection is closed and no other node gets it."""

    def closed(self, number: int) -> None:  # noqa: ARG002 - only counts are shown
        """Count a connection that has ended; there may be room to accept again."""
        if self._source is not None:
            self._source.end()

    def _serve(self, sock: socket.socket, first: bytes = b"") -> None:
        self._inner.take(next(self._numbers), sock, first)
