"""What each peer has of this node's shared memory: the slots, and the arenas it was told of."""

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
    """One account per peer, opened by its first lease and closed by its death."""

    def __init__(self) -> None:
        self._accounts: dict[Hashable, _PeerLeases] = {}

    def _of(self, peer: Hashable) -> _PeerLeases:
        account = self._accounts.get(peer)
        if account is None:
            account = self._accounts[peer] = _PeerLeases()
        return account

    @property
    def leases(self) -> int:
        """Slots that peers have."""
        return sum(len(account.slots) for account in self._accounts.values())

    def held(self, peer: Hashable) -> int:
        """Bytes leased to one peer."""
        account = self._accounts.get(peer)
        return 0 if account is None else account.held

    def has(self, peer: Hashable, slot: Slot) -> bool:
        """Whether this slot is leased to this peer."""
        account = self._accounts.get(peer)
        return account is not None and slot in account.slots

    def add(self, peer: Hashable, slot: Slot) -> None:
        """It is leased to this peer."""
        account = self._of(peer)
        account.slots.add(slot)
        account.held += slot.length

    def remove(self, peer: Hashable, slot: Slot) -> None:
        """It is not any more; its length is still what it was."""
        account = self._accounts[peer]
        account.slots.remove(slot)
        account.held -= slot.length

    def introduce(self, arena: Segment, peer: Hashable) -> SegmentIntroduction | None:
        """What this peer needs to know of an arena it has not seen; None if it has.

        Raises:
            OSError: no descriptors left.
        """
        known = self._of(peer).known
        number = arena.plan.number
        if number in known:
            return None
        introduction = SegmentIntroduction(arena.plan, os.dup(arena.fd))
        known.add(number)
        return introduction

    def forget(self, introduction: SegmentIntroduction | None, peer: Hashable) -> None:
        """An introduction that will not be sent."""
        if introduction is not None:
            os.close(introduction.fd)
            self._of(peer).known.discard(introduction.plan.number)

    def close(self, peer: Hashable) -> list[Slot]:
        """The slots of a peer that is dead; it has no account any more."""
        account = self._accounts.pop(peer, None)
        return [] if account is None else list(account.slots)

    def retire(self, number: int) -> None:
        """An arena is no more: whoever knew it has to hear of that."""
        for account in self._accounts.values():
            if number in account.known:
                account.known.remove(number)
                account.retired.append(number)

    def retired(self, peer: Hashable) -> list[int]:
        """The arenas this peer has to hear of, once."""
        account = self._accounts.get(peer)
        if account is None:
            return []
        numbers, account.retired = account.retired, []
        return numbers
