"""Integers in shared memory that several processes change and wait for.

A load is one machine instruction. Every change takes a lock on the eight bytes of its cell, about 3
microseconds. The kernel holds the lock per open file and releases it when the process dies. It guards one
store, so a process that dies while it has the lock leaves either the old value or the new. A process that
is stopped while it has the lock blocks those who change the same cell. Signal handlers and finalisers must
not change a cell: they may interrupt a change of this very thread.
"""

import fcntl
import os
import struct
import sys
import threading
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import anyio

from actors.transport.errors import short_repr

if sys.platform == "linux":
    import select

__all__ = [
    "AtomicLock",
    "Atomics",
    "EventfdNotifier",
    "Notifier",
    "PollingNotifier",
    "new_notifier",
]

_WORD: Final = 8
_LOW: Final = -(2**63)
_POLL: Final = 0.002
# struct flock: type, whence, start, length, pid.
_FLOCK: Final = struct.Struct("@hhqqi0q")
_OFD_WAIT: Final = getattr(fcntl, "F_OFD_SETLKW", 38)


class AtomicLock:
    """Locks on the cells of one segment, against threads here and against other processes.

    Args:
        fd: an open file of the segment that nobody else uses, since locks belong to the open file. The
            lock owns and closes it.
    """

    __slots__ = ("_fd", "_threads")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._threads = threading.Lock()

    def change(self, cells: memoryview, index: int, change: Callable[[int], int]) -> int:
        """Replace the value of one cell by `change(value)`; returns the value before."""
        with self._threads:
            self._lock(index, fcntl.F_WRLCK)
            try:
                before: int = cells[index]
                cells[index] = change(before)
            finally:
                self._lock(index, fcntl.F_UNLCK)
        return before

    def _lock(self, index: int, kind: int) -> None:
        if sys.platform == "linux":
            how = _FLOCK.pack(kind, os.SEEK_SET, index * _WORD, _WORD, 0)
            fcntl.fcntl(self._fd, _OFD_WAIT, how)
        else:
            kind = fcntl.LOCK_EX if kind == fcntl.F_WRLCK else fcntl.LOCK_UN
            fcntl.lockf(self._fd, kind, _WORD, index * _WORD)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self._fd)  # bound, as the module may have lost its names when the interpreter ends


class EventfdNotifier:
    """Wakes waiters by one eventfd that all processes share; every waiter sees every notification.

    Nobody reads the eventfd, so no waiter takes a notification from another: each waiter has an epoll of
    its own, in which every notification is an edge, and lets the event loop wait for that epoll.

    Args:
        fd: the eventfd, which the notifier owns and closes.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd: int = fd

    def notify(self) -> None:
        """Wake everybody who began to wait before this, in all processes."""
        os.eventfd_write(self.fd, 1)

    def waiter(self) -> "EpollWaiter":
        """Begin to wait."""
        return EpollWaiter(self.fd)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.fd)  # as above


class EpollWaiter:
    """One who waits for the edges of an eventfd."""

    def __init__(self, fd: int) -> None:
        self._edges = select.epoll()
        self._edges.register(fd, select.EPOLLIN | select.EPOLLET)
        self._edges.poll(0)

    async def wait(self) -> None:
        """Return after a notification since the last call; it may also return without one."""
        await anyio.wait_readable(self._edges)
        self._edges.poll(0)

    def close(self) -> None:
        """Stop waiting."""
        self._edges.close()


class PollingNotifier:
    """For systems without eventfd: waiters look every 2 milliseconds, and `notify` does nothing."""

    def notify(self) -> None:
        pass

    def waiter(self) -> "PollingNotifier":
        return self

    async def wait(self) -> None:
        await anyio.sleep(_POLL)

    def close(self) -> None:
        pass


Notifier: TypeAlias = EventfdNotifier | PollingNotifier
"""Wakes everybody who waits at one segment, in all processes."""


def new_notifier() -> Notifier:
    """The better notifier this platform has."""
    if sys.platform == "linux":
        return EventfdNotifier(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
    else:  # noqa: RET505 - a type checker would find a plain return unreachable
        return PollingNotifier()


class Exchanged(NamedTuple):
    """What `compare_exchange` found: the value that was there, and whether it was replaced."""

    value: int
    done: bool


class Atomics:
    """The whole eight-byte cells of one `SharedBuffer`, as signed integers that wrap around.

    Args:
        cells: all of them.
        lock: guards changes.
        notifier: wakes waiters.
    """

    __slots__ = ("_cells", "_lock", "_notifier")

    def __init__(self, cells: memoryview, lock: AtomicLock, notifier: Notifier) -> None:
        self._cells = cells
        self._lock = lock
        self._notifier = notifier

    def __len__(self) -> int:
        return len(self._cells)

    def load(self, index: int) -> int:
        """The value of the cell."""
        value: int = self._cells[self._checked(index)]
        return value

    def store(self, index: int, value: int) -> None:
        """Set the cell; a change that another process has begun does not undo it."""
        self.exchange(index, value)

    def exchange(self, index: int, value: int) -> int:
        """Set the cell; returns the value before."""
        new = _word(value)
        return self._change(index, lambda _: new)

    def add(self, index: int, by: int = 1) -> int:
        """Add to the cell, wrapping around at 64 bits; returns the value before."""
        by = _word(by)
        return self._change(index, lambda before: (before + by - _LOW) % 2**64 + _LOW)

    def compare_exchange(self, index: int, expected: int, value: int) -> Exchanged:
        """Set the cell if it holds `expected`; returns the value before and whether it was replaced."""
        expected, new = _word(expected), _word(value)
        before = self._change(index, lambda now: new if now == expected else now)
        return Exchanged(before, before == expected)

    def notify(self) -> None:
        """Make everybody who waits at this buffer, in all processes, look at their cell again."""
        self._notifier.notify()

    async def wait(self, index: int, expected: int) -> int:
        """Wait until the cell holds another value than `expected`; returns that value.

        The cell is read at the call and after each `notify`. A change without a `notify`, or one that
        is undone before the waiter reads the cell, wakes nobody.
        """
        value = self.load(index)
        if value != expected:
            return value
        waiter = self._notifier.waiter()
        try:
            while (value := self.load(index)) == expected:
                await waiter.wait()
        finally:
            waiter.close()
        return value

    def _change(self, index: int, change: Callable[[int], int]) -> int:
        return self._lock.change(self._cells, self._checked(index), change)

    def _checked(self, index: int) -> int:
        if type(index) is not int or not 0 <= index < len(self._cells):
            count = len(self._cells)
            raise IndexError(f"there are {count} cells, from 0; got {short_repr(index)}")
        return index


def _word(value: int) -> int:
    if not _LOW <= value < -_LOW:
        raise OverflowError(f"a cell holds a signed integer of 64 bits, got {short_repr(value)}")
    return value
