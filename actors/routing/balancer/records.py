"""A connection between being accepted and being acknowledged, and a node as the router sees it.

Rule 1: records; what happens to them is decided in `dispatch`.
"""

from __future__ import annotations

import socket
from collections import deque
from dataclasses import dataclass, field

from actors.routing.interfaces import RouterNode
from actors.routing.policy.lag import decayed, observe
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
    """How many came before it: the oldest is served first, in whichever queue it waits."""
    sent: float = 0.0
    """When it was handed over, in the loop's seconds."""
    tries: int = 0
    """How many nodes died without acknowledging it."""


@dataclass(slots=True, eq=False)
class Member:
    """One node, the connections queued for it and those it has."""

    node: RouterNode
    ready: bool = True
    """Cleared for good when the node is removed or begins to drain."""
    late: bool = False
    """It owes an acknowledgement; balancing avoids it."""
    suspect: bool = False
    """An acknowledgement is so late that the node gets no connections."""
    cooling_down: bool = False
    """It refused or could not be reached a moment ago."""
    draining_queue: bool = False
    """`Dispatch` is handing over its queue; guards against re-entry."""
    last_turn: int = 0
    total: int = 0
    lag: float = 0.0
    lag_at: float = 0.0
    """When `lag` had that value, in the loop's seconds."""
    queue: deque[Connection] = field(default_factory=deque)
    """Assigned to it and not sent, because it owes acknowledgements."""
    unacked: dict[int, Connection] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name

    def observe_ack(self, now: float, sent: float) -> None:
        """Update the lag: the node has just acknowledged what it was handed at *sent*."""
        self.lag = observe(decayed(self.lag, now - self.lag_at), now - sent)
        self.lag_at = now

    def snapshot(self, limit: int | None, now: float, *, keyed: bool) -> Snapshot:
        """Return what a policy sees; only a keyed connection waits for a late node."""
        return Snapshot(
            self.node.name,
            self.node.slot,
            len(self.open),
            len(self.queue) + len(self.unacked),
            self.ready and not self.cooling_down,
            self.suspect or (self.late and not keyed),
            limit,
            self.last_turn,
            decayed(self.lag, now - self.lag_at),
        )

    def oldest_unacked(self) -> float | None:
        """Return when the oldest unacknowledged connection was handed over."""
        return next((connection.sent for connection in self.unacked.values()), None)
