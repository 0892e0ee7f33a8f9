"""What the router needs of an event loop and of a node, what a node has for it, and no more.

Rule 1: Protocols only. `actors._base.loop` and the nodes fulfil them; tests bring their own.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from actors.routing.sticky.keys import Address

__all__ = [
    "KernelNode",
    "NodeLoop",
    "Report",
    "RouterLoop",
    "RouterNode",
    "RouterTimer",
    "Server",
    "ServerLoop",
    "SocketServer",
]


class RouterTimer(Protocol):
    """A call that is due later."""

    def cancel(self) -> object: ...


class RouterLoop(Protocol):
    """The event loop of the parent; readiness is level-triggered, seconds are monotonic."""

    def now(self) -> float: ...
    def call_soon(self, fn: Callable[..., object], /, *args: Any) -> object: ...
    def call_later(
        self, seconds: float, fn: Callable[..., object], /, *args: Any
    ) -> RouterTimer: ...
    def watch_readable(self, fd: int, fn: Callable[[], object], /) -> object: ...
    def unwatch_readable(self, fd: int, /) -> object: ...


class ServerLoop(Protocol):
    """The event loop of a node, as its servers see it."""

    def start(
        self,
        fn: Callable[..., Coroutine[Any, Any, Any]],
        /,
        *args: Any,
        name: str,
        fresh: bool = False,
    ) -> object: ...


class NodeLoop(RouterLoop, ServerLoop, Protocol):
    """The event loop of a node that gets its work from a socket of its own."""


class HandedOver(NamedTuple):
    """One connection on its way to a node.

    Attributes:
        number: what acknowledges, refuses and closes it; never used twice.
        fd: the router's descriptor of it, non-blocking.
        client: the client's address.
    """

    number: int
    fd: int
    client: Address


class RouterNode(Protocol):
    """A node that connections can be handed to."""

    @property
    def name(self) -> str:
        """The node's name, unique among those that live."""
        ...

    @property
    def slot(self) -> int:
        """The node's stable number in its group; a restarted node has the same."""
        ...

    def hand_over(self, handed: Sequence[HandedOver], listener: str) -> None:
        """Send connections to the node, in one message; do not wait.

        The router keeps each descriptor open until the node has acknowledged or refused that
        connection or is gone, so a frame that waits in a queue needs no dup. A place that keeps
        descriptors itself (a node in this process) dups them during this call.

        Args:
            handed: the connections, at least one.
            listener: the name of the listener.

        Raises:
            OSError: the node cannot be reached; the connections go to others.
        """
        ...


class KernelNode(Protocol):
    """A node that is given a socket to get its work from."""

    @property
    def name(self) -> str:
        """As in `RouterNode`."""
        ...

    @property
    def slot(self) -> int:
        """As in `RouterNode`."""
        ...

    def seat(self, listener: str, limit: int | None, fds: tuple[int, ...]) -> None:
        """Give the node what it gets its work from; do not wait.

        Args:
            listener: the name of the listener.
            limit: connections it may serve at a time.
            fds: descriptors, which are the node's from here, whatever becomes of this call.

        Raises:
            OSError, TransportError: the node cannot be reached.
        """
        ...

    def give(self, fd: int, listener: str) -> None:
        """Give the node a connection that waited for another one; do not wait.

        Args:
            fd: the connection, which is the node's from here, whatever becomes of this call.
            listener: the name of the listener.

        Raises:
            OSError, TransportError: the node cannot be reached.
        """
        ...

    def unseat(self, listener: str) -> None:
        """Tell the node to take on nothing new; must not raise."""
        ...


class Server(Protocol):
    """Serves the connections of one listener on one node."""

    @property
    def open(self) -> int:
        """Connections being served."""
        ...

    async def start(self) -> None:
        """Import the handler and make it ready.

        Raises:
            HandlerNotFound: it cannot be imported.
            HandlerUnfit: it cannot serve on this node.
            LifespanFailed: the application's startup failed.
        """
        ...

    def placed(self, slot: int, live: Sequence[int], every: Sequence[int]) -> None:
        """Note which slots share the listener from now on.

        Args:
            slot: this node's own.
            live: those that get connections.
            every: those and the ones that will be back.
        """
        ...

    def take(self, connection: int, sock: socket.socket) -> None:
        """Serve *sock*, which is the server's from here; acknowledge or refuse it at once."""
        ...

    async def drain(self, seconds: float, patience: float = 0.0) -> None:
        """Take no more, let what is being served end, and after *seconds* abort the rest.

        For *patience* of these seconds no client that is only connected is cut off, if the server
        knows such clients.
        """
        ...

    async def stop(self) -> None:
        """Abort what is being served and end the handler.

        Raises:
            LifespanFailed: the application's shutdown failed.
        """
        ...


@runtime_checkable
class SocketServer(Server, Protocol):
    """A server that gets its work from a socket it is given."""

    def seat(self, limit: int | None, *socks: socket.socket) -> None:
        """Work from now on, with at most *limit* connections open; the sockets are the server's."""
        ...

    def unseat(self) -> None:
        """Take on nothing new; what has reached this node already is served."""
        ...


class Report(Protocol):
    """Takes facts (see `_events`) upwards; must not raise."""

    def __call__(self, fact: object, /) -> None: ...
