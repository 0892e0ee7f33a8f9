"""What a router needs of a node, and what a node needs of a server.

Rule 1: only interfaces and the record that crosses them: routing imports no node.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from actors.routing.request_times import RequestTimes
from actors.routing.sticky.keys import Address

__all__ = [
    "Acks",
    "HandedOver",
    "KeyBinder",
    "LearningServer",
    "Report",
    "RouterNode",
    "Server",
    "SocketNode",
    "SocketServer",
]

Report: TypeAlias = Callable[[object], object]
"""Takes the records of `actors.routing.events` upwards; must not raise."""


class HandedOver(NamedTuple):
    """One connection that the router sends to a node.

    Attributes:
        number: identifies the connection between router and node; never reused.
        fd: the router's descriptor of it, non-blocking.
        client: the client's address.
    """

    number: int
    fd: int
    client: Address


class RouterNode(Protocol):
    """A node that a `Router` hands connections to.

    Attributes:
        name: unique among the nodes that are alive.
        slot: the node's stable number in its group; a restarted node has the same.
    """

    name: str
    slot: int

    def hand_over(self, handed: Sequence[HandedOver], listener: str) -> None:
        """Send connections to the node in one message, without waiting.

        The router keeps each descriptor open until the node has acknowledged or refused the
        connection or has died, so a message that waits in a queue needs no dup. A node in this
        process dups the descriptors during this call.

        Args:
            handed: the connections, at least one.
            listener: the name of the listener.

        Raises:
            OSError: the node cannot be reached; the connections go to others.
        """
        ...


class SocketNode(Protocol):
    """A node that takes its work from a socket which the parent attaches; see `RouterNode`."""

    name: str
    slot: int

    def attach_socket(
        self, listener: str, limit: int | None, fds: tuple[int, ...], seat: int | None = None
    ) -> None:
        """Send the node the socket it takes its work from, without waiting.

        Args:
            listener: the name of the listener.
            limit: connections the node may serve at a time.
            fds: descriptors; the callee owns them, even if it raises.
            seat: its seat on the scoreboard, if it accepts in turn with others. Then the descriptors are the
                listening socket, the node's bell, and the scoreboard twice: to be written and to be read.

        Raises:
            OSError, TransportError: the node cannot be reached.
        """
        ...

    def add_bells(self, listener: str, seats: list[int], fds: tuple[int, ...]) -> None:
        """Send the node the bells of other nodes, without waiting.

        Args:
            listener: the name of the listener.
            seats: the seats of those nodes.
            fds: their bells; the callee owns them, even if it raises.

        Raises:
            OSError, TransportError: the node cannot be reached.
        """
        ...

    def send_connection(self, fd: int, listener: str) -> None:
        """Send the node a connection from the accept queue of a dead node, without waiting.

        Args:
            fd: the connection; the callee owns it, even if it raises.
            listener: the name of the listener.

        Raises:
            OSError, TransportError: the node cannot be reached.
        """
        ...

    def detach_socket(self, listener: str) -> None:
        """Tell the node to take no new work from its socket; must not raise."""
        ...


class Acks(Protocol):
    """Where a server says what became of each connection it was handed."""

    def acknowledged(self, number: int, /) -> object:
        """The connection was taken; nothing has been read from it yet."""

    def refused(self, number: int, /) -> object:
        """The connection was closed unread, because the server is draining."""

    def closed(self, number: int, /) -> object:
        """An acknowledged connection has ended; called once for each."""


class KeyBinder(Protocol):
    """Where a server says which keys its application has made; see `Router.bind`."""

    async def bind(self, digests: Sequence[bytes], client: str, /) -> None:
        """Return when the router has bound the keys to this node's slot.

        Raises:
            ActorsError: the router cannot be asked.
        """

    def unlearned(self) -> object:
        """A response with a new key was sent although `bind` did not return in time."""


class Server(Protocol):
    """Serves the connections of one listener on one node."""

    @property
    def open(self) -> int:
        """Connections being served."""
        ...

    @property
    def served(self) -> int:
        """Requests of an application so far; connections or datagrams of a handler."""
        ...

    @property
    def times(self) -> RequestTimes:
        """How long they took, while somebody looked."""
        ...

    async def start(self) -> None:
        """Import the handler and make it ready.

        Raises:
            HandlerNotFound: it cannot be imported.
            HandlerUnfit: it cannot serve on this node.
            LifespanFailed: the application's startup failed.
        """
        ...

    def slots_changed(self, slot: int, live: Sequence[int], every: Sequence[int]) -> None:
        """Set the slots that share the listener from now on.

        Args:
            slot: this node's own.
            live: the slots that get connections.
            every: those, and the slots whose nodes are restarting.
        """
        ...

    def take(self, connection: int, sock: socket.socket, first: bytes = b"") -> None:
        """Acknowledge *sock* and serve it, or refuse it; the server owns the socket from here.

        Args:
            connection: its number.
            sock: the connection, non-blocking.
            first: what has been read of it already.
        """
        ...

    async def drain(self, seconds: float, patience: float = 0.0) -> None:
        """Take no new connections, let open ones finish, and after *seconds* abort those that have not.

        During the first *patience* of these seconds idle clients are not disconnected, if the
        server can tell idle clients from busy ones.
        """
        ...

    async def stop(self) -> None:
        """Abort what is being served and end the handler.

        Raises:
            LifespanFailed: the application's shutdown failed.
        """
        ...


@runtime_checkable
class LearningServer(Server, Protocol):
    """A server whose application makes sticky keys."""

    def attach_bindings(self, fd: int) -> None:
        """Read which slot has made which key from *fd*, which the server owns from here."""
        ...


@runtime_checkable
class SocketServer(Server, Protocol):
    """A server that takes its work from a socket the parent attaches."""

    def attach_socket(self, limit: int | None, fds: Sequence[int], seat: int | None = None) -> None:
        """Work from now on with *fds*, which the server owns; see `SocketNode.attach_socket`."""
        ...

    def add_bells(self, seats: Sequence[int], bells: Sequence[int]) -> None:
        """Take the bells of other nodes; see `SocketNode.add_bells`."""
        ...

    def detach_socket(self) -> None:
        """Take no new work; what has already reached this node is served."""
        ...
