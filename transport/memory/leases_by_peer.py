"""What each peer has of this node's shared memory: its leased slots and the segments it has mapped."""

import os
from collections.abc import Hashable
from typing import Final

from actors.transport.memory.lease import SegmentIntroduction
from actors.transport.memory.segment import Segment, Slot

__all__ = ["LeasesByPeer"]


class _PeerLeases:
    __slots__ = ("held", "introduced", "retired", "slots")

    def __init__(self) -> None:
        self.slots: set[Slot] = set()
        self.held = 0
        self.introduced: set[int] = set()
        self.retired: list[int] = []


_NOTHING: Final = _PeerLeases()
"""Stands for a peer without leases; always empty."""


class LeasesByPeer:
    """One record per peer, made by its first lease and removed when the peer is dead."""

    def __init__(self) -> None:
        self._peers: dict[Hashable, _PeerLeases] = {}

    @property
    def leases(self) -> int:
        """How many slots are leased, all peers together."""
        return sum(len(leases.slots) for leases in self._peers.values())

    def held(self, peer: Hashable) -> int:
        """Bytes leased to one peer."""
        return self._peers.get(peer, _NOTHING).held

    def add(self, peer: Hashable, slot: Slot) -> None:
        """Record that the slot is leased to the peer, which has been introduced to its segment."""
        leases = self._peers[peer]
        leases.slots.add(slot)
        leases.held += slot.length

    def remove(self, peer: Hashable, slot: Slot) -> None:
        """Record that the peer gave the slot up; call it before the slot's length changes."""
        leases = self._peers[peer]
        leases.slots.remove(slot)
        leases.held -= slot.length

    def introduce(self, segment: Segment, peer: Hashable) -> SegmentIntroduction | None:
        """What the peer needs in order to map a segment; None if it was introduced before.

        Raises:
            OSError: no descriptors left.
        """
        leases = self._peers.get(peer)
        if leases is None:
            leases = self._peers[peer] = _PeerLeases()
        number = segment.layout.number
        if number in leases.introduced:
            return None
        introduction = SegmentIntroduction(segment.layout, os.dup(segment.fd))
        leases.introduced.add(number)
        return introduction

    def cancel_introduction(self, introduction: SegmentIntroduction | None, peer: Hashable) -> None:
        """Undo `introduce` for an introduction that will not be sent."""
        if introduction is not None:
            os.close(introduction.fd)
            self.forget_introduction(introduction.layout.number, peer)

    def forget_introduction(self, number: int, peer: Hashable) -> None:
        """Introduce a segment anew before the peer's next lease in it: it has not mapped it."""
        self._peers.get(peer, _NOTHING).introduced.discard(number)

    def close(self, peer: Hashable) -> list[Slot]:
        """Remove the record of a dead peer; returns the slots it had."""
        return list(self._peers.pop(peer, _NOTHING).slots)

    def retire(self, number: int) -> None:
        """A segment was closed: every peer that mapped it has to be told."""
        for leases in self._peers.values():
            if number in leases.introduced:
                leases.introduced.remove(number)
                leases.retired.append(number)

    def take_retired(self, peer: Hashable) -> list[int]:
        """The closed segments the peer has not been told of; each is returned once."""
        retired = self._peers.get(peer, _NOTHING).retired
        numbers = retired.copy()
        retired.clear()
        return numbers
