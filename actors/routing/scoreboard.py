"""The scoreboard of one listener: how each node that accepts for itself is doing, in memory that all share.

Rule 1: each seat is a page, which its node and the parent alone map writable; the parent writes the first
pages, where it lists the seats that are taken, and a seat before its node comes and after it is gone.
Everybody else reads.
Rule 2: the parent still reads the seat of a dead node: what that node has counted is not lost with it.
Rule 3: times are nanoseconds of `time.monotonic_ns`, which all processes of a machine share.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
from struct import Struct
from typing import Final, NamedTuple

__all__ = [
    "ABLE",
    "OUT",
    "SEATS",
    "WATCHING",
    "OwnSeat",
    "Scoreboard",
    "ScoreboardReader",
    "Seat",
    "is_supported",
]

OUT: Final = 0
"""The node takes nothing: it is full, has no descriptors, or drains."""
ABLE: Final = 1
"""The node would take a connection, but does not watch the listening socket now."""
WATCHING: Final = 2

SEATS: Final = 2500
"""Seats of one scoreboard: more than a group has nodes, even with those that a reload replaces."""
_PAGE: Final = mmap.PAGESIZE
_LIST: Final = Struct("=qq")
"""The head of the list: how often it has changed, and its length; then the numbers of the seats."""
_LIST_PAGES: Final = -(-(_LIST.size + 8 * SEATS) // _PAGE)
_SIZE: Final = (_LIST_PAGES + SEATS) * _PAGE
"""Memory is taken only for seats that are used."""


class Seat(NamedTuple):
    """What one node shows the others and the parent."""

    mark: int = OUT
    """`OUT`, `ABLE` or `WATCHING`."""
    open: int = 0
    """Connections it serves."""
    accepted: int = 0
    """Connections it has accepted."""
    score: int = 0
    """As `accepted`, but a node that joins begins with what the others have: who has least is next."""
    stamp: int = 0
    """When it last looked at the others."""
    resting: int = 0
    """1 while there is nothing to do: it does not look until the socket or its bell wakes it."""
    lag: int = 0
    """Nanoseconds by which its loop lags, as `policy.lag` counts; 0 if that is noise."""
    suspect: int = -1
    """The seat of a node that it has found not to react, -1 for none."""
    suspect_stamp: int = 0
    """The stamp of that seat then: a later one ends the suspicion."""
    unread: int = 0
    """1 from before it accepts until it has tried to read what it has accepted."""


_SEAT: Final = Struct(f"={len(Seat._fields)}q")
_UNREAD: Final = Struct("=q")
_UNREAD_AT: Final = 8 * Seat._fields.index("unread")


def is_supported() -> bool:
    """Whether this system has what a scoreboard is made of."""
    return sys.platform == "linux"


def _at(number: int) -> int:
    """Return where the page of seat *number* begins; the first seat has the number 1."""
    return (_LIST_PAGES + number - 1) * _PAGE


class ScoreboardReader:
    """Reads a scoreboard.

    Args:
        fd: the scoreboard; the caller still owns the descriptor.
        prot: what may be done with the memory.
    """

    def __init__(self, fd: int, prot: int = mmap.PROT_READ) -> None:
        self._map = mmap.mmap(fd, _SIZE, prot=prot)
        self._version = -1
        self._taken: tuple[int, ...] = ()

    def taken(self) -> tuple[int, ...]:
        """Return the seats whose nodes may accept."""
        version, count = _LIST.unpack_from(self._map)
        if version != self._version:
            self._version = version
            self._taken = Struct(f"={count}q").unpack_from(self._map, _LIST.size)
        return self._taken

    def seat(self, number: int) -> Seat:
        """Return what the seat shows now."""
        return Seat._make(_SEAT.unpack_from(self._map, _at(number)))

    def close(self) -> None:
        """Unmap it."""
        self._map.close()


class OwnSeat:
    """Writes one seat.

    Args:
        fd: the scoreboard, open for writing; the caller still owns the descriptor.
        number: the seat.
    """

    def __init__(self, fd: int, number: int) -> None:
        self._map = mmap.mmap(fd, _PAGE, offset=_at(number))

    def show(self, seat: Seat) -> None:
        """Show *seat* to all."""
        _SEAT.pack_into(self._map, 0, *seat)

    def set_unread(self, unread: int) -> None:
        """Show whether there may be a connection that nobody has tried to read."""
        _UNREAD.pack_into(self._map, _UNREAD_AT, unread)

    def close(self) -> None:
        """Unmap it."""
        self._map.close()


class Scoreboard(ScoreboardReader):
    """The parent's side: makes the memory and lists the seats.

    Raises:
        OSError: no descriptors or no memory left.
    """

    def __init__(self) -> None:
        self.fd: int = os.memfd_create("actors-scoreboard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, _SIZE)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, seals)
            super().__init__(self.fd, mmap.PROT_READ | mmap.PROT_WRITE)
        except BaseException:
            os.close(self.fd)
            raise

    def list_seats(self, numbers: list[int]) -> None:
        """Show which seats are taken."""
        version, _ = _LIST.unpack_from(self._map)
        Struct(f"={len(numbers)}q").pack_into(self._map, _LIST.size, *numbers)
        _LIST.pack_into(self._map, 0, version + 1, len(numbers))

    def writable_copy(self) -> int:
        """Return a descriptor for the node that gets a seat."""
        return os.dup(self.fd)

    def readable_copy(self) -> int:
        """Return a descriptor by which nothing can be written."""
        return os.open(f"/proc/self/fd/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)

    def show(self, number: int, seat: Seat) -> None:
        """Show *seat* in the place of a node, which has not come yet or is gone."""
        _SEAT.pack_into(self._map, _at(number), *seat)

    def close(self) -> None:
        """Unmap and close it."""
        super().close()
        os.close(self.fd)
