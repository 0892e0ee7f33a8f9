"""`SharedArray`: one numpy array for all processes it is sent to, which read the same bytes.

It is a `SharedBuffer` that nobody writes to any more, and a layout. numpy is needed where the array is made
and where it is read, and not where it only passes through.
"""

import mmap
from typing import Any

from actors.transport.errors import short_repr
from actors.transport.memory.shared_buffer import SharedBuffer
from actors.transport.types.numpy import (
    ArrayLayout,
    array_bytes,
    array_layout,
    in_one_piece,
    is_array,
    rebuild_array,
    why_no_layout,
)

__all__ = ["SharedArray"]


class SharedArray:
    """A numpy array that every process which has it reads without a copy, and none can write.

    Made by `from_array`. It can be sent, be a part of what is sent, and be an argument of a constructor. Its
    memory is freed when no process has it, or an array that shows it, any more.
    """

    __slots__ = ("_buffer", "_layout", "_memory")

    _buffer: SharedBuffer
    _memory: mmap.mmap | None
    """Its bytes, mapped at the first use; numpy lets users undo what makes an array of it read-only."""
    _layout: ArrayLayout

    def __init__(self) -> None:
        raise TypeError("a SharedArray is made by SharedArray.from_array(x)")

    @classmethod
    def from_array(cls, array: Any) -> "SharedArray":
        """Copy an array into shared memory, once.

        Args:
            array: a numpy array of plain data, of any shape; later changes of it are not seen.

        Raises:
            TypeError: it is no numpy array, or one of objects.
            OSError: no descriptors left, or shared memory is not to be had.
        """
        if not is_array(array):
            raise TypeError(f"SharedArray.from_array takes a numpy array, got {short_repr(array)}")
        layout = array_layout(array)
        if layout is None:
            raise TypeError(f"SharedArray.from_array: {why_no_layout(array)}")
        buffer = SharedBuffer(max(array.nbytes, 1))
        data = array_bytes(in_one_piece(array))
        if data is not None:
            with buffer.view() as view:
                view[: len(data)] = data
        return cls.from_parts(buffer, layout)

    @classmethod
    def from_parts(cls, buffer: SharedBuffer, layout: Any) -> "SharedArray":
        """The array in the bytes of *buffer*; for links."""
        shared = object.__new__(cls)
        shared._buffer = buffer
        shared._memory = None
        shared._layout = ArrayLayout(*layout)
        return shared

    @property
    def parts(self) -> tuple[SharedBuffer, ArrayLayout]:
        """Its bytes and what else is needed to rebuild it; for links."""
        return self._buffer, self._layout

    @property
    def array(self) -> Any:
        """A numpy array over the shared bytes, read-only; copy it to change it.

        Raises:
            Undecodable: numpy cannot be imported here.
            OSError: no descriptors left.
        """
        if self._memory is None:
            self._memory = self._buffer.map_read_only()
        view = memoryview(self._memory)
        # A buffer cannot be empty, an array can.
        return rebuild_array(view[:0] if 0 in self._layout.shape else view, self._layout)

    @property
    def shape(self) -> tuple[int, ...]:
        """Items along each dimension."""
        return self._layout.shape

    def __len__(self) -> int:
        return len(self.array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:  # noqa: FBT001 - numpy's signature
        array = self.array
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(
                    f"a SharedArray of {array.dtype} becomes one of {dtype} by a copy only"
                )
            return array.astype(dtype)
        return array.copy() if copy else array

    def __repr__(self) -> str:
        return f"<SharedArray of shape {self._layout.shape}, dtype {self._layout.dtype}>"
