"""`SharedBuffer`: the same bytes in every process it is sent to, and atomic integers over them.

It travels as two descriptors, of the memory and of the notifier that wakes who waits at it, and is freed
by the kernel with the last process that has it. Sent twice to one process it is one object there.
"""

import mmap
import os
import stat
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, SupportsIndex

from actors.transport.errors import OutOfRange, Unsealed, short_repr
from actors.transport.memory.atomics import (
    AtomicLock,
    Atomics,
    EventfdNotifier,
    Notifier,
    PollingNotifier,
    new_notifier,
)
from actors.transport.memory.memfd import check, create_lockable, map_whole
from actors.transport.wire.outbox import close_all

__all__ = ["SharedBuffer"]

_WORD: Final = 8
_LINUX: Final = sys.platform == "linux"
_known: Final[weakref.WeakValueDictionary[tuple[int, int], "SharedBuffer"]] = (
    weakref.WeakValueDictionary()
)


class SharedBuffer:
    """`size` bytes, zeros at first, that all processes which have it see and change.

    Nothing but `atomics` keeps two of them from writing at once.

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
        if type(size) is not int:
            raise TypeError(f"a buffer's size is a number of bytes, got {short_repr(size)}")
        if size < 1:
            raise ValueError(f"a buffer holds 1 byte or more, got {size}")
        notifier = new_notifier()
        self._set_up(create_lockable(size), size, notifier)

    def _set_up(self, fd: int, size: int, notifier: Notifier) -> None:
        """Map the segment; its descriptor is this object's from here on, or closed."""
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
        """A new view of its bytes, to be read and written."""
        return memoryview(self._memory)

    if sys.version_info >= (3, 12):

        def __buffer__(self, flags: int, /) -> memoryview:
            return self.view()

    def __bytes__(self) -> bytes:
        return bytes(self.view())

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        """One byte as a number, or some of them as a copy."""
        got = self.view()[index]
        return bytes(got) if isinstance(index, slice) else got

    def __setitem__(self, index: Any, value: Any) -> None:
        """Set one byte from a number, or some of them from as many bytes."""
        self.view()[index] = value

    def __repr__(self) -> str:
        return f"<SharedBuffer of {self._size} bytes>"

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)

    # ------------------------------------------------------------ for links

    def duplicate_fds(self) -> list[int]:
        """Copies of the descriptors by which it travels, in order; the caller's to pass on."""
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
        """What came from a peer; the descriptors are closed when this returns, whatever happens.

        Raises:
            SegmentError: they are not what `duplicate_fds` makes.
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
    """Another open file of the same segment: locks belong to it, and the one that travels has none.

    Where that cannot be had locks belong to the process.
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
