"""`Buffer`: shared memory to fill in place and move to another node without a copy.

Its memory is a slot of the pool of the thread that made it, or a slot of a peer that moved it here. If
the pool has no room it is memory of this process alone, which is copied when the buffer leaves.
"""

import mmap
from collections.abc import Sequence
from typing import Any

from actors.transport.errors import Moved, StillViewed
from actors.transport.memory.byte_access import ByteAccess, check_size
from actors.transport.memory.lease import Lease, LeaseDescriptor
from actors.transport.memory.mapping import SegmentMappings
from actors.transport.memory.pool import SegmentPool
from actors.transport.memory.region import Region
from actors.transport.memory.segment import slot_size
from actors.transport.memory.thread_pool import thread_pool

__all__ = ["Buffer"]


class Buffer(ByteAccess):
    """`size` bytes of shared memory, written through views and moved by `move(buffer)`.

    ``buffer.view()`` shows its bytes; from Python 3.12 on, so does anything that takes a buffer:
    ``memoryview(buffer)``, ``numpy.frombuffer(buffer)``. Indexing and slicing copy. Once moved, every
    use raises `Moved`; while a view or an array made of one is alive it cannot be moved.

    Args:
        size: how many bytes, 1 or more.
        zero: whether they begin as zeros. Without, making a buffer takes the same time at any size,
            but shows what earlier messages of this node left there, to the receiver too.

    Raises:
        ValueError: the size is not 1 or more.
        MemoryError: there is no memory.
    """

    __slots__ = ("__weakref__", "_owner", "_region", "_size", "_slot")

    def __init__(self, size: int, *, zero: bool = True) -> None:
        check_size(size)
        pool = thread_pool()
        slot = pool.allocate_own(size, zero=zero)
        if slot is None:
            self._set(None, None, _private(size), size)
        else:
            self._set(pool, slot, slot.region, size)

    def _set(self, owner: object, slot: Any, region: Region, size: int) -> None:
        """Take memory over.

        Args:
            owner: the `SegmentPool` or `SegmentMappings` that it is a slot of; None if private.
            slot: the pool's `OwnSlot` or the mappings' `BorrowedSlot`; None if private.
            region: the memory.
            size: bytes of it.
        """
        self._owner: object = owner
        self._slot = slot
        self._region: Region | None = region
        self._size = size

    @classmethod
    def _of(cls, owner: object, slot: Any, region: Region, size: int) -> "Buffer":
        buffer = object.__new__(cls)
        buffer._set(owner, slot, region, size)
        return buffer

    def _live_region(self) -> Region:
        if self._region is None:
            raise Moved(f"this buffer of {self._size} bytes was moved; only its receiver has it")
        return self._region

    def view(self) -> memoryview:
        """A new view of its bytes, for reading and writing."""
        return self._live_region().view()

    def __len__(self) -> int:
        self._live_region()
        return self._size

    def __repr__(self) -> str:
        return f"<Buffer of {self._size} bytes{', moved' if self._region is None else ''}>"

    @property
    def moved(self) -> bool:
        """Whether it was moved, so that only its receiver has it."""
        return self._region is None

    # ------------------------------------------------------------ for links

    def check_move(self) -> None:
        """Check that it can be moved; changes nothing.

        Raises:
            Moved: it was moved before.
            StillViewed: a view of it, or an array made of one, is alive.
        """
        if self._live_region().has_views:
            raise StillViewed(
                f"views of this buffer of {self._size} bytes are alive; release them, then move it"
            )

    def take(self) -> "Buffer":
        """Move it within this process: a new buffer has its memory, in the same time at any size.

        Raises:
            Moved, StillViewed: as `check_move`.
        """
        self.check_move()
        taken = Buffer._of(self._owner, self._slot, self._live_region(), self._size)
        self._forget_memory()
        return taken

    def _forget_memory(self) -> None:
        self._owner = self._slot = self._region = None

    def undo_take(self, taken: "Buffer") -> None:
        """Undo `take`: this buffer has the memory of `taken` again."""
        region = taken._live_region()  # noqa: SLF001 - another buffer
        self._set(taken._owner, taken._slot, region, self._size)  # noqa: SLF001 - as above
        taken._forget_memory()  # noqa: SLF001 - as above

    def free_copied(self) -> None:
        """Free its memory after its bytes were copied to the receiver.

        Raises:
            Moved, StillViewed: as `check_move`.
        """
        self.check_move()
        self._forget_memory()

    def lease_to(self, pool: SegmentPool, peer: Any) -> Lease | None:
        """Move it to a process that has not lent it here; only the lease's numbers travel.

        Args:
            pool: of the sending node; only a buffer made from it can be leased.
            peer: who gets it.

        Returns:
            None if it has no slot of this pool, or descriptors have run out: then nothing has changed
            and its bytes have to be copied.

        Raises:
            Moved, StillViewed: as `check_move`.
        """
        self.check_move()
        lease = pool.transfer(self._slot, peer) if self._owner is pool else None
        if lease is not None:
            self._forget_memory()
        return lease

    def undo_lease(self, pool: SegmentPool, lease: Lease, peer: Any) -> None:
        """Undo `lease_to` when the peer was never told: the buffer has its slot again."""
        slot = pool.undo_transfer(lease, peer)
        self._set(pool, slot, slot.region, self._size)

    def return_descriptor(self, mappings: SegmentMappings, peer: Any) -> LeaseDescriptor | None:
        """What `return_to` would return; changes nothing."""
        return mappings.return_descriptor(self._slot, peer) if self._owner is mappings else None

    def return_to(self, mappings: SegmentMappings, peer: Any) -> LeaseDescriptor | None:
        """Move it back to the process that moved it here; only the lease's numbers travel.

        Args:
            mappings: of the sending node.
            peer: who gets it.

        Returns:
            None if another peer, or nobody, moved it here: then nothing has changed.

        Raises:
            Moved, StillViewed: as `check_move`.
        """
        self.check_move()
        descriptor = mappings.return_slot(self._slot, peer) if self._owner is mappings else None
        if descriptor is not None:
            self._forget_memory()
        return descriptor

    @classmethod
    def from_lease(cls, mappings: SegmentMappings, peer: Any, fields: Sequence[Any]) -> "Buffer":
        """The buffer that `peer` moved here by a lease; errors as in `SegmentMappings.open`."""
        slot = mappings.adopt(peer, fields)
        return cls._of(mappings, slot, slot.region, slot.descriptor.length)

    @classmethod
    def from_return(cls, pool: SegmentPool, peer: Any, fields: Sequence[Any]) -> "Buffer":
        """The buffer that `peer` moved back to us; errors as in `SegmentPool.accept_returned`."""
        held = pool.accept_returned(fields, peer)
        return cls._of(pool, held, held.region, held.slot.length)


def _private(size: int) -> Region:
    """Memory that no other process can see, for a node whose pool is full."""
    whole = slot_size(size)
    try:
        memory = mmap.mmap(-1, whole)
    except (OSError, ValueError, OverflowError) as error:
        raise MemoryError(f"no memory for a buffer of {size} bytes") from error
    return Region(memory, 0, size=whole, length=size, on_dropped=None, writable=True)
