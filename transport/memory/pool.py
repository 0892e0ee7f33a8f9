"""All segments of one node, and the record of who has which slot; no method waits, blocks or locks.

One thread owns it. Only the regions of local buffers may end in another thread; they add their slot to a
deque. A slot is free, held here by a `Buffer`, or leased to one peer, which identifies one incarnation of a
node. The owner never reads a leased slot, so a peer cannot harm it, and does not give the slot out again
until the peer has returned it or is dead.
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

__all__ = ["OwnSlot", "SegmentPool", "SegmentPoolStats"]

GIB: Final = 1024 * 1024 * 1024
_THIS_NODE: Final = "here"
_COUNTERS: Final = ("leased", "given_back", "reclaimed", "refused_cold", "refused_full")


class SegmentPoolStats(NamedTuple):
    """What the segments of one node hold and did so far; sizes in bytes.

    Attributes:
        limit: most memory all slots may have.
        segments: segments open.
        resident: memory all slots have.
        peak_resident: the most they ever had.
        held: memory of slots in use.
        peak_held: the most it ever was.
        leases: slots that peers have.
        buffers: slots that buffers here have.
        leased: leases and transfers so far.
        given_back: leases that living peers returned.
        reclaimed: leases taken from peers that died.
        refused_cold: payloads refused because memory would have had to be touched first.
        refused_full: payloads refused because a limit was reached.
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
    """The shared memory one node lends.

    Args:
        limit: most memory it may take, in bytes; what would exceed it is refused.
        per_peer: most memory one peer may have leased, so that one that hangs leaves room for the
            others; by default half the limit. Moved buffers are not counted.
    """

    def __init__(self, *, limit: int = GIB, per_peer: int | None = None) -> None:
        self._slots = FreeList(limit)
        self._per_peer = limit // 2 if per_peer is None else per_peer
        if not 0 < self._per_peer <= limit:
            raise ValueError(f"per_peer must be in 1..limit, got {self._per_peer} of {limit}")
        self._leases = LeasesByPeer()
        self._buffers = 0
        self._dropped: deque[Slot | None] = deque()
        self._counts = dict.fromkeys(_COUNTERS, 0)
        self._closed = False

    def set_limit(self, limit: int) -> None:
        """Change the most memory it may take; one peer may have half of that."""
        self._slots.limit = limit
        self._per_peer = limit // 2

    def held_by(self, peer: Hashable) -> int:
        """Bytes leased to one peer."""
        return self._leases.held(peer)

    # ------------------------------------------------------------ leases

    def availability(self, size: int, peer: Hashable) -> Availability:
        """Whether `lease` would take `size` bytes for `peer`, and if their pages have memory already."""
        self._free_dropped()
        if self._closed or self._leases.held(peer) + size > self._per_peer:
            return Availability.FULL
        return self._slots.availability(size)

    def lease(self, data: memoryview, peer: Hashable, *, cold: bool = False) -> Lease | None:
        """Copy `data` into a slot and lease it to `peer`.

        Args:
            data: contiguous bytes of any format, 1 or more; not used after this returns.
            peer: identifies one incarnation of one node.
            cold: also use memory that has to be touched first, several times the price of a socket.

        Returns:
            the lease, or None if there is no room, or only a cold slot: copy the payload into the
            frame then. The next calls of `warm` touch the memory that was refused as cold.
        """
        flat = data if data.format == "B" and data.ndim == 1 else data.cast("B")
        size = len(flat)
        slot = self._acquire(size, peer, cold=cold)
        if isinstance(slot, Availability):
            self._count_refusal(slot, size)
            return None
        try:
            self._slots.write(slot, flat)
            return self._lease_slot(slot, peer, size)
        except OSError:
            self._slots.release(slot)
            self._count_refusal(Availability.FULL, size)
            return None

    def _acquire(self, size: int, peer: Hashable, *, cold: bool) -> Slot | Availability:
        if self._dropped:
            self._free_dropped()
        if self._closed or self._leases.held(peer) + size > self._per_peer:
            return Availability.FULL
        return self._slots.acquire(size, cold=cold)

    def _count_refusal(self, why: Availability, size: int) -> None:
        if why is Availability.COLD:
            self._counts["refused_cold"] += 1
            self._slots.request_warm(size)
        else:
            self._counts["refused_full"] += 1

    def _lease_slot(self, slot: Slot, peer: Hashable, size: int) -> Lease:
        """Record an acquired slot as leased.

        Raises:
            OSError: no descriptor left to introduce its segment by; nothing has changed.
        """
        introduction = self._leases.introduce(slot.segment, peer)
        slot.assign(peer, size)
        self._leases.add(peer, slot)
        self._counts["leased"] += 1
        number = slot.segment.layout.number
        return Lease(LeaseDescriptor(number, slot.offset, size, slot.generation), introduction)

    def cancel(self, lease: Lease, peer: Hashable) -> None:
        """Take back a lease that the peer was never told of, and close its descriptor."""
        self._leases.cancel_introduction(lease.introduction, peer)
        self._slots.release(self._take_from(peer, lease.descriptor))

    def release(self, batch: Sequence[Any], peer: Hashable) -> None:
        """Free the slots that `peer` has returned.

        Args:
            batch: numbers made by `SegmentMappings.take_returned`, as they came over the link.
            peer: whose link it was.

        Raises:
            SegmentError: it names what this peer does not have; the leases before that stay freed.
        """
        numbers = check_ints(batch)
        if len(numbers) % NUMBERS_PER_LEASE:
            got = len(numbers)
            raise OutOfRange(f"leases go back as {NUMBERS_PER_LEASE} numbers each, got {got}")
        if self._closed:
            return
        for at in range(0, len(numbers), NUMBERS_PER_LEASE):
            segment, offset, generation = numbers[at : at + NUMBERS_PER_LEASE]
            named = LeaseDescriptor(segment, offset, 1, generation)
            self._slots.release(self._take_from(peer, named))
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

    def _take_from(self, peer: Hashable, named: LeaseDescriptor) -> Slot:
        """The slot of a lease that ends; it is not the peer's from here on.

        Raises:
            StaleLease: the peer has no such lease.
        """
        slot = self._slots.slot_at(named.segment, named.offset)
        if (
            slot is None
            or slot.generation != named.generation
            or slot.holder != peer
            or named.length > slot.length
        ):
            raise StaleLease(f"the peer gave back what it does not have: {tuple(named)}")
        self._leases.remove(peer, slot)
        return slot

    # ------------------------------------------------------------ buffers of this node

    def allocate_own(self, size: int, *, zero: bool) -> OwnSlot | None:
        """A slot for a buffer of this node.

        Args:
            size: bytes, 1 or more.
            zero: whether they are to be zero; if not, the buffer shows what messages left there.

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
            on_dropped=partial(self._on_dropped, slot),
            writable=True,
        )
        return OwnSlot(slot, region)

    def transfer(self, held: OwnSlot, peer: Hashable) -> Lease | None:
        """Lease the slot of a buffer to `peer` without a copy; the buffer must not be used afterwards.

        Returns:
            the lease, or None if no descriptors are left; then the buffer still has the slot.
        """
        try:
            lease = self._lease_slot(held.slot, peer, held.slot.length)
        except OSError:
            return None
        held.region.cancel_on_dropped()
        self._buffers -= 1
        return lease

    def undo_transfer(self, lease: Lease, peer: Hashable) -> OwnSlot:
        """Undo a transfer that the peer was never told of, and close its descriptor."""
        self._leases.cancel_introduction(lease.introduction, peer)
        return self.accept_returned(lease.descriptor, peer)

    def accept_returned(self, fields: Sequence[Any], peer: Hashable) -> OwnSlot:
        """The slot of a buffer that a peer moved back to its owner.

        Args:
            fields: a descriptor as it came over the link.
            peer: whose link it was.

        Raises:
            SegmentError: it names what this peer does not have.
        """
        slot = self._take_from(peer, parse_descriptor(fields))
        return self._own_slot(slot, slot.length)

    def _on_dropped(self, slot: Slot) -> None:
        """Record, in any thread, that a buffer is gone; a closed pool keeps no slot, nor its segment."""
        self._dropped.append(None if self._closed else slot)

    def _free_dropped(self) -> None:
        """Free the slots of buffers that are gone."""
        while self._dropped:
            self._buffers -= 1
            slot = self._dropped.popleft()
            if slot is not None and not self._closed:
                self._slots.release(slot)

    # ------------------------------------------------------------ upkeep

    def warm(self, budget: int = 1024 * 1024) -> bool:
        """Touch memory of slots that were refused as cold, at about 1 ms per MiB.

        Args:
            budget: bytes to touch at most.

        Returns:
            whether there is more to do.
        """
        self._free_dropped()
        return not self._closed and self._slots.warm(budget)

    def trim(self, budget: int = 16 * 1024 * 1024) -> int:
        """Return memory of slots unused since the last call to the system, and close empty segments.

        Args:
            budget: about how many bytes, at 0.25 ms per MiB.

        Returns:
            how many bytes were returned.
        """
        self._free_dropped()
        before = self._slots.resident
        for segment in self._slots.trim(budget):
            self._leases.retire(segment.layout.number)
        return before - self._slots.resident

    def take_retired(self, peer: Hashable) -> list[int]:
        """Segments this peer has mapped that were closed since the last call, for it to unmap."""
        return self._leases.take_retired(peer)

    def introduce_again(self, numbers: Sequence[Any], peer: Hashable) -> None:
        """Send segments to `peer` once more before it gets a lease in them: it could not map them.

        Raises:
            OutOfRange: the numbers are not numbers of segments.
        """
        for number in check_ints(numbers):
            self._leases.forget_introduction(number, peer)

    def stats(self) -> SegmentPoolStats:
        """The counters since the beginning, and the current sizes."""
        self._free_dropped()
        slots = self._slots
        return SegmentPoolStats(
            limit=slots.limit,
            segments=len(slots.segments),
            resident=slots.resident,
            peak_resident=slots.peak_resident,
            held=slots.held,
            peak_held=slots.peak_held,
            leases=self._leases.leases,
            buffers=self._buffers,
            **self._counts,
        )

    def close(self) -> None:
        """Close every descriptor; peers and buffers keep their memory. A second call does nothing."""
        self._closed = True
        self._free_dropped()
        self._leases = LeasesByPeer()
        self._slots.close()
