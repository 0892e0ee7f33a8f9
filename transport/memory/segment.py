"""One segment of shared memory, cut into equal slots, as its owner sees it; decides nothing.

The segment begins with one number per slot, its generation, rounded up to whole pages; the slots
follow. A generation is odd while its slot is given out and never returns to an earlier value. The
owner writes them for its peers and reads none back: nothing a peer does to shared memory misleads it.
"""

import mmap
import os
from collections.abc import Hashable
from typing import Final, NamedTuple

from actors.transport.memory.memfd import PAGE, create, discard, fill, map_whole, touch, zero

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
    """How a segment is laid out: all that a peer has to be told besides the descriptor."""

    number: int
    slot_size: int
    slots: int

    @property
    def header(self) -> int:
        """Bytes before the first slot."""
        return -(-self.slots * WORD // PAGE) * PAGE

    @property
    def size(self) -> int:
        """Bytes of the whole segment."""
        return self.header + self.slots * self.slot_size


def slot_size(length: int) -> int:
    """Bytes of the smallest slot with room for `length`: a power of two from 64 KiB up."""
    return max(SMALLEST_SLOT, 1 << (length - 1).bit_length())


def layout_for(number: int, size: int) -> SegmentLayout:
    """The layout of a new segment: 64 MiB, but no more than 256 slots and no less than one.

    What it spans costs nothing; memory is taken by the page when it is touched.
    """
    return SegmentLayout(number, size, min(MAX_SLOTS, max(1, _SEGMENT // size)))


class Slot:
    """One slot: who has it, and how much memory is behind it.

    Attributes:
        segment: where it is.
        index: which one of the segment's.
        offset: of its first byte in the segment.
        generation: changes whenever it changes hands; odd while somebody has it.
        holder: who has it; None if it is free.
        length: bytes asked for by who has it.
        warm: bytes from its beginning that have memory behind them.
        dirty: bytes from its beginning that may not be zero.
        last_used: when it was last free, in turns of `trim`.
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
        self.segment = segment
        self.index = index
        self.offset = segment.header + index * segment.layout.slot_size
        self.generation = 0
        self.holder: Hashable = None
        self.length = 0
        self.warm = 0
        self.dirty = 0
        self.last_used = 0

    def assign(self, holder: Hashable, length: int) -> None:
        """Hand it to `holder`, whoever had it."""
        self.holder = holder
        self.length = length
        self._mark(self.generation + 1 + self.generation % 2)

    def free(self) -> None:
        """It is free from here on; who had it has a number that is not good any more."""
        self.holder = None
        self.length = 0
        self._mark(self.generation + 1)

    def _mark(self, generation: int) -> None:
        self.generation = generation
        self.segment.generations[self.index] = generation

    def view(self, start: int, stop: int) -> memoryview:
        """Some of its bytes."""
        return self.segment.bytes[self.offset + start : self.offset + stop]

    def write(self, data: memoryview) -> None:
        """Copy `data` to its beginning.

        Raises:
            OSError: no memory is to be had for what is cold.
        """
        size = len(data)
        self.dirty = max(self.dirty, size)
        if size <= self.warm:
            self.view(0, size)[:] = data
        else:
            fill(self.segment.fd, self.segment.mapping, self.offset, data)
            self.warm = _pages(size)

    def warm_up(self, stop: int) -> None:
        """Have memory behind its first `stop` bytes."""
        stop = _pages(stop)
        if stop > self.warm:
            touch(self.view(self.warm, stop))
            self.warm = stop

    def clean(self, stop: int) -> None:
        """Make its first `stop` bytes zero."""
        zero(self.view(0, min(stop, self.dirty)))

    def cool(self, most: int) -> int:
        """Give memory behind its end back, where the platform can.

        Args:
            most: about how many bytes, at 0.25 ms per MiB.

        Returns:
            how many bytes that were.
        """
        count = min(self.warm, _pages(most))
        start = self.warm - count
        if not count or not discard(self.segment.mapping, self.offset + start, count):
            return 0
        self.warm = start
        self.dirty = min(self.dirty, start)
        return count


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


class Segment:
    """One segment and its slots.

    Args:
        layout: the layout.

    Attributes:
        header: bytes before the first slot.
        fd: of the segment; the segment's own.
        mapping: of all of it.
        slots: those that have been in use; the rest are cold.

    Raises:
        OSError: no descriptors left, or no shared memory to be had.
    """

    def __init__(self, layout: SegmentLayout) -> None:
        self.layout = layout
        self.header = layout.header
        self.fd = create(layout.size)
        try:
            self.mapping: mmap.mmap = map_whole(self.fd, layout.size)
        except BaseException:
            os.close(self.fd)
            raise
        self.bytes = memoryview(self.mapping)
        self.generations = self.bytes[: layout.slots * WORD].cast("Q")
        self.slots: list[Slot] = []

    def new_slot(self) -> Slot | None:
        """A slot that has never been in use; None if all have been."""
        if len(self.slots) == self.layout.slots:
            return None
        slot = Slot(self, len(self.slots))
        self.slots.append(slot)
        return slot

    def slot_at(self, offset: int) -> Slot | None:
        """The slot that begins at `offset` and has been in use; None if there is none."""
        index, rest = divmod(offset - self.header, self.layout.slot_size)
        return self.slots[index] if not rest and 0 <= index < len(self.slots) else None

    @property
    def idle(self) -> bool:
        """Whether nobody has a slot of it, and no memory is behind any."""
        return all(slot.holder is None and not slot.warm for slot in self.slots)

    def close(self) -> None:
        """Close the descriptor; the mapping goes with the last region that shows some of it."""
        self.slots.clear()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            os.close(self.fd)
