"""`SharedBuffer`: the same bytes in every process it is sent to, and atomic integers over them.

It travels as two descriptors, of its memory and of the notifier that wakes waiters, and the kernel frees it
with the last process that has it. Sent twice to one process, it is one object there.
"""

import mmap
import os
import stat
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from actors.transport.errors import OutOfRange, Unsealed
from actors.transport.memory.atomics import (
    AtomicLock,
    Atomics,
    EventfdNotifier,
    Notifier,
    PollingNotifier,
    new_notifier,
)
from actors.transport.memory.byte_access import ByteAccess, check_size
from actors.transport.memory.memfd import check, create_lockable, map_whole
from actors.transport.wire.outbox import close_all

__all__ = ["SharedBuffer"]

_WORD: Final = 8
_LINUX: Final = sys.platform == "linux"
_known: Final[weakref.WeakValueDictionary[tuple[int, int], "SharedBuffer"]] = (
    weakref.WeakValueDictionary()
)


class SharedBuffer(ByteAccess):
    """`size` bytes, zeros at first, that every process which has it can read and write.

    Only `atomics` are safe against two processes that write at once.

    Args:
        size: how many bytes, 1 or more; 8 of them make an atomic cell.

    Raises:
        ValueError: the size is not 1 or more.
        OSError: no descriptors left, or shared memory is not to be had.
    """

    __slots__ = ("__weakref__", "_fd", "_memory", "_notifier", "_size", "atomics")

    atomics: Atomics
    """Its whole eight-byte cells as integers."""

    def __init__(self, size: int) -> None:
        check_size(size)
        notifier = new_notifier()
        self._set_up(create_lockable(size), size, notifier)

    def _set_up(self, fd: int, size: int, notifier: Notifier) -> None:
        """Map the segment; this object owns its descriptor, which is closed if that fails."""
        self._fd = fd
        try:
            self._memory: mmap.mmap = map_whole(fd, size)
            lock = AtomicLock(_reopened(fd))
        except BaseException:
            os.close(fd)
            self._fd = -1
            raise
        self._size = size
        self._notifier = notifier
        cells = memoryview(self._memory)[: size // _WORD * _WORD].cast("q")
        self.atomics = Atomics(cells, lock, notifier)
        _known[_identity(fd)] = self

    def view(self) -> memoryview:
        """A new view of its bytes, for reading and writing."""
        return memoryview(self._memory)

    def map_read_only(self) -> mmap.mmap:
        """Another mapping of its bytes, by which nobody can write them."""
        return map_whole(self._fd, self._size, writable=False)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<SharedBuffer of {self._size} bytes>"

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # Bound, as the module may have lost its names when the interpreter ends.
        if getattr(self, "_fd", -1) >= 0:
            close(self._fd)

    # ------------------------------------------------------------ for links

    def duplicate_fds(self) -> list[int]:
        """Duplicates of the descriptors by which it travels, in order; the caller owns them."""
        own = [
            self._fd,
            *([self._notifier.fd] if isinstance(self._notifier, EventfdNotifier) else ()),
        ]
        copies: list[int] = []
        try:
            for fd in own:
                copies.append(os.dup(fd))  # noqa: PERF401 - what was made is closed if the next fails
        except OSError:
            close_all(copies)
            raise
        return copies

    @classmethod
    def from_fds(cls, fds: Sequence[int]) -> "SharedBuffer":
        """The buffer that came from a peer; the descriptors are closed when this returns or raises.

        Raises:
            SegmentError: they are not those of a shared buffer.
        """
        try:
            if len(fds) != (2 if _LINUX else 1):
                raise OutOfRange(f"a shared buffer comes as 2 descriptors, got {len(fds)}")
            size = check(fds[0])
            known = _known.get(_identity(fds[0]))
            if known is not None:
                return known
            if _LINUX:
                _check_eventfd(fds[1])
            shared = object.__new__(cls)
            notifier = EventfdNotifier(os.dup(fds[1])) if _LINUX else PollingNotifier()
            shared._set_up(os.dup(fds[0]), size, notifier)
            return shared
        finally:
            close_all(fds)


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _reopened(fd: int) -> int:
    """Another open file of the same segment, to which this process's locks belong.

    Where /proc is missing it is the same open file, and locks belong to the process.
    """
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
    except OSError:
        if _LINUX:
            raise
        return os.dup(fd)


def _check_eventfd(fd: int) -> None:
    kind = str(Path(f"/proc/self/fd/{fd}").readlink())
    if kind != "anon_inode:[eventfd]" or os.get_blocking(fd):
        mode = stat.filemode(os.fstat(fd).st_mode)
        raise Unsealed(
            f"the peer passed {kind} ({mode}) where a notifier that never blocks belongs"
        )
