"""The snapshots that a policy chooses from, kept from one connection to the next.

Rule 1: a snapshot is made again when something about its node has changed, not for each connection.
Rule 2: lags decay with time, so all snapshots are made again once a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from actors.routing.balancer.records import Member
from actors.routing.policy.policy import Snapshot

__all__ = ["Snapshots"]

_OLDEST: Final = 1.0


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

    def reset(self, members: Iterable[Member]) -> None:
        """These are the nodes from now on, in order of slots."""
        self._members = {member: at for at, member in enumerate(members)}
        self._made = []

    def changed(self, member: Member) -> None:
        """Make the snapshot of *member* again before the next connection."""
        self._changed.add(member)

    def current(self, now: float, *, keyed: bool) -> list[Snapshot]:
        """Return the snapshots as they are at *now*; only a keyed connection waits for a late node."""
        if len(self._made) != len(self._members) or now - self._made_at > _OLDEST:
            self._made = [self._new(member, now, keyed=False) for member in self._members]
            self._made_at = now
        else:
            for member in self._changed:
                at = self._members.get(member)
                if at is not None:
                    self._made[at] = self._new(member, now, keyed=False)
        self._changed.clear()
        if not keyed or not any(member.late for member in self._members):
            return list(self._made)
        return [self._new(member, now, keyed=True) for member in self._members]

    def _new(self, member: Member, now: float, *, keyed: bool) -> Snapshot:
        return member.snapshot(self._limit(member.node.slot), now, keyed=keyed)
