"""What each peer has of this node's shared memory: the slots, and the segments it was told of."""

import os
from collections.abc import Hashable

from actors.transport.memory.lease import SegmentIntroduction
from actors.transport.memory.segment import Segment, Slot

__all__ = ["LeasesByPeer"]


class _PeerLeases:
    __slots__ = ("held", "known", "retired", "slots")

    def __init__(self) -> None:
        self.slots: set[Slot] = set()
        self.held = 0
        self.known: set[int] = set()
        self.retired: list[int] = []


class LeasesByPeer:
    """One leases per peer, opened by its first lease and closed by its death."""

    def __init__(self) -> None:
        self._peers: dict[Hashable, _PeerLeases] = {}

    def _for_peer(self, peer: Hashable) -> _PeerLeases:
        leases = self._peers.get(peer)
        if leases is None:
            leases = self._peers[peer] = _PeerLeases()
        return leases

    @property
    def leases(self) -> int:
        """Slots that peers have."""
        return sum(len(leases.slots) for leases in self._peers.values())

    def held(self, peer: Hashable) -> int:
        """Bytes leased to one peer."""
        leases = self._peers.get(peer)
        return 0 if leases is None else leases.held

    def has(self, peer: Hashable, slot: Slot) -> bool:
        """Whether this slot is leased to this peer."""
        leases = self._peers.get(peer)
        return leases is not None and slot in leases.slots

    def add(self, peer: Hashable, slot: Slot) -> None:
        """It is leased to this peer."""
        leases = self._for_peer(peer)
        leases.slots.add(slot)
        leases.held += slot.length

    def remove(self, peer: Hashable, slot: Slot) -> None:
        """It is not any more; its length is still what it was."""
        leases = self._peers[peer]
        leases.slots.remove(slot)
        leases.held -= slot.length

    def introduce(self, segment: Segment, peer: Hashable) -> SegmentIntroduction | None:
        """What this peer needs to know of a segment it has not seen; None if it has.

        Raises:
            OSError: no descriptors left.
        """
        known = self._for_peer(peer).known
        number = segment.layout.number
        if number in known:
            return None
        introduction = SegmentIntroduction(segment.layout, os.dup(segment.fd))
        known.add(number)
        return introduction

    def forget(self, introduction: SegmentIntroduction | None, peer: Hashable) -> None:
        """An introduction that will not be sent."""
        if introduction is not None:
            os.close(introduction.fd)
            self._for_peer(peer).known.discard(introduction.layout.number)

    def close(self, peer: Hashable) -> list[Slot]:
        """The slots of a peer that is dead; it has no leases any more."""
        leases = self._peers.pop(peer, None)
        return [] if leases is None else list(leases.slots)

    def retire(self, number: int) -> None:
        """A segment is no more: whoever knew it has to hear of that."""
        for leases in self._peers.values():
            if number in leases.known:
                leases.known.remove(number)
                leases.retired.append(number)

    def take_retired(self, peer: Hashable) -> list[int]:
        """The segments this peer has to hear of, once."""
        leases = self._peers.get(peer)
        if leases is None:
            return []
        numbers, leases.retired = leases.retired, []
        return numbers
