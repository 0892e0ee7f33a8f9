"""Integers in shared memory that several processes change and wait for.

A load is one machine instruction. All else takes a lock on the eight bytes of its cell, which the
kernel holds by open file and lets go when the process dies; about 3 microseconds, not the speed of C.
What it guards is one store, so a process that dies in between leaves either the old value or the new.
One that is stopped in between holds up who changes the same cell. No change may be made by a waiter
handler or a finaliser: it may run inside one.
"""

import fcntl
import os
import struct
import sys
import threading
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

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
    """Locks on cells of one segment, against threads here and against other processes.

    Args:
        fd: an open file of the segment that nobody else has: locks belong to it. It is the lock's
            from here on.
    """

    __slots__ = ("_fd", "_threads")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._threads = threading.Lock()

    def change(self, cells: memoryview, index: int, change: Callable[[int], int]) -> int:
        """Replace the value of one cell by `change` of it; returns what it was."""
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

    def __del__(self) -> None:
        os.close(self._fd)


class Notifier(Protocol):
    """What wakes everybody who waits at one segment, in all processes."""

    def notify(self) -> None:
        """Wake everybody who began to wait before this."""

    def waiter(self) -> "Waiter":
        """Begin to wait."""


class Waiter(Protocol):
    """One who waits."""

    async def wait(self) -> None:
        """Until the notifier has been rung since the last call; more often does no harm."""

    def close(self) -> None:
        """Stop."""


class EventfdNotifier:
    """One eventfd that all processes share; everybody who waits sees every ring of it.

    Nobody reads it, so nobody takes a ring from somebody else: each one who waits has an epoll of
    his own, in which every ring is an edge, and lets the event loop wait for that.

    Args:
        fd: the eventfd, which is the bell's from here on.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def notify(self) -> None:
        os.eventfd_write(self.fd, 1)

    def waiter(self) -> "EpollWaiter":
        return EpollWaiter(self.fd)

    def __del__(self) -> None:
        os.close(self.fd)


class EpollWaiter:
    """One who waits for the edges of an eventfd."""

    def __init__(self, fd: int) -> None:
        self._edges = select.epoll()
        self._edges.register(fd, select.EPOLLIN | select.EPOLLET)
        self._edges.poll(0)

    async def wait(self) -> None:
        await anyio.wait_readable(self._edges)
        self._edges.poll(0)

    def close(self) -> None:
        self._edges.close()


class PollingNotifier:
    """Where there is no eventfd: who waits looks every 2 milliseconds, and ringing does nothing."""

    def notify(self) -> None:
        pass

    def waiter(self) -> "PollingNotifier":
        return self

    async def wait(self) -> None:
        await anyio.sleep(_POLL)

    def close(self) -> None:
        pass


def new_notifier() -> Notifier:
    """The best notifier there is here."""
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
        notifier: wakes who waits.
    """

    __slots__ = ("_cells", "_lock", "_notifier")

    def __init__(self, cells: memoryview, lock: AtomicLock, notifier: Notifier) -> None:
        self._cells = cells
        self._lock = lock
        self._notifier = notifier

    def __len__(self) -> int:
        return len(self._cells)

    def load(self, index: int) -> int:
        """What the cell holds now."""
        value: int = self._cells[self._checked(index)]
        return value

    def store(self, index: int, value: int) -> None:
        """Set the cell; no change by others that is under way undoes it."""
        self.exchange(index, value)

    def exchange(self, index: int, value: int) -> int:
        """Set the cell; returns what it held."""
        new = _word(value)
        return self._change(index, lambda _: new)

    def add(self, index: int, by: int = 1) -> int:
        """Add to the cell, wrapping around at 64 bits; returns what it held before."""
        by = _word(by)
        return self._change(index, lambda before: (before + by - _LOW) % 2**64 + _LOW)

    def compare_exchange(self, index: int, expected: int, value: int) -> Exchanged:
        """Set the cell if it holds `expected`; returns what it held, and whether that was it."""
        expected, new = _word(expected), _word(value)
        before = self._change(index, lambda now: new if now == expected else now)
        return Exchanged(before, before == expected)

    def notify(self) -> None:
        """Have everybody who waits at this buffer look at his cell again, in all processes."""
        self._notifier.notify()

    async def wait(self, index: int, expected: int) -> int:
        """Wait until the cell is seen to hold something else than `expected`; returns that.

        It is looked at now and after each `notify`; a change that nobody notifies of, or that is
        undone before it is seen, wakes nobody.
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
