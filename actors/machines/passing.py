"""Connections whose sticky key belongs to another machine: its agent gets them from the one where they came.

Rule 1: which slot has a key is computed from what the parent tells all agents; no agent asks another.
Rule 2: a connection is passed on once, before anything was read of it. If that cannot be, it is served here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from anyio import move_on_after

from actors.machines.dial import dial
from actors.machines.entrance import Entrance
from actors.machines.relay import Relay
from actors.routing import Router, owner, passed_pair, proxy_header_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from actors._base.loop import Loop, Waiter
    from actors.machines.material import Material
    from actors.routing import Connection
    from actors.transport.channels.tls_session import TlsSession

__all__ = ["Passing", "Sharing"]

_PURPOSE: Final = "passed"
_WITHIN: Final = 2.0
"""Seconds in which another machine has to take a connection."""


@dataclass(slots=True, kw_only=True)
class Sharing:
    """Who has which keys of a listener.

    Attributes:
        here: this place.
        slots: the place of each slot that takes connections.
        ways: how other places take connections: host, port and ticket.
        shutdown: seconds that connections have to end in order.
    """

    here: str = ""
    shutdown: float = 0.0
    slots: dict[int, str] = field(default_factory=dict)
    ways: dict[str, tuple[str, int, str]] = field(default_factory=dict)

    def way(self, key: bytes) -> tuple[str, int, str] | None:
        """Return where a key belongs, None if that is here, or nowhere."""
        slot = owner(key, self.slots)
        place = self.here if slot is None else self.slots[slot]
        return None if place == self.here else self.ways.get(place)


class Passing:
    """Passes connections on, and takes those of other agents.

    Args:
        loop: of this process.
        own: what this agent shows, the address at which others reach it, and the lease.
        router_of: returns the router of a listener.
    """

    def __init__(
        self,
        loop: Loop,
        own: Callable[[], tuple[Material | None, str, float]],
        router_of: Callable[[str], Any],
    ) -> None:
        self._loop = loop
        self._own = own
        self._router_of = router_of
        self._entrance: Entrance | None = None
        self._ticket = ""
        self._sharing: dict[str, Sharing] = {}
        self._relays: set[Relay] = set()
        self._none_left: Waiter | None = None

    def open(self, router: Router) -> tuple[str, int, str]:
        """Pass connections of a router on; return how this machine takes those of others.

        Raises:
            InvalidSpec: it cannot listen for them.
        """
        router.elsewhere = lambda connection: self._belongs_elsewhere(router, connection)
        material, host, lease = self._own()
        if self._entrance is None:
            self._entrance = Entrance(self._loop, material, host, lease=lease)
            self._ticket = self._entrance.expect(_PURPOSE, self._came, once=False)
        return (*self._entrance.address, self._ticket)

    def share(self, listener: str, sharing: Sharing) -> None:
        """Know who has which keys of a listener from now on."""
        self._sharing[listener] = sharing

    def _belongs_elsewhere(self, router: Router, connection: Connection) -> bool:
        """Pass a connection on if another machine has its key; return whether it has."""
        sharing = self._sharing.get(router.spec.name)
        way = None
        if connection.key is not None and sharing is not None:
            way = sharing.way(connection.key)
        if way is None:
            return False
        name = f"pass on {router.spec.name}"
        self._loop.start(self._pass_on, router, connection, way, name=name, fresh=True)
        return True

    async def _pass_on(
        self, router: Router, connection: Connection, way: tuple[str, int, str]
    ) -> None:
        host, port, ticket = way
        material, _, lease = self._own()
        assert connection.key is not None
        name, key = router.spec.name, connection.key.hex()
        hello = {"purpose": _PURPOSE, "listener": name, "key": key}
        try:
            session = await dial((host, port), material, ticket, hello, within=_WITHIN, lease=lease)
        except (OSError, ValueError):
            router.serve_here(connection)
            return
        first = b"" if router.spec.proxy_protocol else proxy_header_of(connection.sock)
        self._relay(connection.sock, session, first)

    def _came(self, session: TlsSession, hello: dict[str, Any]) -> None:
        """Serve a connection that another agent has passed on, wherever its key belongs now."""
        router = self._router_of(str(hello.get("listener")))
        try:
            key = bytes.fromhex(str(hello.get("key")))
        except ValueError:
            router = None
        if not isinstance(router, Router) or not router.address:
            session.close()
            return
        try:
            ours, theirs = passed_pair()
        except OSError:  # no descriptor is free
            session.close()
            return
        self._relay(ours, session, b"")
        router.take_passed(theirs, key)

    def _relay(self, sock: socket.socket, session: TlsSession, first: bytes) -> None:
        relay = Relay(self._loop, sock, session, first, self._relay_ended)
        if not relay.closed:
            self._relays.add(relay)

    def _relay_ended(self, relay: Relay) -> None:
        self._relays.discard(relay)
        if not self._relays and self._none_left is not None and not self._none_left.done():
            self._none_left.set_result(None)

    async def drain(self) -> None:
        """Return when nothing passes through here any more, or has had its time."""
        self._none_left = self._loop.waiter()
        with move_on_after(max((one.shutdown for one in self._sharing.values()), default=0.0)):
            if self._relays:
                await self._none_left

    def leave(self) -> None:
        """Take none any more: other machines serve them where they come."""
        if self._entrance is not None:
            self._entrance.close()

    def close(self) -> None:
        """The same, and end those that pass through here."""
        self.leave()
        for relay in list(self._relays):
            relay.close()
