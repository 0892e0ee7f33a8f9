"""The node's side of `ReusePort` and `SharedListener`: a node that accepts for itself.

Rule 1: serving is another server's; this one only brings it connections, numbers them and counts.
Rule 2: it stops accepting before anything else ends.
Rule 3: what it counts is told to the parent at most every tenth of a second, not for each
connection.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from actors.routing.balancer.acceptor import Acceptor
from actors.routing.balancer.records import Connection
from actors.routing.interfaces import NodeLoop, Report, RouterTimer, Server

__all__ = ["OpenCounter", "SelfAcceptingServer"]

_EVERY: Final = 0.1
_MANY: Final = 1024


class OpenCounter:
    """What a node serves and has served, told upwards now and then."""

    def __init__(self, loop: NodeLoop, counted: Callable[[int, int], object]) -> None:
        self._loop = loop
        self._counted = counted
        self._timer: RouterTimer | None = None
        self._last = (0, 0)
        self.open = 0
        self.total = 0

    def begin(self) -> None:
        """Count one more."""
        self.open += 1
        self.total += 1
        self._soon()

    def end(self) -> None:
        """Count one less."""
        self.open -= 1
        self._soon()

    def close(self) -> None:
        """Tell the last of it."""
        if self._timer is not None:
            self._timer.cancel()
            self._tell()

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(_EVERY, self._tell)

    def _tell(self) -> None:
        self._timer = None
        if self._last != (self.open, self.total):
            self._last = (self.open, self.total)
            self._counted(self.open, self.total)


class SelfAcceptingServer:
    """Accepts from the socket it is given and has *inner* serve. See `Server` and `Seated`.

    Args:
        make: makes the server, given what to call for each connection that was acknowledged, that
            was refused, and that has ended.
        loop: the node's event loop.
        listener: the listener's name, for facts.
        alone: whether the socket is this node's alone.
        counted: told how many connections are open and how many there ever were.
        report: takes facts.
    """

    def __init__(
        self,
        make: Callable[..., Server],
        loop: NodeLoop,
        *,
        listener: str,
        alone: bool,
        counted: Callable[[int, int], object],
        report: Report,
    ) -> None:
        self._counter = OpenCounter(loop, counted)
        self._inner = make(
            acknowledge=lambda _number: self._counter.begin(),
            refused=lambda _number: None,
            closed=lambda _number: self._ended(),
        )
        self._loop = loop
        self._listener = listener
        self._alone = alone
        self._report = report
        self._numbers = count(1)
        self._limit: int | None = None
        self._listening: socket.socket | None = None
        self._acceptor: Acceptor | None = None

    @property
    def open(self) -> int:
        """Connections being served."""
        return self._inner.open

    async def start(self) -> None:
        """Make the handler ready; nothing is accepted before `seat`."""
        await self._inner.start()

    def placed(self, slot: int, live: Sequence[int], every: Sequence[int]) -> None:
        """Pass on which slots share the listener."""
        self._inner.placed(slot, live, every)

    def take(self, connection: int, sock: socket.socket) -> None:  # noqa: ARG002 - a server's signature
        """Serve a connection that somebody else accepted; it gets a number of ours."""
        sock.setblocking(False)
        self._inner.take(next(self._numbers), sock)

    def seat(self, limit: int | None, *socks: socket.socket) -> None:
        """Accept from the one socket given from now on, never having more than *limit* open."""
        self.unseat()
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
        self._acceptor.want(True)

    def unseat(self) -> None:
        """Accept no more; what already waits on a socket of its own is still served."""
        acceptor, self._acceptor = self._acceptor, None
        listening, self._listening = self._listening, None
        if acceptor is None or listening is None:
            return
        if self._alone:
            # Nobody else can: what is left in the queue of a socket that is closed is reset.
            acceptor.drain()
        acceptor.close()
        listening.close()

    async def drain(self, seconds: float, patience: float = 0.0) -> None:
        """Accept no more, then end what is being served."""
        self.unseat()
        await self._inner.drain(seconds, patience)

    async def stop(self) -> None:
        """Accept no more, abort what is being served and end the handler."""
        self.unseat()
        try:
            await self._inner.stop()
        finally:
            self._counter.close()

    def _accepted(self, connection: Connection) -> None:
        self._inner.take(next(self._numbers), connection.sock)
        if self._alone or self._acceptor is None:
            self._changed()
        else:
            # One in a turn: whoever takes all it can get from a shared socket leaves none to others.
            self._acceptor.want(False)
            self._loop.call_soon(self._changed)

    def _ended(self) -> None:
        self._counter.end()
        self._changed()

    def _room(self) -> int:
        return _MANY if self._limit is None else self._limit - self._counter.open

    def _changed(self) -> None:
        if self._acceptor is not None:
            self._acceptor.want(self._room() > 0)
