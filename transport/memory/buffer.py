"""`Buffer`: shared memory to fill in place and move to another node without a copy.

Its memory is a slot of the pool of the thread that made it, or a slot of a peer that moved it here,
or, if there was no room, memory of this process alone, which is copied when it leaves.
"""

import mmap
import sys
from collections.abc import Sequence
from typing import Any, SupportsIndex

from actors.transport.errors import Moved, StillViewed, short_repr
from actors.transport.memory.lease import Lease, LeaseDescriptor
from actors.transport.memory.mapping import BorrowedSlot, SegmentMappings
from actors.transport.memory.pool import OwnSlot, SegmentPool
from actors.transport.memory.region import Region
from actors.transport.memory.segment import slot_size
from actors.transport.memory.thread_pool import thread_pool

__all__ = ["Buffer"]

_Home = tuple[SegmentPool, OwnSlot] | tuple[SegmentMappings, BorrowedSlot] | None


class Buffer:
    """`size` bytes of shared memory, written through views and moved by `move(buffer)`.

    ``buffer.view()`` and, from Python 3.12 on, anything that takes a buffer see its bytes themselves:
    ``memoryview(buffer)``, ``numpy.frombuffer(buffer)``. Indexing and slicing copy. Once moved, every
    use raises `Moved`; while a view or an array made of one is alive it cannot be moved.

    Args:
        size: how many bytes, 1 or more.
        zero: whether they begin as zeros. Without, making a buffer takes the same time at any size,
            and what earlier messages of this node left there is seen, by the receiver too.

    Raises:
        ValueError: the size is not 1 or more.
        MemoryError: there is no memory.
    """

    __slots__ = ("__weakref__", "_home", "_region", "_size")

    def __init__(self, size: int, *, zero: bool = True) -> None:
        if type(size) is not int:
            raise TypeError(f"a buffer's size is a number of bytes, got {short_repr(size)}")
        if size < 1:
            raise ValueError(f"a buffer holds 1 byte or more, got {size}")
        pool = thread_pool()
        held = pool.allocate_own(size, zero=zero)
        self._size = size
        self._home: _Home = None if held is None else (pool, held)
        self._region: Region | None = _private(size) if held is None else held.region

    @classmethod
    def _of(cls, home: _Home, region: Region, size: int) -> "Buffer":
        buffer = object.__new__(cls)
        buffer._size = size
        buffer._home = home
        buffer._region = region
        return buffer

    def _live_region(self) -> Region:
        if self._region is None:
            raise Moved(f"this buffer of {self._size} bytes was moved; only its receiver has it")
        return self._region

    def view(self) -> memoryview:
        """A new view of its bytes, to be read and written."""
        return self._live_region().view()

    if sys.version_info >= (3, 12):

        def __buffer__(self, flags: int, /) -> memoryview:
            return self.view()

    def __bytes__(self) -> bytes:
        return bytes(self.view())

    def __len__(self) -> int:
        self._live_region()
        return self._size

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        """One byte as a number, or some of them as a copy."""
        got = self.view()[index]
        return bytes(got) if isinstance(index, slice) else got

    def __setitem__(self, index: Any, value: Any) -> None:
        """Set one byte from a number, or some of them from as many bytes."""
        self.view()[index] = value

    def __repr__(self) -> str:
        return f"<Buffer of {self._size} bytes{', moved' if self._region is None else ''}>"

    @property
    def moved(self) -> bool:
        """Whether it was moved, so that only its receiver has it."""
        return self._region is None

    # ------------------------------------------------------------ for links

    def check_move(self) -> None:
        """See that it can be moved; changes nothing.

        Raises:
            Moved: it was moved before.
            StillViewed: a view of it, or an array made of one, is alive.
        """
        if self._live_region().has_views:
            msg = (
                f"views of this buffer of {self._size} bytes are alive; release them, then move it"
            )
            raise StillViewed(msg)

    def take(self) -> "Buffer":
        """Move it within this process: a new buffer has it, at once and at any size.

        Raises:
            Moved: as in `check_move`, like `StillViewed`.
        """
        self.check_move()
        taken = Buffer._of(self._home, self._live_region(), self._size)
        self._forget_memory()
        return taken

    def _forget_memory(self) -> None:
        self._home = self._region = None

    def free_copied(self) -> None:
        """It was moved by a copy of its bytes: its memory is free.

        Raises:
            Moved: as in `check_move`, like `StillViewed`.
        """
        self.check_move()
        self._forget_memory()

    def lease_to(self, pool: SegmentPool, peer: Any) -> Lease | None:
        """Move it to another process that has not lent it here, by number alone.

        Args:
            pool: of the node that sends it, which has to be the one that made it.
            peer: who gets it.

        Returns:
            None if it has no slot in these pool, or descriptors have run out: nothing has changed
            then, and its bytes have to be copied.

        Raises:
            Moved: as in `check_move`, like `StillViewed`.
        """
        self.check_move()
        match self._home:
            case (owner, OwnSlot() as held) if owner is pool:
                lease = pool.transfer(held, peer)
            case _:
                lease = None
        if lease is not None:
            self._forget_memory()
        return lease

    def undo_lease(self, pool: SegmentPool, lease: Lease, peer: Any) -> None:
        """Undo `lease_to`: the peer was never told, and this has the slot again."""
        held = pool.undo_transfer(lease, peer)
        self._home, self._region = (pool, held), held.region

    def undo_take(self, taken: "Buffer") -> None:
        """Undo `take`: this has again what `taken` has."""
        self._home, self._region = taken._home, taken._live_region()  # noqa: SLF001 - the same noun
        taken._forget_memory()  # noqa: SLF001 - as above

    def return_descriptor(self, mappings: SegmentMappings, peer: Any) -> LeaseDescriptor | None:
        """What `return_to` will return; changes nothing."""
        match self._home:
            case (holder, BorrowedSlot() as borrowed) if holder is mappings:
                return mappings.return_descriptor(borrowed, peer)
            case _:
                return None

    def return_to(self, mappings: SegmentMappings, peer: Any) -> LeaseDescriptor | None:
        """Move it back to the process that moved it here, by number alone.

        Args:
            mappings: of the node that sends it.
            peer: who gets it.

        Returns:
            None if another peer, or nobody, moved it here: nothing has changed then.

        Raises:
            Moved: as in `check_move`, like `StillViewed`.
        """
        self.check_move()
        match self._home:
            case (holder, BorrowedSlot() as borrowed) if holder is mappings:
                descriptor = mappings.return_slot(borrowed, peer)
            case _:
                descriptor = None
        if descriptor is not None:
            self._forget_memory()
        return descriptor

    @classmethod
    def from_lease(cls, mappings: SegmentMappings, peer: Any, fields: Sequence[Any]) -> "Buffer":
        """What `peer` moved here by a lease; errors as in `SegmentMappings.open`."""
        borrowed = mappings.adopt(peer, fields)
        return cls._of((mappings, borrowed), borrowed.region, borrowed.descriptor.length)

    @classmethod
    def from_return(cls, pool: SegmentPool, peer: Any, fields: Sequence[Any]) -> "Buffer":
        """What `peer` moved back to its owner; errors as in `SegmentPool.accept_returned`."""
        held = pool.accept_returned(fields, peer)
        return cls._of((pool, held), held.region, held.slot.length)


def _private(size: int) -> Region:
    """Memory that no other process can see, for a node whose pool are full."""
    whole = slot_size(size)
    try:
        memory = mmap.mmap(-1, whole)
    except (OSError, ValueError, OverflowError) as error:
        raise MemoryError(f"no memory for a buffer of {size} bytes") from error
    return Region(memory, 0, size=whole, length=size, on_dropped=None, writable=True)
