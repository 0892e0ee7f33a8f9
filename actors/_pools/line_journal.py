"""What a worker notes of the calls in its line, in memory that is still there when the worker has died.

That is the number of the call that it has begun last, and the results of those that have returned, for as long
as their replies may not have left the process. One thread writes; the pool's queue reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.transport import NOT_PLAIN, plain_packer, unpack_plain

if TYPE_CHECKING:
    from actors.transport import SharedBuffer

__all__ = ["JOURNAL_SIZE", "LineJournal", "LineReader"]

JOURNAL_SIZE: Final = 64 << 10
"""Bytes."""
_BEGUN: Final = 0
"""The cell with the number of the call that was begun last."""
_CALLS: Final = 1
"""The cell that counts the calls that have returned."""
_NANOSECONDS: Final = 2
"""The cell with the time for which all those ran, together."""
_END: Final = 3
"""The cell that says where the results end."""
_FIRST: Final = 4
"""The cell where the results begin. Each has a cell with its number and one with its size and kind."""
_CELL: Final = 8
_KINDS: Final = 2
_VALUE: Final = 0
_CHUNK: Final = 1
"""A result of `call_chunk`: the list of its values, and no error."""


class LineJournal:
    """The journal as the thread of the worker writes it."""

    __slots__ = ("_bytes", "_cells", "_end", "_last", "_pack", "_sent")

    def __init__(self, buffer: SharedBuffer) -> None:
        self._bytes = buffer.view()
        self._cells = self._bytes.cast("q")
        self._pack = plain_packer()
        self._end = _FIRST * _CELL
        self._last = 0
        self._sent = 0

    def begin(self, number: int) -> None:
        """Note that a call begins."""
        self._cells[_BEGUN] = number

    def ran(self, nanoseconds: int) -> None:
        """Note that the call has returned, and how long it ran."""
        self._cells[_NANOSECONDS] += nanoseconds
        self._cells[_CALLS] += 1

    def keep(self, number: int, result: Any) -> bool:
        """Keep the result of the call; return whether it could be kept."""
        kind = _VALUE
        if type(result) is tuple and len(result) == 2 and result[1] is None:  # noqa: PLR2004 - a pair
            kind, result = _CHUNK, result[0]
        data = self._pack(result)
        if data is None:
            return False
        # The loop notes what it has sent; then none of it is needed any more.
        at = _FIRST * _CELL if self._sent >= self._last else self._end
        cell, start = at // _CELL, at + 2 * _CELL
        end = start + len(data)
        if end > JOURNAL_SIZE:
            return False
        if at < self._end:
            self._cells[_END] = at
        self._bytes[start:end] = data
        self._cells[cell] = number
        self._cells[cell + 1] = len(data) * _KINDS + kind
        self._end = -(-end // _CELL) * _CELL
        self._last = number
        self._cells[_END] = self._end  # last, so that what is before it is whole
        return True

    def sent(self, number: int) -> None:
        """Note that the replies up to that of this call have left; called by the loop."""
        self._sent = number


class LineReader:
    """The journal as the pool's queue reads it."""

    __slots__ = ("_bytes", "_cells")

    def __init__(self, buffer: SharedBuffer) -> None:
        self._bytes = buffer.view()
        self._cells = self._bytes.cast("q")

    @property
    def begun(self) -> int:
        """The number of the call that was begun last; 0 before the first."""
        return self._cells[_BEGUN]

    @property
    def run(self) -> tuple[int, int]:
        """How many calls have returned, and for how many nanoseconds they ran together."""
        return self._cells[_CALLS], self._cells[_NANOSECONDS]

    def results(self) -> dict[int, Any]:
        """Return the results that are kept, by the numbers of their calls; what is no result is left out."""
        found: dict[int, Any] = {}
        at, end = _FIRST * _CELL, min(self._cells[_END], JOURNAL_SIZE)
        while at + 2 * _CELL <= end:
            number, size = self._cells[at // _CELL], self._cells[at // _CELL + 1]
            size, kind = divmod(size, _KINDS)
            start = at + 2 * _CELL
            if not 0 < size <= end - start:
                break
            value = unpack_plain(self._bytes[start : start + size])
            if value is not NOT_PLAIN:
                found[number] = (value, None) if kind == _CHUNK else value
            at = -(-(start + size) // _CELL) * _CELL
        return found
