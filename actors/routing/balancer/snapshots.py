"""The snapshots that a policy chooses from, kept from one connection to the next.

Rule 1: a snapshot is made again when something about its node has changed, not for each connection.
Rule 2: lags decay with time, so all snapshots are made again once a second.
Rule 3: `least` finds what `LeastConnections` would choose without looking at every node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

from actors.routing.balancer.records import Member
from actors.routing.policy.lag import lags_behind
from actors.routing.policy.policy import Snapshot

__all__ = ["Snapshots"]

_OLDEST: Final = 1.0

_Entry: TypeAlias = tuple[int, int, int]
"""A node's connections, its last turn, and where its snapshot is: the least entry is chosen."""


class Snapshots:
    """One snapshot for each node, in order of slots.

    Args:
        limit: returns how many connections the node of a slot may have; None for no limit.
    """

    def __init__(self, limit: Callable[[int], int | None]) -> None:
        self._limit = limit
        self._members: dict[Member, int] = {}
        """The nodes, and where the snapshot of each is."""
        self._made: list[Snapshot] = []
        self._changed: set[Member] = set()
        self._made_at = 0.0
        self._heap: list[_Entry] | None = None
        """Has an entry for each eligible snapshot, and those of earlier snapshots; None if nobody has asked."""

    def reset(self, members: Iterable[Member]) -> None:
        """These are the nodes from now on, in order of slots."""
        self._members = {member: at for at, member in enumerate(members)}
        self._made = []
        self._heap = None

    def changed(self, member: Member) -> None:
        """Make the snapshot of *member* again before the next connection."""
        self._changed.add(member)

    def current(self, now: float, *, keyed: bool) -> list[Snapshot]:
        """Return the snapshots as they are at *now*; only a keyed connection waits for a late node."""
        self._refresh(now)
        if not keyed or not any(member.late for member in self._members):
            return list(self._made)
        return [self._new(member, now, keyed=True) for member in self._members]

    def least(self, now: float) -> Snapshot | None:
        """Return what `LeastConnections` chooses of the snapshots at *now*, for a connection without a key."""
        self._refresh(now)
        if self._heap is None or len(self._heap) > 4 * len(self._made):
            self._heap = [_entry(at, one) for at, one in enumerate(self._made) if one.eligible]
            heapify(self._heap)
        heap, made = self._heap, self._made
        first = self._first(heap)
        if first is None or not lags_behind(made[first[-1]].lag, 0.0):
            return None if first is None else made[first[-1]]
        best = min(one.lag for one in made if one.eligible)
        passed: list[_Entry] = []
        entry: _Entry | None = first
        while entry and entry[0] == first[0] and lags_behind(made[entry[-1]].lag, best):
            passed.append(heappop(heap))
            entry = self._first(heap)
        for one in passed:
            heappush(heap, one)
        return made[entry[-1] if entry and entry[0] == first[0] else first[-1]]

    def _first(self, heap: list[_Entry]) -> _Entry | None:
        """Return the least entry that is still true, and forget those before it."""
        while heap:
            at = heap[0][-1]
            snapshot = self._made[at]
            if snapshot.eligible and _entry(at, snapshot) == heap[0]:
                return heap[0]
            heappop(heap)
        return None

    def _refresh(self, now: float) -> None:
        """Make again the snapshots that are not true any more."""
        if len(self._made) != len(self._members) or now - self._made_at > _OLDEST:
            self._made = [self._new(member, now, keyed=False) for member in self._members]
            self._made_at = now
            self._heap = None
        else:
            for member in self._changed:
                at = self._members.get(member)
                if at is not None:
                    one = self._made[at] = self._new(member, now, keyed=False)
                    if self._heap is not None and one.eligible:
                        heappush(self._heap, _entry(at, one))
        self._changed.clear()

    def _new(self, member: Member, now: float, *, keyed: bool) -> Snapshot:
        return member.snapshot(self._limit(member.node.slot), now, keyed=keyed)


def _entry(at: int, snapshot: Snapshot) -> _Entry:
    return snapshot.open + snapshot.pending, snapshot.last, at
