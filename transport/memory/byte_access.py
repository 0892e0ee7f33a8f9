"""Access to bytes by index, slice and buffer protocol, for classes that have a `view`."""

import sys
from typing import Any, SupportsIndex

from actors.transport.errors import short_repr

__all__ = ["ByteAccess", "check_size"]


class ByteAccess:
    """What `Buffer` and `SharedBuffer` have in common."""

    __slots__ = ()

    def view(self) -> memoryview:
        """A new view of the bytes, for reading and writing."""
        raise NotImplementedError

    if sys.version_info >= (3, 12):

        def __buffer__(self, flags: int, /) -> memoryview:
            return self.view()

    def __bytes__(self) -> bytes:
        return bytes(self.view())

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        """One byte as a number, or a slice as a copy."""
        got = self.view()[index]
        return bytes(got) if isinstance(index, slice) else got

    def __setitem__(self, index: Any, value: Any) -> None:
        """Set one byte from a number, or a slice from as many bytes."""
        self.view()[index] = value


def check_size(size: object) -> None:
    """Check the size of a new buffer.

    Raises:
        TypeError, ValueError: it is not an integer from 1 up.
    """
    if type(size) is not int:
        raise TypeError(f"a buffer's size is a number of bytes, got {short_repr(size)}")
    if size < 1:
        raise ValueError(f"a buffer holds 1 byte or more, got {size}")
