"""Segments of peers as their receiver sees them: checked, mapped once, and returned lease by lease.

Whatever a peer says is checked before it is used. Each false claim has its own error, all of them
`FrameError`s, so that the link ends. One thread owns this object; views that it opened may end in any.
"""

import mmap
import os
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from actors.transport.errors import OutOfRange, StaleLease, Undecodable, WrongSize
from actors.transport.memory.lease import LeaseDescriptor, check_ints, parse_descriptor
from actors.transport.memory.memfd import check, map_whole
from actors.transport.memory.region import Region
from actors.transport.memory.segment import MAX_SLOTS, SMALLEST_SLOT, WORD, SegmentLayout

__all__ = ["NO_DESCRIPTOR_FREE", "BorrowedSlot", "SegmentMappings"]

T = TypeVar("T")

NO_DESCRIPTOR_FREE: Final = (
    "the process of the receiver has too many files open (RLIMIT_NOFILE): the kernel dropped the "
    "descriptors that came with this message"
)


class _PeerSegment:
    """One segment of one peer. `open_slots` has the indexes of the slots that are open here.

    `memory` is None if its descriptor was lost: then leases in it go back unread.
    """

    __slots__ = ("generations", "layout", "memory", "open_slots", "peer", "retired")

    def __init__(self, peer: Hashable, layout: SegmentLayout, memory: mmap.mmap | None) -> None:
        self.peer: Hashable = peer
        self.layout: SegmentLayout = layout
        self.memory: mmap.mmap | None = memory
        self.generations: memoryview = memoryview(memory or b"")[: layout.slots * WORD].cast("Q")
        self.open_slots: set[int] = set()
        self.retired: bool = False

    def open(self, descriptor: LeaseDescriptor) -> None:
        """Mark the slot that a descriptor names as open.

        Raises:
            OutOfRange: no such slot, or more bytes than it has.
            StaleLease: the slot was leased again since, or is open here already.
        """
        layout = self.layout
        index, rest = divmod(descriptor.offset - layout.header, layout.slot_size)
        if rest or not 0 <= index < layout.slots or not 0 < descriptor.length <= layout.slot_size:
            where = f"{descriptor.length} bytes at {descriptor.offset}"
            raise OutOfRange(f"{where} are no slot of {tuple(layout)}")
        now = self.generations[index]
        if descriptor.generation != now or now % 2 == 0:
            lease = tuple(descriptor)
            raise StaleLease(f"the lease {lease} is stale: its slot is at generation {now}")
        if index in self.open_slots:
            raise StaleLease(f"the lease {tuple(descriptor)} was opened before")
        self.open_slots.add(index)

    def close(self, offset: int) -> None:
        """Mark the slot at an offset as closed."""
        self.open_slots.discard((offset - self.layout.header) // self.layout.slot_size)


class BorrowedSlot(NamedTuple):
    """A slot of a peer that was moved here, and the region that shows it."""

    segment: _PeerSegment
    descriptor: LeaseDescriptor
    region: Region


class SegmentMappings:
    """The segments of all peers of one node, mapped here.

    Args:
        wake: called when the first lease ends after a call of `take_returned`. It may be called in any
            thread and inside a garbage collection, so it may only schedule `take_returned` on the
            owner's loop.

    Attributes:
        awake: whether it was called since: leases have ended that were not taken.
    """

    def __init__(self, wake: Callable[[], object] | None = None) -> None:
        self._peers: dict[Hashable, dict[int, _PeerSegment]] = {}
        self._ended: deque[tuple[_PeerSegment, int, int]] = deque()
        self._wake = wake
        self.awake: bool = False

    def introduce(self, peer: Hashable, layout: Sequence[Any], fd: int) -> None:
        """Map a segment of `peer`.

        Args:
            peer: one incarnation of a node.
            layout: the introduction's numbers, as they came.
            fd: its descriptor; closed when this returns or raises.

        Raises:
            SegmentError: the descriptor or the numbers are not those of a segment.
            OSError: it cannot be mapped, for want of memory or descriptors.
        """
        try:
            checked = self._check_new(peer, layout)
            check(fd, checked.size)
            memory = map_whole(fd, checked.size)
        finally:
            os.close(fd)
        self._peers[peer][checked.number] = _PeerSegment(peer, checked, memory)

    def lose(self, peer: Hashable, layout: Sequence[Any]) -> int:
        """Record a segment of `peer` that cannot be mapped; leases in it go back unread.

        Returns:
            its number: it may be introduced again.

        Raises:
            SegmentError: the numbers are not those of a segment.
        """
        checked = self._check_new(peer, layout)
        self._peers[peer][checked.number] = _PeerSegment(peer, checked, None)
        return checked.number

    def _check_new(self, peer: Hashable, layout: Sequence[Any]) -> SegmentLayout:
        checked = _check_layout(layout)
        known = self._peers.setdefault(peer, {}).get(checked.number)
        if known is not None and known.memory is not None:
            raise StaleLease(f"segment {checked.number} was introduced before")
        return checked

    def open(self, peer: Hashable, fields: Sequence[Any]) -> memoryview:
        """A read-only view of a payload, without a copy; when it ends, the lease is returned.

        Args:
            peer: who sent it.
            fields: the descriptor, as it came.

        Raises:
            SegmentError: it names no lease of ours.
            Undecodable: its segment could not be mapped; the lease goes back.
        """
        return self._open_slot(peer, fields, writable=False).region.view()

    def copy(self, peer: Hashable, fields: Sequence[Any], make: Callable[[memoryview], T]) -> T:
        """A copy of a payload, by *make*; the lease is returned at once. Arguments and errors as in `open`."""
        segment, descriptor = self._open_lease(peer, fields)
        offset = descriptor.offset
        try:
            assert segment.memory is not None
            with (
                memoryview(segment.memory) as whole,
                whole[offset : offset + descriptor.length] as view,
            ):
                return make(view)
        finally:
            self._on_lease_end(segment, offset, descriptor.generation)

    def adopt(self, peer: Hashable, fields: Sequence[Any]) -> BorrowedSlot:
        """A slot that a peer moved here, writable; arguments and errors as in `open`."""
        return self._open_slot(peer, fields, writable=True)

    def _open_lease(
        self, peer: Hashable, fields: Sequence[Any]
    ) -> tuple[_PeerSegment, LeaseDescriptor]:
        descriptor = parse_descriptor(fields)
        segment = self._peers.get(peer, {}).get(descriptor.segment)
        if segment is None:
            raise OutOfRange(f"segment {descriptor.segment} was never introduced by this peer")
        if segment.memory is None:
            self._on_lease_end(segment, descriptor.offset, descriptor.generation)
            raise Undecodable(NO_DESCRIPTOR_FREE)
        segment.open(descriptor)
        return segment, descriptor

    def _open_slot(self, peer: Hashable, fields: Sequence[Any], *, writable: bool) -> BorrowedSlot:
        segment, descriptor = self._open_lease(peer, fields)
        assert segment.memory is not None
        region = Region(
            segment.memory,
            descriptor.offset,
            size=segment.layout.slot_size,
            length=descriptor.length,
            on_dropped=partial(
                self._on_lease_end, segment, descriptor.offset, descriptor.generation
            ),
            writable=writable,
        )
        return BorrowedSlot(segment, descriptor, region)

    def _on_lease_end(self, segment: _PeerSegment, offset: int, generation: int) -> None:
        """Record, in any thread, that a lease has ended; `take_returned` handles it."""
        if segment.retired:
            return  # nothing goes back, and there may be nobody left who empties the deque
        self._ended.append((segment, offset, generation))
        if self._wake is not None and not self.awake:
            self.awake = True
            self._wake()

    @staticmethod
    def return_descriptor(borrowed: BorrowedSlot, peer: Hashable) -> LeaseDescriptor | None:
        """What `return_slot` would return; changes nothing."""
        segment = borrowed.segment
        return None if segment.peer != peer or segment.retired else borrowed.descriptor

    def return_slot(self, borrowed: BorrowedSlot, peer: Hashable) -> LeaseDescriptor | None:
        """Close a moved slot that goes back to its owner, if that is `peer`.

        Returns:
            its descriptor; None if another peer owns it, whose bytes then have to be copied.
        """
        descriptor = self.return_descriptor(borrowed, peer)
        if descriptor is not None:
            borrowed.region.cancel_on_dropped()
            borrowed.segment.close(descriptor.offset)
        return descriptor

    def take_returned(self) -> dict[Hashable, list[int]]:
        """The leases that ended since the last call: for each living peer a batch for its `release`."""
        # Before the deque is emptied, so that a lease that ends meanwhile wakes the owner again.
        self.awake = False
        batches: dict[Hashable, list[int]] = {}
        while self._ended:
            segment, offset, generation = self._ended.popleft()
            segment.close(offset)
            if not segment.retired:
                batch = batches.setdefault(segment.peer, [])
                batch += segment.layout.number, offset, generation
        return batches

    def retire(self, peer: Hashable, numbers: Sequence[Any]) -> None:
        """Drop segments that `peer` has closed: each is unmapped when its last view ends.

        Raises:
            OutOfRange: a segment it never introduced.
        """
        segments = self._peers.get(peer, {})
        for number in check_ints(numbers):
            segment = segments.pop(number, None)
            if segment is None:
                raise OutOfRange(f"segment {number} was never introduced by this peer")
            segment.retired = True

    def forget(self, peer: Hashable) -> None:
        """Drop a peer whose link has ended: open views stay readable, and nothing is returned to it."""
        for segment in self._peers.pop(peer, {}).values():
            segment.retired = True

    def count(self) -> int:
        """How many leases of peers are open here."""
        mapped = (segment for segments in self._peers.values() for segment in segments.values())
        return sum(len(segment.open_slots) for segment in mapped)

    def close(self) -> None:
        """Forget every peer."""
        for peer in list(self._peers):
            self.forget(peer)
        self.take_returned()


def _check_layout(fields: Sequence[Any]) -> SegmentLayout:
    layout = SegmentLayout(*check_ints(fields, len(SegmentLayout._fields)))
    size = layout.slot_size
    if size < SMALLEST_SLOT or size & (size - 1) or not 0 < layout.slots <= MAX_SLOTS:
        raise WrongSize(f"no segment is laid out like {tuple(layout)}")
    return layout
