"""A part of shared memory that knows whether it has views, and reports when the last one is gone.

Views, slices and arrays made of them all keep the region alive, so it ends with the last of them. That may
happen in any thread and inside a garbage collection, so `on_dropped` may only append to a deque. A view
that some other object's `__del__` brings back to life out of a collected cycle is not noticed.

From Python 3.12 on a class can export a buffer and count its views. Before, ctypes arrays export it, one
class per size, and the references to the array count the views.
"""

import mmap
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, Final

__all__ = ["Region"]

OnDropped = Callable[[], object]


class Region:
    """One slot of a mapping, or the first `length` bytes of it.

    Args:
        mapping: a writable mapping of the segment.
        offset: where the slot begins.
        size: bytes of the slot; there should be few sizes, since each may need a class.
        length: bytes of it that views show.
        on_dropped: called once, when the region and all its views are gone.
        writable: whether views may write.
    """

    __slots__ = ("_exporter", "_length", "_writable")

    def __init__(
        self,
        mapping: mmap.mmap,
        offset: int,
        *,
        size: int,
        length: int,
        on_dropped: OnDropped | None,
        writable: bool,
    ) -> None:
        self._exporter = _export(mapping, offset, size, length, on_dropped)
        self._length = length
        self._writable = writable

    def view(self) -> memoryview:
        """A new one-dimensional view of format B."""
        whole = memoryview(self._exporter)
        if whole.format != "B" or whole.nbytes != self._length:
            whole = whole.cast("B")[: self._length]
        return whole if self._writable else whole.toreadonly()

    @property
    def has_views(self) -> bool:
        """Whether a view, or an array made of one, is alive."""
        return _is_viewed(self._exporter)

    def cancel_on_dropped(self) -> None:
        """Do not call `on_dropped`: the slot has another owner now."""
        self._exporter.on_dropped = None


if sys.version_info >= (3, 12):

    class _Exporter:
        # On the class, since a collection of a cycle empties the object before its last view ends.
        views = 0

        def __init__(self, view: memoryview, on_dropped: OnDropped | None) -> None:
            self._bytes = view
            self.on_dropped = on_dropped

        def __buffer__(self, flags: int, /) -> memoryview:
            view = self._bytes[:]
            self.views += 1
            return view

        def __release_buffer__(self, view: memoryview, /) -> None:
            self.views -= 1

        def __del__(self) -> None:
            if self.on_dropped is not None:
                self.on_dropped()

    def _export(
        mapping: mmap.mmap, offset: int, size: int, length: int, on_dropped: OnDropped | None
    ) -> _Exporter:
        assert length <= size
        return _Exporter(memoryview(mapping)[offset : offset + length], on_dropped)

    def _is_viewed(exporter: _Exporter) -> bool:
        return exporter.views > 0

else:
    import ctypes

    # The region's reference, and two that `getrefcount` itself adds.
    _UNVIEWED: Final = 3

    def _on_delete(exporter: Any) -> None:
        if exporter.on_dropped is not None:
            exporter.on_dropped()

    @cache
    def _exporter_class(size: int) -> Any:
        """One class per slot size; making one costs 20 microseconds."""
        return type(
            "_Exporter", (ctypes.c_ubyte * size,), {"__del__": _on_delete, "on_dropped": None}
        )

    def _export(
        mapping: mmap.mmap, offset: int, size: int, length: int, on_dropped: OnDropped | None
    ) -> Any:
        assert length <= size
        exporter = _exporter_class(size).from_buffer(mapping, offset)
        exporter.on_dropped = on_dropped
        return exporter

    def _is_viewed(exporter: Any) -> bool:
        return sys.getrefcount(exporter) > _UNVIEWED
