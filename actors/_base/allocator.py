"""How malloc treats big blocks in a process that is the system's own: a process node."""

from __future__ import annotations

from typing import Final

__all__ = ["keep_big_blocks"]

_BIGGEST: Final = 32 * 1024 * 1024 - 64 * 1024
"""Just below the most that glibc adapts itself to (DEFAULT_MMAP_THRESHOLD_MAX)."""


def keep_big_blocks() -> None:
    """Have blocks of less than 32 MiB come from up to 64 MiB that malloc keeps, not from the kernel.

    glibc gives each block of 128 KiB or more pages of its own, which cost a fault each, and more than the bytes
    of a message that are copied there. Once a bigger one was freed, it takes the size of that one as the bound,
    and keeps twice as much: as many bytes as may wait in one mailbox (mallopt(3), "dynamic mmap threshold").
    Nothing writes to the one made here, so that it takes no memory.
    """
    bytes(_BIGGEST)
