"""The router: one listener's socket, held by the parent, and the way of each connection to a node.

Rule 1: only wiring. Accepting is `_acceptor`, keys are `_peek`, nodes and hand-overs `_dispatch`.
Rule 2: the socket outlives every node, so a restart loses neither port nor backlog. Without a
ready node nothing is accepted; the kernel's backlog waits.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from actors.routing.balancer.acceptor import Acceptor
from actors.routing.balancer.dispatch import Dispatch
from actors.routing.balancer.peek import Peeker
from actors.routing.balancer.records import Connection
from actors.routing.events import Listening, PolicyFailed
from actors.routing.interfaces import Report, RouterLoop, RouterNode
from actors.routing.listen.bind import bind, describe, release, where_of
from actors.routing.listen.listener import Listener
from actors.routing.policy.policy import key_of

__all__ = ["NodeStats", "Router", "RouterStats"]


@dataclass(frozen=True)
class NodeStats:
    """One node of a router: connections it serves, owes and will get; all it ever got."""

    name: str
    slot: int
    open: int
    unacknowledged: int
    queued: int
    total: int
    ready: bool
    suspect: bool


@dataclass(frozen=True)
class RouterStats:
    """A router at one moment.

    `pending` connections have no node yet, `peeking` ones have no key yet. `accepted` counts all
    there ever were: `refused` those that a node had no room for, so that another got them,
    `redispatched` those that a node died without reading, `dropped` those that nobody got:
    connections that several nodes died of, and datagrams that no node had room for.
    """

    listener: str
    address: str
    accepting: bool
    accepted: int
    pending: int
    peeking: int
    places: tuple[NodeStats, ...]
    dropped: int = 0
    refused: int = 0
    redispatched: int = 0


class Router:
    """Accepts the connections of one listener and hands each to a node.

    Args:
        spec: the listener.
        loop: the parent's event loop; every method is called on it.
        report: takes facts (`_events`); must not raise.
        given: a listening socket to use instead of binding; the router closes it and leaves its
            path, if it has one, to whoever made it.
        at_once: connections that one hand-over has at most, of those that came while a node owed one.
        patience: seconds without acknowledgement after which balancing goes round a node.
        ack_deadline: seconds after which a node is suspect and gets nothing until it acknowledges.
        peek_seconds: how long one client may take to show its sticky key.
    """

    def __init__(
        self,
        spec: Listener,
        loop: RouterLoop,
        report: Report | None = None,
        *,
        given: socket.socket | None = None,
        at_once: int = 8,
        patience: float = 0.1,
        ack_deadline: float = 2.0,
        peek_seconds: float = 2.0,
    ) -> None:
        self._spec = spec
        self._loop = loop
        self._report: Report = report or _ignore
        self._listening = given
        self._given = given is not None
        self._acceptor: Acceptor | None = None
        self._address = ""
        self._key_failed = False
        self._dispatch = Dispatch(
            loop,
            spec.policy,
            listener=spec.name,
            report=self._report,
            changed=self._changed,
            limit=spec.limit,
            at_once=at_once,
            patience=patience,
            ack_deadline=ack_deadline,
        )
        key = key_of(spec.policy)
        self._peeker = None
        if key is not None:
            self._peeker = Peeker(
                loop,
                key,
                found=self._dispatch.add,
                failed=self._failed,
                seconds=peek_seconds,
                limit=spec.max_peeking,
                proxied=spec.proxy_protocol,
            )

    @property
    def spec(self) -> Listener:
        """The listener as described."""
        return self._spec

    @property
    def address(self) -> str:
        """The real address once open, the chosen port included; empty before."""
        return self._address

    @property
    def port(self) -> int:
        """The real TCP port once open; 0 for Unix sockets."""
        listening = self._listening
        if listening is None or listening.family == socket.AF_UNIX:
            return 0
        port: int = listening.getsockname()[1]
        return port

    def open(self) -> None:
        """Bind and listen; accepting begins as soon as a node has joined.

        Raises:
            ListenFailed: the address cannot be bound. Nothing is left behind; try again at will.
        """
        if self._acceptor is not None:
            return
        listening = self._listening or bind(self._spec)
        listening.setblocking(False)
        self._listening = listening
        self._address = describe(listening)
        self._acceptor = Acceptor(
            listening,
            self._loop,
            accepted=self._accepted,
            room=self._room,
            report=self._report,
            listener=self._spec.name,
        )
        spec = self._spec
        self._report(
            Listening(
                spec.name,
                self._address,
                spec.policy,
                spec.nodes,
                where_of(listening).beyond_loopback,
                tls=spec.tls is not None,
            )
        )
        self._changed()

    def joined(self, place: RouterNode) -> None:
        """Give connections to *place*, which is ready.

        One of the same name counts as dead; one of the same slot but another name as draining.
        """
        self._dispatch.joined(place)

    def left(self, place: RouterNode, *, dead: bool) -> None:
        """Give *place* no more connections.

        Hear out the link of a dead node first: an acknowledgement still in there says that the
        node had begun to read.

        Args:
            place: the node.
            dead: its process is gone: what it did not acknowledge goes to others and it is
                forgotten. Otherwise it drains: it may still acknowledge, refuse and close, and is
                forgotten when this is called again with ``dead=True``.
        """
        self._dispatch.left(place.name, dead=dead)

    def acknowledged(self, place_name: str, connection: int) -> None:
        """Note that a node has taken *connection*: the router's copy is closed."""
        self._dispatch.told(place_name, (connection,), (), ())

    def refused(self, place_name: str, connection: int) -> None:
        """Note that a node has closed *connection* unread: another gets it."""
        self._dispatch.told(place_name, (), (connection,), ())

    def closed(self, place_name: str, connection: int) -> None:
        """Note that a node has finished with *connection*."""
        self._dispatch.told(place_name, (), (), (connection,))

    def told(
        self, place_name: str, acknowledged: list[int], refused: list[int], closed: list[int]
    ) -> None:
        """Note several of the above at once."""
        self._dispatch.told(place_name, acknowledged, refused, closed)

    def stop_listening(self) -> None:
        """Close the listening socket; connections already accepted still find their node."""
        if self._acceptor is not None:
            self._acceptor.close()
        listening, self._listening = self._listening, None
        if listening is not None and self._given:
            listening.close()
        elif listening is not None:
            release(listening, self._spec)

    def close(self) -> None:
        """Close everything the router holds; what nodes have acknowledged is theirs."""
        self.stop_listening()
        if self._peeker is not None:
            self._peeker.close()
        self._dispatch.close()

    def snapshot(self) -> RouterStats:
        """Describe the router at this moment."""
        acceptor = self._acceptor
        return RouterStats(
            listener=self._spec.name,
            address=self._address,
            accepting=acceptor is not None and acceptor.accepting,
            accepted=0 if acceptor is None else acceptor.total,
            pending=self._dispatch.pending,
            peeking=0 if self._peeker is None else len(self._peeker),
            places=tuple(
                NodeStats(
                    name=member.name,
                    slot=member.place.slot,
                    open=len(member.open),
                    unacknowledged=len(member.unacked),
                    queued=len(member.queue),
                    total=member.total,
                    ready=member.ready,
                    suspect=member.suspect,
                )
                for member in self._dispatch.members
            ),
            dropped=self._dispatch.dropped,
            refused=self._dispatch.refused,
            redispatched=self._dispatch.redispatched,
        )

    def _accepted(self, connection: Connection) -> None:
        if self._peeker is None:
            self._dispatch.add(connection)
        else:
            self._peeker.add(connection)
        self._changed()

    def _room(self) -> int:
        return self._spec.max_pending - self._dispatch.waiting

    def _changed(self) -> None:
        if self._acceptor is not None and self._listening is not None:
            self._acceptor.want(self._dispatch.staffed and self._room() > 0)

    def _failed(self, error: Exception) -> None:
        if not self._key_failed:
            self._key_failed = True
            self._report(PolicyFailed(self._spec.name, error))


def _ignore(_fact: object, /) -> None:
    """Take a fact nobody asked for."""
