"""Who gets which connection, and what becomes of it until it is acknowledged.

Rule 1: a connection has one owner at any time: the pending line, one node's queue, or one node's
un-acknowledged set. Only `_give` moves it to a node and only `_take_back` away from one.
Rule 2: what was handed to a node is handed to another only when that node is dead or has refused
it: un-acknowledged is not unread.
Rule 3: first come, first handed over: a connection that is taken back from a node keeps its turn.
Rule 4: a node that owes acknowledgements gets nothing more: if it hangs, it costs one hand-over. What
is only meant for it goes elsewhere as soon as it is late; keyed connections, as soon as it is suspect.
Rule 5: a hand-over is one connection, and more only of those that came while the node owed one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from operator import attrgetter
from typing import Final

from actors.routing.balancer.records import Connection, Member
from actors.routing.events import (
    Dropped,
    HandOverFailed,
    NodeSuspect,
    NodeTrusted,
    PolicyFailed,
    Redispatched,
)
from actors.routing.interfaces import HandedOver, Report, RouterLoop, RouterNode, RouterTimer
from actors.routing.policy.policy import LeastConnections, Policy, Snapshot

__all__ = ["Dispatch"]

_MOST_TRIES: Final = 3


class Dispatch:
    """The nodes of one listener and the connections on their way to them.

    Args:
        loop: the event loop.
        policy: who gets a connection.
        listener: the listener's name.
        report: takes facts.
        changed: called when there may be more or less room.
        limit: how many connections the node of a slot may have; None for no limit.
        at_once: connections that one hand-over has at most.
        patience: seconds after which a node is late.
        ack_deadline: seconds after which it is suspect.
    """

    def __init__(
        self,
        loop: RouterLoop,
        policy: Policy,
        *,
        listener: str,
        report: Report,
        changed: Callable[[], None],
        limit: Callable[[int], int | None],
        at_once: int,
        patience: float,
        ack_deadline: float,
    ) -> None:
        self._loop = loop
        self._policy = policy
        self._listener = listener
        self._report = report
        self._changed = changed
        self._limit = limit
        self._at_once = at_once
        self._patience = patience
        self._ack_deadline = ack_deadline
        self._members: dict[str, Member] = {}
        self._pending: deque[Connection] = deque()
        self._ids = count(1)
        self._arrivals = count(1)
        self._turn = 0
        self._queued = 0
        self.staffed = False
        """Whether any node takes connections at all."""
        self.refused = self.redispatched = self.dropped = 0
        """Connections that a node closed unread, that a dead node had not read, that were given up."""
        self._timer: RouterTimer | None = None
        self._flushing = False
        self._policy_failed = False

    @property
    def members(self) -> list[Member]:
        """The nodes, in order of slots."""
        return sorted(self._members.values(), key=lambda member: member.place.slot)

    @property
    def pending(self) -> int:
        """Connections that no node is meant for yet."""
        return len(self._pending)

    @property
    def waiting(self) -> int:
        """Connections that have not been handed over."""
        return len(self._pending) + self._queued

    def joined(self, place: RouterNode) -> None:
        """Give connections to *place* from now on.

        One of the same name is gone; one of the same slot but another name drains.
        """
        for member in list(self._members.values()):
            if member.name == place.name:
                self.left(member.name, dead=True)
            elif member.place.slot == place.slot:
                self.left(member.name, dead=False)
        self._members[place.name] = Member(place)
        self._members = {member.name: member for member in self.members}
        self.staffed = True
        self._settle()

    def left(self, name: str, *, dead: bool) -> None:
        """Give *name* no more; if it is dead, what it did not acknowledge goes to others."""
        member = self._members.get(name)
        if member is None:
            return
        member.ready = False
        self.staffed = any(other.ready for other in self._members.values())
        lost = list(member.unacked.values()) if dead else []
        self._take_back(member, everything=True)
        if dead:
            member.unacked.clear()
            del self._members[name]
            self._again(lost, name)
        self._settle()

    def add(self, connection: Connection) -> None:
        """Give *connection* to a node, or let it wait its turn."""
        connection.arrival = next(self._arrivals)
        self._pending.append(connection)
        self._flush()

    def told(
        self,
        name: str,
        acknowledged: Iterable[int],
        refused: Iterable[int],
        closed: Iterable[int],
    ) -> None:
        """Note what a node says it has taken, has closed unread, and has served."""
        member = self._members.get(name)
        if member is None:
            return
        for number in acknowledged:
            self._took(member, number)
        for number in refused:
            self._gave_back(member, number)
        for number in closed:
            if number in member.unacked:
                self._took(member, number)
            member.open.discard(number)
        self._pump(member)
        self._settle()

    def _took(self, member: Member, number: int) -> None:
        """Close our copy: the node has it."""
        connection = member.unacked.pop(number, None)
        if connection is not None:
            connection.close()
            member.open.add(number)
            member.answered(self._loop.now(), connection.sent)
            self._trust(member)

    def _gave_back(self, member: Member, number: int) -> None:
        """Let another have what the node has closed unread."""
        connection = member.unacked.pop(number, None)
        if connection is not None:
            self.refused += 1
            self._rest(member, connection)
            self._trust(member)

    def close(self) -> None:
        """Close our copy of everything that no node has acknowledged."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for member in self._members.values():
            self._pending.extend(member.queue)
            self._pending.extend(member.unacked.values())
        self._members.clear()
        self._queued = 0
        self.staffed = False
        while self._pending:
            self._pending.popleft().close()

    def _settle(self) -> None:
        if self._pending:
            self._flush()
        self._changed()

    def _flush(self) -> None:
        """Give away what is pending, in order, as far as nodes can be found."""
        if self._flushing:  # a place in this process acknowledges while it is being given to
            return
        self._flushing = True
        try:
            while self._pending:
                member = self._choose(self._pending[0].key)
                if member is None:
                    return
                self._give(member, self._pending.popleft())
        finally:
            self._flushing = False

    def _choose(self, key: bytes | None) -> Member | None:
        keyed = key is not None
        limit, now = self._limit, self._loop.now()
        nodes = [m.snapshot(limit(m.place.slot), now, keyed=keyed) for m in self._members.values()]
        try:
            chosen = _checked(self._policy.choose(nodes, key), nodes)
        except Exception as error:  # noqa: BLE001 - a user's policy must not stop the router
            if not self._policy_failed:
                self._policy_failed = True
                self._report(PolicyFailed(self._listener, error))
            chosen = LeastConnections().choose(nodes, None)
        return None if chosen is None else self._members[chosen.name]

    def _give(self, member: Member, connection: Connection) -> None:
        self._turn += 1
        member.last = self._turn
        if member.queue and member.queue[-1].arrival > connection.arrival:
            member.queue = _by_arrival(connection, *member.queue)
        else:
            member.queue.append(connection)
        self._queued += 1
        self._pump(member)

    def _pump(self, member: Member) -> None:
        """Hand over what is queued, if the node owes nothing."""
        if member.pumping:
            return
        member.pumping = True
        try:
            while member.queue and member.ready and not member.unacked:
                count = min(len(member.queue), self._at_once)
                self._queued -= count
                self._hand_over(member, [member.queue.popleft() for _ in range(count)])
        finally:
            member.pumping = False

    def _hand_over(self, member: Member, connections: list[Connection]) -> None:
        now = self._loop.now()
        handed = []
        for connection in connections:
            number = next(self._ids)
            connection.sent = now
            member.unacked[number] = connection
            handed.append(HandedOver(number, connection.sock.fileno(), connection.client))
        member.total += len(handed)
        self._start_clock()
        try:
            member.place.hand_over(handed, self._listener)
        except Exception as error:  # noqa: BLE001 - whatever ails one node, others serve
            self._report(HandOverFailed(self._listener, member.name, error))
            member.total -= len(handed)
            back = [member.unacked.pop(number, None) for number, *_ in handed]
            self._rest(member, *(connection for connection in back if connection is not None))

    def _take_back(self, member: Member, *, everything: bool) -> None:
        """Let others have what was only meant for *member*; keyed ones if *everything*."""
        back = [c for c in member.queue if everything or c.key is None]
        stay = [c for c in member.queue if not everything and c.key is not None]
        member.queue = deque(stay)
        self._queued -= len(back)
        if back:
            self._pending = _by_arrival(*back, *self._pending)

    def _again(self, lost: list[Connection], name: str) -> None:
        """Put first in line what a dead node did not acknowledge."""
        kept = []
        for connection in lost:
            connection.tries += 1
            if connection.tries < _MOST_TRIES:
                kept.append(connection)
            else:
                connection.close()
                self.dropped += 1
                self._report(Dropped(self._listener, connection.tries))
        if kept:
            self._pending = _by_arrival(*kept, *self._pending)
            self.redispatched += len(kept)
            self._report(Redispatched(self._listener, name, len(kept)))

    def _rest(self, member: Member, *connections: Connection) -> None:
        """Leave *member* alone until the next tick; others may have *connections*."""
        member.resting = True
        self._pending = _by_arrival(*connections, *self._pending)
        self._take_back(member, everything=True)
        self._start_clock()

    def _trust(self, member: Member) -> None:
        member.late = False
        if member.suspect:
            member.suspect = False
            self._report(NodeTrusted(self._listener, member.name))

    def _start_clock(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._patience / 2, self._tick)

    def _tick(self) -> None:
        """Look who is late; the clock stops when nobody owes anything."""
        self._timer = None
        now = self._loop.now()
        for member in self._members.values():
            member.resting = False
            oldest = member.oldest()
            if oldest is not None:
                self._start_clock()
                self._judge(member, now - oldest)
        self._settle()

    def _judge(self, member: Member, age: float) -> None:
        if age >= self._patience:
            member.late = True
            self._take_back(member, everything=False)
        if age >= self._ack_deadline and not member.suspect:
            member.suspect = True
            self._report(NodeSuspect(self._listener, member.name, len(member.unacked), age))
        if member.suspect:
            self._take_back(member, everything=True)


def _by_arrival(*connections: Connection) -> deque[Connection]:
    """Return them in the order in which they came; whoever moves does not lose its turn."""
    return deque(sorted(connections, key=attrgetter("arrival")))


def _checked(chosen: Snapshot | None, nodes: list[Snapshot]) -> Snapshot | None:
    """Return what a policy chose, if it may be chosen."""
    if chosen is None or (chosen in nodes and chosen.eligible):
        return chosen
    raise ValueError(f"the policy chose {chosen!r}, which may not get a connection now")
