"""All segments of one node, and the book of who has which slot; no method waits, blocks or locks.

One thread owns it. Only the regions of local buffers may end elsewhere; they leave a note in a deque.
A slot is free, held here by a `Buffer`, or leased to one peer, which is whatever identifies one
incarnation of a node. It is never read again while leased, so a peer cannot harm its owner; it is not
given out again until the peer gave it back or is dead.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from actors.transport.errors import OutOfRange, StaleLease
from actors.transport.memory.free_list import FreeList
from actors.transport.memory.lease import (
    NUMBERS_PER_LEASE,
    Availability,
    Lease,
    LeaseDescriptor,
    check_ints,
    parse_descriptor,
)
from actors.transport.memory.leases_by_peer import LeasesByPeer
from actors.transport.memory.region import Region
from actors.transport.memory.segment import Slot

__all__ = ["OwnSlot", "PoolStats", "SegmentPool"]

GIB: Final = 1024 * 1024 * 1024
_THIS_NODE: Final = "here"


class PoolStats(NamedTuple):
    """What the segments of one node hold and did so far; sizes in bytes.

    Attributes:
        limit: most memory there may be.
        segments: segments open.
        resident: memory behind all slots.
        peak_resident: the most that ever was.
        held: memory behind slots that are not free.
        peak_held: the most that ever was.
        leases: slots that peers have.
        buffers: slots that buffers here have.
        leased: leases and transfers so far.
        given_back: leases that came back from peers that live.
        reclaimed: leases taken from peers that died.
        refused_cold: payloads not taken because memory would have had to be touched first.
        refused_full: payloads not taken for lack of room.
    """

    limit: int
    segments: int
    resident: int
    peak_resident: int
    held: int
    peak_held: int
    leases: int
    buffers: int
    leased: int
    given_back: int
    reclaimed: int
    refused_cold: int
    refused_full: int


class OwnSlot(NamedTuple):
    """A slot that this node itself uses, and the region that shows it."""

    slot: Slot
    region: Region


class SegmentPool:
    """Shared memory that one node owns, lends to its peers and gives to its own buffers.

    Args:
        limit: most memory it may take, in bytes; what would exceed it is refused.
        per_peer: most memory one peer may have leased, so that one that hangs leaves room for the
            others; half the limit if not given. Moved buffers are not counted.
    """

    def __init__(self, *, limit: int = GIB, per_peer: int | None = None) -> None:
        self._slots = FreeList(limit)
        self._per_peer = limit // 2 if per_peer is None else per_peer
        if not 0 < self._per_peer <= limit:
            msg = f"per_peer must be in 1..limit, got {self._per_peer} of {limit}"
            raise ValueError(msg)
        self._leases = LeasesByPeer()
        self._buffers = 0
        self._dropped: deque[Slot] = deque()
        self._counts = dict.fromkeys(("leased", "given_back", "reclaimed", "cold", "full"), 0)
        self._closed = False

    # ------------------------------------------------------------ lending

    def availability(self, size: int, peer: Hashable) -> Availability:
        """Whether `lease` would take `size` bytes for `peer`, and if memory is behind them already."""
        self._free_dropped()
        if self._closed or self._leases.held(peer) + size > self._per_peer:
            return Availability.FULL
        return self._slots.availability(size)

    def lease(self, data: memoryview, peer: Hashable, *, cold: bool = False) -> Lease | None:
        """Copy `data` into a slot and lease it to `peer`.

        Args:
            data: contiguous bytes of any format, 1 or more; free again when this returns.
            peer: identifies one incarnation of one node.
            cold: also use memory that has to be touched first, several times the price of a socket.

        Returns:
            the lease, or None if there is no room, or only a cold one: copy it into the frame
            then. What was refused as cold is warmed by the next calls of `warm`.
        """
        flat = data if data.format == "B" and data.ndim == 1 else data.cast("B")
        size = len(flat)
        slot = self._acquire(size, peer, cold=cold)
        if isinstance(slot, Availability):
            self._count_refusal(slot, size)
            return None
        try:
            self._slots.write(slot, flat)
        except OSError:
            self._slots.release(slot)
            self._count_refusal(Availability.FULL, size)
            return None
        return self._lease_slot(slot, peer, size)

    def _acquire(self, size: int, peer: Hashable, *, cold: bool) -> Slot | Availability:
        if self._dropped:
            self._free_dropped()
        if self._closed or self._leases.held(peer) + size > self._per_peer:
            return Availability.FULL
        return self._slots.acquire(size, cold=cold)

    def _count_refusal(self, room: Availability, size: int) -> None:
        self._counts["cold" if room is Availability.COLD else "full"] += 1
        if room is Availability.COLD:
            self._slots.request_warm(size)

    def _lease_slot(self, slot: Slot, peer: Hashable, size: int) -> Lease | None:
        try:
            introduction = self._leases.introduce(slot.segment, peer)
        except OSError:
            self._slots.release(slot)
            self._count_refusal(Availability.FULL, size)
            return None
        slot.assign(peer, size)
        self._leases.add(peer, slot)
        self._counts["leased"] += 1
        return Lease(_descriptor(slot), introduction)

    def cancel(self, lease: Lease, peer: Hashable) -> None:
        """Take back a lease of which the peer was never told, and close its descriptor."""
        self._leases.forget(lease.introduction, peer)
        slot = self._leased(*_place(lease.descriptor), peer)
        self._leases.remove(peer, slot)
        self._slots.release(slot)

    def release(self, batch: Sequence[Any], peer: Hashable) -> None:
        """Free the slots that `peer` needs no more.

        Args:
            batch: numbers as `Mappings.returned` made them, as they came over the link.
            peer: whose link it was.

        Raises:
            SegmentError: it names what this peer does not have; nothing before that is undone.
        """
        numbers = check_ints(batch)
        if len(numbers) % NUMBERS_PER_LEASE:
            msg = f"leases go back as {NUMBERS_PER_LEASE} numbers each, got {len(numbers)}"
            raise OutOfRange(msg)
        if self._closed:
            return
        for at in range(0, len(numbers), NUMBERS_PER_LEASE):
            segment, offset, generation = numbers[at : at + NUMBERS_PER_LEASE]
            slot = self._leased(segment, offset, generation, 1, peer)
            self._leases.remove(peer, slot)
            self._slots.release(slot)
            self._counts["given_back"] += 1

    def reclaim(self, peer: Hashable) -> int:
        """Free all that a dead peer had; only when it is certain that its process is gone.

        Returns:
            how many slots that were.
        """
        slots = self._leases.close(peer)
        for slot in slots:
            self._slots.release(slot)
        self._counts["reclaimed"] += len(slots)
        return len(slots)

    def _leased(
        self, segment: int, offset: int, generation: int, length: int, peer: Hashable
    ) -> Slot:
        """The slot at this place, if it is this peer's.

        Raises:
            StaleLease: it is not.
        """
        slot = self._slots.slot_at(segment, offset)
        if (
            slot is None
            or slot.generation != generation
            or not self._leases.has(peer, slot)
            or length > slot.length
        ):
            msg = (
                f"the peer gave back what it does not have: {(segment, offset, length, generation)}"
            )
            raise StaleLease(msg)
        return slot

    # ------------------------------------------------------------ memory of this node's own

    def allocate_own(self, size: int, *, zero: bool) -> OwnSlot | None:
        """A slot for a buffer of this node.

        Args:
            size: bytes, 1 or more.
            zero: whether they are to be zero; what a message left there before is short_repr otherwise.

        Returns:
            the slot, or None if there is no room.
        """
        self._free_dropped()
        slot = Availability.FULL if self._closed else self._slots.acquire(size)
        if isinstance(slot, Availability):
            return None
        if zero:
            slot.clean(size)
        self._slots.reserve(slot, size)
        return self._own_slot(slot, size)

    def _own_slot(self, slot: Slot, size: int) -> OwnSlot:
        slot.assign(_THIS_NODE, size)
        self._buffers += 1
        region = Region(
            slot.segment.mapping,
            slot.offset,
            size=slot.segment.layout.slot_size,
            length=size,
            on_dropped=partial(self._dropped.append, slot),
            writable=True,
        )
        return OwnSlot(slot, region)

    def transfer(self, held: OwnSlot, peer: Hashable) -> Lease | None:
        """Lease to `peer` what a buffer here held, where it is; the buffer must be done with.

        Returns:
            the lease, or None if it could not be introduced for lack of descriptors; the buffer
            still has it then.
        """
        try:
            introduction = self._leases.introduce(held.slot.segment, peer)
        except OSError:
            return None
        held.region.cancel_on_dropped()
        self._buffers -= 1
        held.slot.assign(peer, held.slot.length)
        self._leases.add(peer, held.slot)
        self._counts["leased"] += 1
        return Lease(_descriptor(held.slot), introduction)

    def undo_transfer(self, lease: Lease, peer: Hashable) -> OwnSlot:
        """Undo a transfer of which the peer was never told, and close its descriptor."""
        self._leases.forget(lease.introduction, peer)
        return self.accept_returned(list(lease.descriptor), peer)

    def accept_returned(self, fields: Sequence[Any], peer: Hashable) -> OwnSlot:
        """What a peer moved back to its owner.

        Args:
            fields: a descriptor as it came over the link.
            peer: whose link it was.

        Raises:
            SegmentError: it names what this peer does not have.
        """
        descriptor = parse_descriptor(fields)
        slot = self._leased(*_place(descriptor), peer)
        self._leases.remove(peer, slot)
        return self._own_slot(slot, slot.length)

    def _free_dropped(self) -> None:
        """Free what buffers held that are gone."""
        while self._dropped:
            self._buffers -= 1
            self._slots.release(self._dropped.popleft())

    # ------------------------------------------------------------ upkeep

    def warm(self, budget: int = 1024 * 1024) -> bool:
        """Have memory behind slots that were wanted and cold, at about 1 ms per MiB.

        Args:
            budget: bytes to touch at most.

        Returns:
            whether there is more to do.
        """
        self._free_dropped()
        return not self._closed and self._slots.warm(budget)

    def trim(self, budget: int = 16 * 1024 * 1024) -> int:
        """Give back memory of slots that nobody had since the last call, and close empty segments.

        Args:
            budget: about how many bytes, at 0.25 ms per MiB.

        Returns:
            how many bytes went back.
        """
        self._free_dropped()
        before = self._slots.resident
        for segment in self._slots.trim(budget):
            self._leases.retire(segment.layout.number)
        return before - self._slots.resident

    def take_retired(self, peer: Hashable) -> list[int]:
        """Arenas this peer knows that have been closed since the last call, for it to unmap."""
        return self._leases.take_retired(peer)

    def stats(self) -> PoolStats:
        """Counters since the beginning, and what is there now."""
        self._free_dropped()
        slots, counts = self._slots, self._counts
        return PoolStats(
            limit=slots.limit,
            segments=len(slots.segments),
            resident=slots.resident,
            peak_resident=slots.peak_resident,
            held=slots.held,
            peak_held=slots.peak_held,
            leases=self._leases.leases,
            buffers=self._buffers,
            leased=counts["leased"],
            given_back=counts["given_back"],
            reclaimed=counts["reclaimed"],
            refused_cold=counts["cold"],
            refused_full=counts["full"],
        )

    def close(self) -> None:
        """Close every descriptor; peers and buffers undo_transfer what they have. Twice is once."""
        self._closed = True
        self._free_dropped()
        self._leases = LeasesByPeer()
        self._slots.close()


def _descriptor(slot: Slot) -> LeaseDescriptor:
    return LeaseDescriptor(slot.segment.layout.number, slot.offset, slot.length, slot.generation)


def _place(descriptor: LeaseDescriptor) -> tuple[int, int, int, int]:
    segment, offset, length, generation = descriptor
    return segment, offset, generation, length
