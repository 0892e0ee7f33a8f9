"""Segments of peers as a receiver sees them: checked, mapped once, and given back lease by lease.

Whatever a peer says is checked before it is used; each lie has its error, and all of them are
`FrameError`s, so that the link ends. One thread owns it; views of what it opened may end anywhere.
"""

import mmap
import os
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, NamedTuple

from actors.transport.errors import OutOfRange, StaleLease, WrongSize
from actors.transport.memory.lease import LeaseDescriptor, check_ints, parse_descriptor
from actors.transport.memory.memfd import check, map_whole
from actors.transport.memory.region import Region
from actors.transport.memory.segment import MAX_SLOTS, SMALLEST_SLOT, WORD, SegmentLayout

__all__ = ["BorrowedSlot", "SegmentMappings"]


class _PeerSegment:
    """One segment of one peer. `held` has the slots that are open here, by index."""

    __slots__ = ("generations", "header", "held", "layout", "memory", "peer", "retired")

    def __init__(self, peer: Hashable, layout: SegmentLayout, memory: mmap.mmap) -> None:
        self.peer = peer
        self.layout = layout
        self.header = layout.header
        self.memory = memory
        self.generations = memoryview(memory)[: layout.slots * WORD].cast("Q")
        self.held: set[int] = set()
        self.retired = False

    def open(self, descriptor: LeaseDescriptor) -> int:
        """The index of the slot it names, from here on held.

        Raises:
            OutOfRange: no such slot, or more bytes than it has.
            StaleLease: it has changed hands since, or is open here already.
        """
        layout = self.layout
        index, rest = divmod(descriptor.offset - self.header, layout.slot_size)
        if rest or not 0 <= index < layout.slots or not 0 < descriptor.length <= layout.slot_size:
            msg = f"{descriptor.length} bytes at {descriptor.offset} are no slot of {tuple(layout)}"
            raise OutOfRange(msg)
        now = self.generations[index]
        if descriptor.generation != now or now % 2 == 0:
            msg = f"the lease {tuple(descriptor)} is stale: its slot is at generation {now}"
            raise StaleLease(msg)
        if index in self.held:
            raise StaleLease(f"the lease {tuple(descriptor)} was opened before")
        self.held.add(index)
        return index


class BorrowedSlot(NamedTuple):
    """A slot of a peer that was moved here, and the region that shows it."""

    mapping: _PeerSegment
    descriptor: LeaseDescriptor
    region: Region


class SegmentMappings:
    """The segments of all peers of one node, mapped here.

    Args:
        wake: called when a lease is the first to end since `take_returned` was called; in any thread
            and inside a garbage collection, so it may only make the owner's loop call `take_returned`.
    """

    def __init__(self, wake: Callable[[], object] | None = None) -> None:
        self._peers: dict[Hashable, dict[int, _PeerSegment]] = {}
        self._ended: deque[tuple[_PeerSegment, int, int]] = deque()
        self._wake = wake
        self._awake = False

    def introduce(self, peer: Hashable, layout: Sequence[Any], fd: int) -> None:
        """Map a segment of `peer`.

        Args:
            peer: one incarnation of a node.
            layout: the introduction's numbers, as they came.
            fd: its descriptor; closed when this returns, whatever happens.

        Raises:
            SegmentError: the descriptor or the numbers are not what they have to be.
        """
        try:
            checked = _check_layout(layout)
            mappings = self._peers.setdefault(peer, {})
            if checked.number in mappings:
                raise StaleLease(f"segment {checked.number} was introduced before")
            check(fd, checked.size)
            memory = map_whole(fd, checked.size)
        finally:
            os.close(fd)
        mappings[checked.number] = _PeerSegment(peer, checked, memory)

    def open(self, peer: Hashable, fields: Sequence[Any]) -> memoryview:
        """A read-only view of a payload, without a copy; its end gives the lease back.

        Args:
            peer: who sent it.
            fields: the descriptor, as it came.

        Raises:
            SegmentError: it names no lease of ours.
        """
        return self._open_slot(peer, fields, writable=False).region.view()

    def adopt(self, peer: Hashable, fields: Sequence[Any]) -> BorrowedSlot:
        """A slot that a peer moved here, to be written as well; arguments and errors as in `open`."""
        return self._open_slot(peer, fields, writable=True)

    def _open_slot(self, peer: Hashable, fields: Sequence[Any], *, writable: bool) -> BorrowedSlot:
        descriptor = parse_descriptor(fields)
        mapping = self._peers.get(peer, {}).get(descriptor.segment)
        if mapping is None:
            raise OutOfRange(f"segment {descriptor.segment} was never introduced by this peer")
        mapping.open(descriptor)
        region = Region(
            mapping.memory,
            descriptor.offset,
            size=mapping.layout.slot_size,
            length=descriptor.length,
            on_dropped=partial(
                self._on_lease_end, mapping, descriptor.offset, descriptor.generation
            ),
            writable=writable,
        )
        return BorrowedSlot(mapping, descriptor, region)

    def _on_lease_end(self, mapping: _PeerSegment, offset: int, generation: int) -> None:
        """A lease is over: noted here, in whatever thread, and taken up by `take_returned`."""
        self._ended.append((mapping, offset, generation))
        if self._wake is not None and not self._awake:
            self._awake = True
            self._wake()

    @staticmethod
    def return_descriptor(borrowed: BorrowedSlot, peer: Hashable) -> LeaseDescriptor | None:
        """What `return_slot` will return; changes nothing."""
        mapping = borrowed.mapping
        return None if mapping.peer != peer or mapping.retired else borrowed.descriptor

    def return_slot(self, borrowed: BorrowedSlot, peer: Hashable) -> LeaseDescriptor | None:
        """The descriptor by which a moved slot goes back to its owner, who is `peer`.

        Returns:
            None if another peer owns it: then its bytes have to be copied.
        """
        if self.return_descriptor(borrowed, peer) is None:
            return None
        borrowed.region.cancel_on_dropped()
        self._close(borrowed.mapping, borrowed.descriptor.offset)
        return borrowed.descriptor

    @staticmethod
    def _close(mapping: _PeerSegment, offset: int) -> None:
        mapping.held.discard((offset - mapping.header) // mapping.layout.slot_size)

    def take_returned(self) -> dict[Hashable, list[int]]:
        """What has ended since the last call: a batch for the `give_back` of each peer that lives."""
        # Before the queue is emptied, so that what comes now wakes again.
        self._awake = False
        batches: dict[Hashable, list[int]] = {}
        while self._ended:
            mapping, offset, generation = self._ended.popleft()
            self._close(mapping, offset)
            if not mapping.retired:
                batch = batches.setdefault(mapping.peer, [])
                batch += mapping.layout.number, offset, generation
        return batches

    def retire(self, peer: Hashable, numbers: Sequence[Any]) -> None:
        """Arenas that `peer` has closed: unmapped when the last view of them ends.

        Raises:
            OutOfRange: a segment it never introduced.
        """
        mappings = self._peers.get(peer, {})
        for number in check_ints(numbers):
            mapping = mappings.pop(number, None)
            if mapping is None:
                raise OutOfRange(f"segment {number} was never introduced by this peer")
            mapping.retired = True

    def forget(self, peer: Hashable) -> None:
        """A peer that is gone, or its link: what is open stays readable, nothing goes back."""
        for mapping in self._peers.pop(peer, {}).values():
            mapping.retired = True

    def count(self) -> int:
        """How many leases of peers are open here."""
        mapped = (m for mappings in self._peers.values() for m in mappings.values())
        return sum(len(mapping.held) for mapping in mapped)

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
