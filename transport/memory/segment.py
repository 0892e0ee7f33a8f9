"""One segment of shared memory, cut into equal slots, as its owner sees it; it makes no decisions.

The segment begins with one number per slot, its generation, rounded up to whole pages; the slots follow. A
generation is odd while its slot is in use and never returns to an earlier value. The owner writes the
generations for its peers and never reads them back, so a peer that writes to shared memory cannot mislead
it.
"""

import mmap
import os
from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

from actors.transport.memory.memfd import (
    create,
    discard,
    fill,
    map_whole,
    touch,
    whole_pages,
    zero,
)

__all__ = [
    "MAX_SLOTS",
    "SMALLEST_SLOT",
    "WORD",
    "Segment",
    "SegmentLayout",
    "Slot",
    "layout_for",
    "slot_size",
]

SMALLEST_SLOT: Final = 64 * 1024
_SEGMENT: Final = 64 * 1024 * 1024
MAX_SLOTS: Final = 256
WORD: Final = 8


class SegmentLayout(NamedTuple):
    """How a segment is laid out: all that a peer needs besides the descriptor."""

    number: int
    slot_size: int
    slots: int

    @property
    def header(self) -> int:
        """Bytes before the first slot."""
        return whole_pages(self.slots * WORD)

    @property
    def size(self) -> int:
        """Bytes of the whole segment."""
        return self.header + self.slots * self.slot_size


def slot_size(length: int) -> int:
    """Bytes of the smallest slot with room for `length`: a power of two from 64 KiB up."""
    return max(SMALLEST_SLOT, 1 << (length - 1).bit_length())


def layout_for(number: int, size: int) -> SegmentLayout:
    """The layout of a new segment: 64 MiB, in at least 1 and at most 256 slots.

    Address space is free; a page takes memory when it is touched.
    """
    return SegmentLayout(number, size, min(MAX_SLOTS, max(1, _SEGMENT // size)))


class Slot:
    """One slot: who has it, and how much memory it has.

    Attributes:
        segment: the segment it is part of.
        index: its place in the segment.
        offset: of its first byte in the segment.
        generation: increases at each change of holder; odd while the slot is in use.
        holder: who has it; None if it is free.
        length: bytes the holder asked for.
        warm: bytes from its beginning whose pages have memory.
        dirty: bytes from its beginning that may not be zero.
        last_used: when it was last freed, counted in calls of `FreeList.trim`.
    """

    __slots__ = (
        "dirty",
        "generation",
        "holder",
        "index",
        "last_used",
        "length",
        "offset",
        "segment",
        "warm",
    )

    def __init__(self, segment: "Segment", index: int) -> None:
        self.segment: Segment = segment
        self.index: int = index
        self.offset: int = segment.header + index * segment.layout.slot_size
        self.generation: int = 0
        self.holder: Hashable = None
        self.length: int = 0
        self.warm: int = 0
        self.dirty: int = 0
        self.last_used: int = 0

    def assign(self, holder: Hashable, length: int) -> None:
        """Give it to `holder`; descriptors of the holder before are stale from here on."""
        self.holder = holder
        self.length = length
        self._set_generation(self.generation + 1 + self.generation % 2)

    def free(self) -> None:
        """Mark it free; descriptors of its holder are stale from here on."""
        self.holder = None
        self.length = 0
        self._set_generation(self.generation + 1)

    def _set_generation(self, generation: int) -> None:
        self.generation = generation
        self.segment.generations[self.index] = generation

    def view(self, start: int, stop: int) -> memoryview:
        """A view of some of its bytes."""
        return self.segment.bytes[self.offset + start : self.offset + stop]

    def write(self, data: memoryview) -> None:
        """Copy `data` to its beginning.

        Raises:
            OSError: no memory for the pages that have none.
        """
        size = len(data)
        self.dirty = max(self.dirty, size)
        if size <= self.warm:
            self.view(0, size)[:] = data
        else:
            fill(self.segment.fd, self.segment.mapping, self.offset, data)
            self.warm = whole_pages(size)

    def warm_up(self, stop: int) -> None:
        """Touch its first `stop` bytes, so that their pages have memory."""
        stop = whole_pages(stop)
        if stop > self.warm:
            touch(self.view(self.warm, stop))
            self.warm = stop

    def clean(self, stop: int) -> None:
        """Make its first `stop` bytes zero."""
        zero(self.view(0, min(stop, self.dirty)))

    def cool(self, most: int) -> int:
        """Return memory at its end to the system, where the platform can.

        Args:
            most: about how many bytes, at 0.25 ms per MiB.

        Returns:
            how many bytes were returned.
        """
        count = min(self.warm, whole_pages(most))
        start = self.warm - count
        if not count or not discard(self.segment.mapping, self.offset + start, count):
            return 0
        self.warm = start
        self.dirty = min(self.dirty, start)
        return count


class Segment:
    """One segment and its slots.

    Args:
        layout: how it is cut into slots.

    Attributes:
        header: bytes before the first slot.
        fd: its descriptor, which it owns.
        mapping: of all of it.
        slots: those that were ever used; the others have no memory.

    Raises:
        OSError: no descriptors left, or no shared memory available.
    """

    def __init__(self, layout: SegmentLayout) -> None:
        self.layout = layout
        self.header: int = layout.header
        self.fd: int = create(layout.size)
        try:
            self.mapping: mmap.mmap = map_whole(self.fd, layout.size)
        except BaseException:
            os.close(self.fd)
            raise
        self.bytes: memoryview = memoryview(self.mapping)
        self.generations: memoryview = self.bytes[: layout.slots * WORD].cast("Q")
        self.slots: list[Slot] = []

    def new_slot(self) -> Slot | None:
        """A slot that was never used; None if all were."""
        if len(self.slots) == self.layout.slots:
            return None
        slot = Slot(self, len(self.slots))
        self.slots.append(slot)
        return slot

    def slot_at(self, offset: int) -> Slot | None:
        """The slot that begins at `offset`; None if there is none, or it was never used."""
        index, rest = divmod(offset - self.header, self.layout.slot_size)
        return self.slots[index] if not rest and 0 <= index < len(self.slots) else None

    @property
    def idle(self) -> bool:
        """Whether no slot is in use or has memory."""
        return all(slot.holder is None and not slot.warm for slot in self.slots)

    def close(self) -> None:
        """Close the descriptor; the mapping ends with the last region that shows a part of it."""
        self.slots.clear()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # Bound, as the module may have lost its names when the interpreter ends.
        if getattr(self, "fd", -1) >= 0:
            close(self.fd)
