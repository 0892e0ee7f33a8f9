"""What all three routers share: the address of one listener, bound in the parent.

Rule 1: the socket outlives every node, so the restart of a node loses neither port nor backlog.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import ClassVar

from actors._base.loop import Loop
from actors.routing.events import Listening
from actors.routing.interfaces import Report
from actors.routing.listen.address import beyond_loopback
from actors.routing.listen.bind import bind, refuse_new, where_of
from actors.routing.listen.listener import Listener

__all__ = ["BoundRouter", "NodeStats", "RouterStats"]


@dataclass(frozen=True)
class NodeStats:
    """One node of a router.

    `open` connections are being served, `unacknowledged` ones were sent to the node, `queued` ones
    wait in the router for it; `total` counts all it ever got.
    """

    name: str
    slot: int
    open: int
    total: int
    ready: bool
    unacknowledged: int = 0
    queued: int = 0
    suspect: bool = False


@dataclass(frozen=True)
class RouterStats:
    """A router at one moment.

    `pending` connections have no node yet, `peeking` ones have no key yet. `accepted` counts all
    connections since the start: `refused` those that a node had no room for, so that another got
    them, `redispatched` those that a node died without reading, `dropped` those that nobody got:
    connections that several nodes died of, and datagrams that no node had room for. `lost_unread` are
    connections that a node may have accepted and not yet read when it died, at most one for each death.
    `learned` is how many keys of applications are bound to a slot, `unlearned` how many responses with a
    new key were sent although it could not be bound in time. `passed_on` is how many connections were given
    to another machine, to which their keys belong, and `passing` how many of them are open: their bytes go
    through this process. One that is offered to another machine is `pending`.
    """

    listener: str
    address: str
    accepting: bool
    accepted: int
    nodes: tuple[NodeStats, ...]
    pending: int = 0
    peeking: int = 0
    dropped: int = 0
    refused: int = 0
    redispatched: int = 0
    lost_unread: int = 0
    learned: int = 0
    unlearned: int = 0
    passed_on: int = 0
    passing: int = 0


class BoundRouter:
    """Binds the address of one listener and gives it back.

    Args:
        spec: the listener.
        loop: the parent's event loop; every method is called on it.
        report: takes the records of `actors.routing.events`; must not raise.

    Attributes:
        spec: the listener as described.
        address: the real address once open, the chosen port included; empty before.
    """

    via: ClassVar[str] = "its router accepts and hands over"
    """How a connection comes to a node, for the log."""

    def __init__(self, spec: Listener, loop: Loop, report: Report) -> None:
        self.spec = spec
        self.address: str = ""
        self._loop = loop
        self._report = report
        self._socket: socket.socket | None = None
        self._refusing = False

    @property
    def port(self) -> int:
        """The real port once open; 0 for Unix sockets."""
        if self._socket is None or self._socket.family == socket.AF_UNIX:
            return 0
        port: int = self._socket.getsockname()[1]
        return port

    def open(self) -> None:
        """Bind the address; clients are served as soon as a node has been added.

        Raises:
            ListenFailed: the address cannot be bound. Nothing is left behind; `open` may be retried.
        """
        if self._socket is not None:
            return
        spec = self.spec
        self._socket = self._bind()
        self._refusing = False
        where = where_of(self._socket)
        self.address = str(where)
        beyond = beyond_loopback(where)
        tls = spec.tls is not None
        facts = (spec.name, self.address, spec.policy, spec.nodes, self.via, beyond)
        self._report(Listening(*facts, tls=tls))

    def _bind(self) -> socket.socket:
        return bind(self.spec)

    def stop_listening(self) -> None:
        """Close the listening socket; what was accepted is still served."""
        self._refuse_new()
        taken, self._socket = self._socket, None
        if taken is not None:
            taken.close()

    def _refuse_new(self) -> None:
        """Let no more clients into the backlog, as the listening socket is about to be closed."""
        if self._socket is not None and not self._refusing:
            self._refusing = True
            refuse_new(self._socket, self.spec)
