"""Connections whose sticky key belongs to another machine: its agent gets them from the one where they came.

Rule 1: which slot has a key is computed from what the parent tells all agents; no agent asks another.
Rule 2: a connection is passed on once, before anything was read of it. If that cannot be, it is served here.
Rule 3: a machine takes one when it has room for one more pending one; until then that is pending where it came.
Rule 4: what is passed on ends with the machine at its other end, when the parent says that it is lost.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from anyio import move_on_after

from actors.machines.dial import dial
from actors.machines.entrance import Entrance
from actors.machines.hello import REFUSED, WELCOME
from actors.machines.relay import Relay
from actors.routing import Router, owner, passed_pair, proxy_header_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from actors._base.loop import Loop, Timer, Waiter
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

    def place_of(self, key: bytes) -> str | None:
        """Return the other place to which a key belongs, None if that is this one, or cannot be reached."""
        slot = owner(key, self.slots)
        place = self.here if slot is None else self.slots[slot]
        return place if place != self.here and place in self.ways else None


@dataclass(slots=True, eq=False)
class _Arrival:
    """A connection that another agent offers, and for which there was no room yet."""

    router: Router
    session: TlsSession
    key: bytes
    place: str
    """Where it has come."""
    timer: Timer | None = None


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
        self._relays: dict[Relay, str] = {}
        """And the listener of each."""
        self._arrivals: deque[_Arrival] = deque()
        self._offers = 0
        self._none_left: Waiter | None = None

    def open(self, router: Router) -> tuple[str, int, str]:
        """Pass connections of a router on; return how this machine takes those of others.

        Raises:
            InvalidSpec: it cannot listen for them.
        """
        router.elsewhere = lambda connection: self._belongs_elsewhere(router, connection)
        router.room_changed = self._take_arrivals
        material, host, lease = self._own()
        if self._entrance is None:
            self._entrance = Entrance(self._loop, material, host, lease=lease)
            self._ticket = self._entrance.expect(_PURPOSE, self._came, once=False, answer=b"")
        return (*self._entrance.address, self._ticket)

    def share(self, listener: str, sharing: Sharing) -> None:
        """Know who has which keys of a listener from now on, and which places there are."""
        self._sharing[listener] = sharing
        for relay in [one for one, name in self._relays.items() if name == listener]:
            if relay.place not in sharing.ways:
                relay.close()

    # -- to other machines --------------------------------------------------------------------

    def _belongs_elsewhere(self, router: Router, connection: Connection) -> bool:
        """Offer a connection to another machine if that has its key; return whether it has."""
        sharing = self._sharing.get(router.spec.name)
        place = None
        if connection.key is not None and sharing is not None:
            place = sharing.place_of(connection.key)
        if sharing is None or place is None:
            return False
        self._offers += 1
        name = f"pass on {router.spec.name}"
        self._loop.start(self._pass_on, router, connection, sharing, place, name=name, fresh=True)
        return True

    async def _pass_on(
        self, router: Router, connection: Connection, sharing: Sharing, place: str
    ) -> None:
        host, port, ticket = sharing.ways[place]
        material, _, lease = self._own()
        assert connection.key is not None
        name, key = router.spec.name, connection.key.hex()
        hello = {"purpose": _PURPOSE, "listener": name, "key": key, "from": sharing.here}
        try:
            session = await dial((host, port), material, ticket, hello, within=_WITHIN, lease=lease)
        except (OSError, ValueError):
            router.take_back(connection)
        else:
            first = b"" if router.spec.proxy_protocol else proxy_header_of(connection.sock)
            router.begin_passing()
            done = router.end_passing
            self._relay(name, connection.sock, session, first=first, place=place, done=done)
        finally:
            self._offers -= 1
            self._tell_if_none_left()

    # -- from other machines ------------------------------------------------------------------

    def _came(self, session: TlsSession, hello: dict[str, Any]) -> None:
        """Serve a connection that another agent offers, wherever its key belongs now, when there is room."""
        router = self._router_of(str(hello.get("listener")))
        try:
            key = bytes.fromhex(str(hello.get("key")))
        except ValueError:
            router = None
        if not isinstance(router, Router) or not router.address:
            _refuse(session)
            return
        arrival = _Arrival(router, session, key, str(hello.get("from")))
        arrival.timer = self._loop.call_later(_WITHIN, self._give_up, arrival)
        self._arrivals.append(arrival)
        self._take_arrivals()

    def _take_arrivals(self) -> None:
        """Take those for which there is room now."""
        waiting, self._arrivals = self._arrivals, deque()
        for arrival in waiting:
            if arrival.router.has_room:
                self._take(arrival)
            else:
                self._arrivals.append(arrival)

    def _take(self, arrival: _Arrival) -> None:
        session, router = arrival.session, arrival.router
        assert arrival.timer is not None
        arrival.timer.cancel()
        try:
            ours, theirs = passed_pair()
        except OSError:  # no descriptor is free
            _refuse(session)
            return
        try:
            _welcome(session)
        except OSError:  # it was not waited for
            for end in (ours, theirs, session):
                end.close()
            return
        self._relay(router.spec.name, ours, session, first=b"", place=arrival.place)
        router.take_passed(theirs, arrival.key)

    def _give_up(self, arrival: _Arrival) -> None:
        """There was no room in time, and whoever has offered it serves it by now."""
        self._arrivals.remove(arrival)
        arrival.session.close()

    # -- both ways --------------------------------------------------------------------------------

    def _relay(
        self,
        listener: str,
        sock: socket.socket,
        session: TlsSession,
        *,
        first: bytes,
        place: str,
        done: Callable[[], object] = lambda: None,
    ) -> None:
        def ended(relay: Relay) -> None:
            self._relays.pop(relay, None)
            done()
            self._tell_if_none_left()

        relay = Relay(self._loop, sock, session, first, place, ended)
        if not relay.closed:
            self._relays[relay] = listener

    def _tell_if_none_left(self) -> None:
        left = self._relays or self._offers
        if self._none_left is not None and not left and not self._none_left.done():
            self._none_left.set_result(None)

    async def drain(self) -> None:
        """Return when nothing passes through here any more, or has had its time."""
        self._none_left = self._loop.waiter()
        self._tell_if_none_left()
        with move_on_after(max((one.shutdown for one in self._sharing.values()), default=0.0)):
            await self._none_left

    def leave(self) -> None:
        """Take none any more: other machines serve them where they come."""
        if self._entrance is not None:
            self._entrance.close()
        while self._arrivals:
            arrival = self._arrivals.popleft()
            assert arrival.timer is not None
            arrival.timer.cancel()
            _refuse(arrival.session)

    def close(self) -> None:
        """The same, and end those that pass through here."""
        self.leave()
        for relay in list(self._relays):
            relay.close()


def _refuse(session: TlsSession) -> None:
    """Have a connection served where it came."""
    with suppress(OSError):
        session.send(REFUSED)
    session.close()


def _welcome(session: TlsSession) -> None:
    """Take a connection.

    Raises:
        OSError: it is not offered any more.
    """
    try:
        if session.recv_into(memoryview(bytearray(1))):
            raise ConnectionAbortedError("it says more than hello")
        raise ConnectionResetError("it was served where it came")
    except (BlockingIOError, InterruptedError):
        session.send(WELCOME)
