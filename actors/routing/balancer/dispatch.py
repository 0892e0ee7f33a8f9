"""Which node gets which connection, and what happens to it until it is acknowledged.

Rule 1: a connection is in one place at any time: the pending queue, one node's queue, or one node's
unacknowledged set. Only `_assign` moves it to a node and only `_unassign` away from one.
Rule 2: what was handed to a node is handed to another only when that node is dead or has refused
it: a node may have begun to read what it has not acknowledged.
Rule 3: connections are handed over in the order they came; one that is taken back from a node keeps its place.
Rule 4: a node that owes acknowledgements gets nothing more: if it hangs, it costs one hand-over. What
is queued for it goes elsewhere as soon as it is late; keyed connections, as soon as it is suspect.
Rule 5: a hand-over is one connection, and more only of those that came while the node owed one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from operator import attrgetter
from typing import Final

from actors._base.loop import Loop, Timer
from actors.routing.balancer.records import Connection, Member
from actors.routing.balancer.snapshots import Snapshots
from actors.routing.events import (
    ConnectionDropped,
    ConnectionsRedispatched,
    HandOverFailed,
    NodeSuspect,
    NodeTrusted,
    PolicyFailed,
)
from actors.routing.interfaces import HandedOver, Report, RouterNode
from actors.routing.policy.policy import LeastConnections, Policy, Snapshot, is_by_load

__all__ = ["Dispatch"]

_MOST_TRIES: Final = 3
_LATE_AFTER: Final = 0.1
"""Seconds without acknowledgement after which balancing avoids a node."""
_SUSPECT_AFTER: Final = 2.0
"""Seconds without acknowledgement after which a node gets nothing until it acknowledges."""


class Dispatch:
    """The nodes of one listener and the connections on their way to them.

    Args:
        loop: the event loop.
        policy: chooses the node of each connection.
        listener: the listener's name, for reports.
        report: takes the records of `actors.routing.events`.
        changed: called when `waiting` or `has_ready_nodes` may have changed.
        limit: returns how many connections the node of a slot may have; None for no limit.
        max_batch: connections that one hand-over has at most.
    """

    def __init__(
        self,
        loop: Loop,
        policy: Policy,
        *,
        listener: str,
        report: Report,
        changed: Callable[[], None],
        limit: Callable[[int], int | None],
        max_batch: int,
    ) -> None:
        self._loop = loop
        self._policy = policy
        self._by_load = is_by_load(policy)
        self._listener = listener
        self._report = report
        self._changed = changed
        self._snapshots = Snapshots(limit)
        self._max_batch = max_batch
        self._members: dict[str, Member] = {}
        self._pending: deque[Connection] = deque()
        self._ids = count(1)
        self._arrivals = count(1)
        self._turn = 0
        self._queued = 0
        self.has_ready_nodes: bool = False
        """Whether any node takes connections at all."""
        self.refused: int = 0
        self.redispatched: int = 0
        self.dropped: int = 0
        """Connections that a node closed unread, that a dead node left to others, that were given up."""
        self._timer: Timer | None = None
        self._flushing = False
        self._policy_failed = False
        self._told = (0, False)
        """What `changed` was called for last."""

    @property
    def members(self) -> list[Member]:
        """The nodes, in order of slots."""
        return sorted(self._members.values(), key=lambda member: member.node.slot)

    @property
    def pending(self) -> int:
        """Connections that are assigned to no node yet."""
        return len(self._pending)

    @property
    def waiting(self) -> int:
        """Connections that have not been handed over."""
        return len(self._pending) + self._queued

    def add_node(self, node: RouterNode) -> None:
        """Give connections to *node* from now on; see `Router.add_node`."""
        for member in list(self._members.values()):
            if member.name == node.name:
                self.remove_node(member.name, dead=True)
            elif member.node.slot == node.slot:
                self.remove_node(member.name, dead=False)
        self._members[node.name] = Member(node)
        self._members = {member.name: member for member in self.members}
        self._snapshots.reset(self._members.values())
        self.has_ready_nodes = True
        self._reassign()

    def remove_node(self, name: str, *, dead: bool) -> None:
        """Stop giving connections to *name*; see `Router.remove_node`."""
        member = self._members.get(name)
        if member is None:
            return
        member.ready = False
        self._snapshots.changed(member)
        self.has_ready_nodes = any(other.ready for other in self._members.values())
        self._unassign(member, everything=True)
        if dead:
            lost = list(member.unacked.values())
            member.unacked.clear()
            del self._members[name]
            self._snapshots.reset(self._members.values())
            self._requeue(lost, name)
        self._reassign()

    def resume_node(self, name: str) -> None:
        """Give connections to *name* again, which has got none for a while."""
        member = self._members.get(name)
        if member is not None:
            member.ready = self.has_ready_nodes = True
            self._snapshots.changed(member)
            self._reassign()

    def add(self, connection: Connection) -> None:
        """Assign *connection* to a node, or let it wait its turn."""
        connection.arrival = next(self._arrivals)
        self._pending.append(connection)
        self._reassign()

    def take_pending(self) -> Connection | None:
        """Take back the connection that has waited longest for a node, if one waits."""
        return self._pending.popleft() if self._pending else None

    def on_acks(
        self,
        name: str,
        acknowledged: Iterable[int],
        refused: Iterable[int],
        closed: Iterable[int],
    ) -> None:
        """Record the connections that node *name* has taken, has closed unread, and has served."""
        member = self._members.get(name)
        if member is None:
            return
        self._snapshots.changed(member)
        for number in acknowledged:
            self._acknowledged(member, number)
        for number in refused:
            self._refused(member, number)
        for number in closed:
            if number in member.unacked:
                self._acknowledged(member, number)
            member.open.discard(number)
        self._drain_queue(member)
        self._reassign()

    def _acknowledged(self, member: Member, number: int) -> None:
        """Close the router's copy: the node has the connection."""
        connection = member.unacked.pop(number, None)
        if connection is not None:
            connection.sock.close()
            member.open.add(number)
            member.observe_ack(self._loop.now(), connection.sent)
            self._trust_again(member)

    def _refused(self, member: Member, number: int) -> None:
        """Give another node what this one has closed unread."""
        connection = member.unacked.pop(number, None)
        if connection is not None:
            self.refused += 1
            self._cool_down(member, connection)
            self._trust_again(member)

    def close(self) -> None:
        """Close the router's copy of everything that no node has acknowledged."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for member in self._members.values():
            self._pending.extend(member.queue)
            self._pending.extend(member.unacked.values())
        self._members.clear()
        self._snapshots.reset(())
        self._queued = 0
        self.has_ready_nodes = False
        while self._pending:
            self._pending.popleft().sock.close()

    def _reassign(self) -> None:
        """Assign what waits, and say so if it matters for accepting: mostly nothing waits, before and after."""
        if self._pending:
            self._flush()
        state = self.waiting, self.has_ready_nodes
        if state != self._told:
            self._told = state
            self._changed()

    def _flush(self) -> None:
        """Assign what is pending, in order, until no node can take more."""
        if self._flushing:  # a node in this process acknowledges during the hand-over
            return
        self._flushing = True
        try:
            while self._pending:
                member = self._choose(self._pending[0].key)
                if member is None:
                    return
                self._assign(member, self._pending.popleft())
        finally:
            self._flushing = False

    def _choose(self, key: bytes | None) -> Member | None:
        if key is None and self._by_load:
            least = self._snapshots.least(self._loop.now())
            return None if least is None else self._members[least.name]
        nodes = self._snapshots.current(self._loop.now(), keyed=key is not None)
        try:
            chosen = _checked(self._policy.choose(nodes, key), nodes)
        except Exception as error:  # noqa: BLE001 - a user's policy must not stop the router
            if not self._policy_failed:
                self._policy_failed = True
                self._report(PolicyFailed(self._listener, error))
            chosen = LeastConnections().choose(nodes, None)
        return None if chosen is None else self._members[chosen.name]

    def _assign(self, member: Member, connection: Connection) -> None:
        self._turn += 1
        self._snapshots.changed(member)
        member.last_turn = self._turn
        if member.queue and member.queue[-1].arrival > connection.arrival:
            member.queue = _by_arrival(connection, *member.queue)
        else:
            member.queue.append(connection)
        self._queued += 1
        self._drain_queue(member)

    def _drain_queue(self, member: Member) -> None:
        """Hand over what is queued for *member*, if it owes no acknowledgement."""
        if member.draining_queue:
            return
        member.draining_queue = True
        try:
            while member.queue and member.ready and not member.unacked:
                count = min(len(member.queue), self._max_batch)
                self._queued -= count
                self._hand_over(member, [member.queue.popleft() for _ in range(count)])
        finally:
            member.draining_queue = False

    def _hand_over(self, member: Member, connections: list[Connection]) -> None:
        now = self._loop.now()
        handed = []
        self._snapshots.changed(member)
        for connection in connections:
            number = next(self._ids)
            connection.sent = now
            member.unacked[number] = connection
            handed.append(HandedOver(number, connection.sock.fileno(), connection.client))
        member.total += len(handed)
        self._start_timer()
        try:
            member.node.hand_over(handed, self._listener)
        except Exception as error:  # noqa: BLE001 - one broken node must not stop the others
            self._report(HandOverFailed(self._listener, member.name, error))
            member.total -= len(handed)
            back = [member.unacked.pop(number, None) for number, *_ in handed]
            self._cool_down(member, *(connection for connection in back if connection is not None))

    def _unassign(self, member: Member, *, everything: bool) -> None:
        """Move the queue of *member* back to pending; keyed connections only if *everything*."""
        back = [c for c in member.queue if everything or c.key is None]
        stay = [c for c in member.queue if not everything and c.key is not None]
        member.queue = deque(stay)
        self._snapshots.changed(member)
        self._queued -= len(back)
        if back:
            self._pending = _by_arrival(*back, *self._pending)

    def _requeue(self, lost: list[Connection], name: str) -> None:
        """Make pending again what the dead node *name* did not acknowledge; drop after three deaths."""
        kept = []
        for connection in lost:
            connection.tries += 1
            if connection.tries < _MOST_TRIES:
                kept.append(connection)
            else:
                connection.sock.close()
                self.dropped += 1
                self._report(ConnectionDropped(self._listener, connection.tries))
        if kept:
            self._pending = _by_arrival(*kept, *self._pending)
            self.redispatched += len(kept)
            self._report(ConnectionsRedispatched(self._listener, name, len(kept)))

    def _cool_down(self, member: Member, *connections: Connection) -> None:
        """Give *member* nothing until the next tick; its queue and *connections* go to others."""
        member.cooling_down = True
        self._snapshots.changed(member)
        self._pending = _by_arrival(*connections, *self._pending)
        self._unassign(member, everything=True)  # the hand-over that failed has started the timer

    def _trust_again(self, member: Member) -> None:
        member.late = False
        if member.suspect:
            member.suspect = False
            self._report(NodeTrusted(self._listener, member.name))

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(_LATE_AFTER / 2, self._tick)

    def _tick(self) -> None:
        """Find late nodes; the timer is started again only while an acknowledgement is missing."""
        self._timer = None
        now = self._loop.now()
        for member in self._members.values():
            self._snapshots.changed(member)
            member.cooling_down = False
            oldest = member.oldest_unacked()
            if oldest is not None:
                self._start_timer()
                self._check_age(member, now - oldest)
        self._reassign()

    def _check_age(self, member: Member, age: float) -> None:
        if age >= _LATE_AFTER:
            member.late = True
            self._unassign(member, everything=False)
        if age >= _SUSPECT_AFTER and not member.suspect:
            member.suspect = True
            self._report(NodeSuspect(self._listener, member.name, len(member.unacked), age))
        if member.suspect:
            self._unassign(member, everything=True)


def _by_arrival(*connections: Connection) -> deque[Connection]:
    """Sort *connections* by when they were accepted, so that a moved one does not lose its turn."""
    return deque(sorted(connections, key=attrgetter("arrival")))


def _checked(chosen: Snapshot | None, nodes: list[Snapshot]) -> Snapshot | None:
    """Return what a policy chose; raise if that node may not get a connection."""
    if chosen is None or (chosen.eligible and chosen in nodes):
        return chosen
    raise ValueError(f"the policy chose {chosen!r}, which may not get a connection now")
