"""A connection between being accepted and being acknowledged, and a node as the router keeps it.

Rule 1: records; what happens to them is decided in `_dispatch`.
"""

from __future__ import annotations

import socket
from collections import deque
from dataclasses import dataclass, field

from actors.routing.interfaces import RouterNode
from actors.routing.policy.lag import faded, stalled
from actors.routing.policy.policy import Snapshot
from actors.routing.sticky.keys import Address

__all__ = ["Connection", "Member"]


@dataclass(slots=True, eq=False)
class Connection:
    """One accepted connection; the router's copy is closed when a node has acknowledged."""

    sock: socket.socket
    client: Address
    key: bytes | None = None
    arrival: int = 0
    """How many came before it: whoever waits longest is served first, wherever it waits."""
    sent: float = 0.0
    """When it was handed over, in the loop's seconds."""
    tries: int = 0
    """How many nodes died without acknowledging it."""

    def close(self) -> None:
        """Close the router's copy."""
        self.sock.close()


@dataclass(slots=True, eq=False)
class Member:
    """One node and the connections that are or will be its."""

    place: RouterNode
    ready: bool = True
    """Cleared for good when it begins to leave."""
    late: bool = False
    """It owes an acknowledgement; balancing goes round it."""
    suspect: bool = False
    """It owes one for so long that nothing goes to it."""
    resting: bool = False
    """It refused or could not be reached a moment ago."""
    pumping: bool = False
    last: int = 0
    total: int = 0
    lag: float = 0.0
    lag_at: float = 0.0
    """When `lag` was that, in the loop's seconds."""
    queue: deque[Connection] = field(default_factory=deque)
    """Meant for it, not sent: it owes acknowledgements."""
    unacked: dict[int, Connection] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The node's name."""
        return self.place.name

    def answered(self, now: float, sent: float) -> None:
        """Note that it has just acknowledged what it was handed at *sent*."""
        self.lag = stalled(faded(self.lag, now - self.lag_at), now - sent)
        self.lag_at = now

    def snapshot(self, limit: int | None, now: float, *, keyed: bool) -> Snapshot:
        """Return what a policy sees; only a keyed connection waits for a late node."""
        return Snapshot(
            self.place.name,
            self.place.slot,
            len(self.open),
            len(self.queue) + len(self.unacked),
            self.ready and not self.resting,
            self.suspect or (self.late and not keyed),
            limit,
            self.last,
            faded(self.lag, now - self.lag_at),
        )

    def oldest(self) -> float | None:
        """Return when the oldest un-acknowledged connection was handed over."""
        for connection in self.unacked.values():
            return connection.sent
        return None
