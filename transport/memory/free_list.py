"""The slots of one node: which are free, how much memory they have, which to use next; not who has them.

A page of fresh shared memory costs thirty times what copying into it costs. So the slot used last is used
next, and memory is returned to the system only after it was idle for a while.
"""

from collections.abc import Iterator
from typing import Final

from actors.transport.memory.lease import Availability
from actors.transport.memory.memfd import PAGE, whole_pages
from actors.transport.memory.segment import Segment, Slot, layout_for, slot_size

__all__ = ["FreeList"]

_MAX_SEGMENTS: Final = 64
_CANDIDATES: Final = 8
_MOST_REQUESTED: Final = 4
_COLD_SHARE: Final = 8
"""A payload costs more than the socket would if more than an eighth of it goes to cold memory."""


class FreeList:
    """Free slots by size, the one used last on top.

    Attributes:
        limit: most bytes of memory that all slots may have.
        resident: bytes of memory they have.
        held: those of slots in use.
    """

    def __init__(self, limit: int) -> None:
        if limit < PAGE:
            raise ValueError(f"limit must be {PAGE} bytes or more, got {limit}")
        self.limit = limit
        self.segments: dict[int, Segment] = {}
        self.resident: int = 0
        self.peak_resident: int = 0
        self.held: int = 0
        self.peak_held: int = 0
        self._free: dict[int, list[Slot]] = {}
        self._unfilled: dict[int, Segment] = {}
        self._warm_requests: dict[int, tuple[int, int]] = {}
        self._next_number = 1
        self._trims = 0

    def slot_at(self, number: int, offset: int) -> Slot | None:
        """The slot at this offset of a segment; None if there is none."""
        segment = self.segments.get(number)
        return None if segment is None else segment.slot_at(offset)

    def availability(self, size: int) -> Availability:
        """Whether `acquire` would find a slot, and if its pages have memory."""
        whole = slot_size(size)
        if self.held + whole_pages(size) > self.limit:
            return Availability.FULL
        free = self._free.get(whole)
        if free:
            cold = _is_cold(free[_warmest(free, size)], size)
            return Availability.COLD if cold else Availability.WARM
        can_grow = whole in self._unfilled or len(self.segments) < _MAX_SEGMENTS
        return Availability.COLD if can_grow else Availability.FULL

    def acquire(self, size: int, *, cold: bool = True) -> Slot | Availability:
        """Take the warmest slot with room for `size`.

        Args:
            size: bytes, 1 or more.
            cold: whether its pages may be without memory; what they will need is within the limit.

        Returns:
            the slot; or, if there is none, what `availability` says.
        """
        if self.held + whole_pages(size) > self.limit:
            return Availability.FULL
        whole = slot_size(size)
        free = self._free.get(whole)
        if not cold and (not free or _is_cold(free[_warmest(free, size)], size)):
            return self.availability(size)
        slot = free.pop(_warmest(free, size)) if free else self._new_slot(whole)
        if slot is None:
            return Availability.FULL
        if slot.warm < size and not self._fit_limit(
            whole_pages(size) - slot.warm, unused_only=False
        ):
            self._free.setdefault(whole, []).append(slot)
            return Availability.FULL
        self._add_held(slot.warm)
        return slot

    def write(self, slot: Slot, data: memoryview) -> None:
        """Copy `data` into an acquired slot.

        Raises:
            OSError: no memory available.
        """
        before = slot.warm
        if len(data) <= before:
            slot.write(data)
            return
        try:
            slot.write(data)
        finally:
            self._add_resident(slot.warm - before)
            self._add_held(slot.warm - before)

    def reserve(self, slot: Slot, size: int) -> None:
        """Count memory for `size` bytes that the user of an acquired slot will write."""
        count = max(0, whole_pages(size) - slot.warm)
        slot.warm += count
        slot.dirty = max(slot.dirty, size)
        self._add_resident(count)
        self._add_held(count)

    def release(self, slot: Slot) -> None:
        """Free an acquired slot."""
        self.held -= slot.warm
        slot.free()
        slot.last_used = self._trims
        self._free.setdefault(slot.segment.layout.slot_size, []).append(slot)

    def _add_resident(self, count: int) -> None:
        self.resident += count
        self.peak_resident = max(self.peak_resident, self.resident)

    def _add_held(self, count: int) -> None:
        self.held += count
        self.peak_held = max(self.peak_held, self.held)

    def _new_slot(self, size: int) -> Slot | None:
        """A slot that was never used, from a new segment if need be; None if there is none."""
        segment = self._unfilled.get(size)
        slot = None if segment is None else segment.new_slot()
        if slot is not None or len(self.segments) >= _MAX_SEGMENTS:
            return slot
        try:
            segment = Segment(layout_for(self._next_number, size))
        except (OSError, ValueError, OverflowError):
            return None
        self.segments[self._next_number] = self._unfilled[size] = segment
        self._next_number += 1
        return segment.new_slot()

    # ------------------------------------------------------------ upkeep

    def request_warm(self, size: int) -> None:
        """Ask `warm` for one more slot that has memory for `size` bytes."""
        whole = slot_size(size)
        most, count = self._warm_requests.get(whole, (0, 0))
        self._warm_requests[whole] = max(most, size), min(count + 1, _MOST_REQUESTED)

    def warm(self, budget: int) -> bool:
        """Touch about `budget` bytes for requested slots; returns whether there is more to do."""
        while budget > 0 and self._warm_requests:
            whole, (size, count) = next(iter(self._warm_requests.items()))
            slot = self._slot_to_warm(whole, size)
            step = 0 if slot is None else min(whole_pages(budget), whole_pages(size) - slot.warm)
            if slot is None or not self._fit_limit(step, unused_only=True, but=slot):
                del self._warm_requests[whole]
                continue
            slot.warm_up(slot.warm + step)
            self._add_resident(step)
            budget -= step
            if slot.warm >= size:
                self._move_to_top(slot)
                if count > 1:
                    self._warm_requests[whole] = size, count - 1
                else:
                    del self._warm_requests[whole]
        return bool(self._warm_requests)

    def _move_to_top(self, slot: Slot) -> None:
        free = self._free[slot.segment.layout.slot_size]
        free.remove(slot)
        free.append(slot)
        slot.last_used = self._trims

    def _slot_to_warm(self, whole: int, size: int) -> Slot | None:
        """The warmest of the free slots that are not warm enough, or a new one."""
        free = self._free.setdefault(whole, [])
        slot = max((s for s in free if s.warm < size), key=lambda s: s.warm, default=None)
        if slot is None and (slot := self._new_slot(whole)) is not None:
            free.append(slot)
        return slot

    def _fit_limit(self, count: int, *, unused_only: bool, but: Slot | None = None) -> bool:
        """Cool free slots until `count` bytes more are within the limit; returns whether they are.

        Args:
            count: bytes of memory that are needed.
            unused_only: cool only slots that were not used since the last `trim`.
            but: a slot not to cool.
        """
        missing = self.resident + count - self.limit
        if missing <= 0:
            return True
        for slot in sorted(self._warm_and_free(), key=lambda s: s.last_used):
            if slot is not but and not (unused_only and slot.last_used >= self._trims):
                missing -= self._cool(slot, missing)
                if missing <= 0:
                    return True
        return False

    def _warm_and_free(self) -> Iterator[Slot]:
        return (slot for free in self._free.values() for slot in free if slot.warm)

    def _cool(self, slot: Slot, most: int) -> int:
        count = slot.cool(most)
        self.resident -= count
        return count

    def trim(self, budget: int) -> list[Segment]:
        """Return memory that nobody used since the last call to the system, and close empty segments.

        Returns:
            the segments it closed.
        """
        for slot in list(self._warm_and_free()):
            if budget <= 0:
                break
            if slot.last_used < self._trims:
                budget -= self._cool(slot, budget)
        self._trims += 1
        return [self._close(segment) for segment in list(self.segments.values()) if segment.idle]

    def _close(self, segment: Segment) -> Segment:
        size = segment.layout.slot_size
        del self.segments[segment.layout.number]
        if self._unfilled.get(size) is segment:
            del self._unfilled[size]
        self._free[size] = [s for s in self._free.get(size, ()) if s.segment is not segment]
        segment.close()
        return segment

    def close(self) -> None:
        """Close all segments; slots in use stay mapped for their users."""
        for segment in self.segments.values():
            segment.close()
        self.segments.clear()
        self._unfilled.clear()
        self._free.clear()
        self._warm_requests.clear()
        self.resident = 0


def _is_cold(slot: Slot, size: int) -> bool:
    return (size - slot.warm) * _COLD_SHARE > size


def _warmest(free: list[Slot], size: int) -> int:
    """The index of the first of the top few slots that is warm enough, or else of the warmest."""
    best = len(free) - 1
    if free[best].warm >= size:
        return best
    for index in range(len(free) - 1, max(-1, len(free) - 1 - _CANDIDATES), -1):
        if free[index].warm >= size:
            return index
        if free[index].warm > free[best].warm:
            best = index
    return best
