"""Which slot has made which id: a bounded table in the parent, and a copy of it that nodes read.

Rule 1: the table decides; the copy only spares nodes to ask. It is memory that the parent writes, so nodes
know of a binding when the router does. An entry that does not fit into it, or is read while it changes, is
missing there: the node then judges by the hash.
Rule 2: an entry has a digest of the id, so that a long id takes no more memory than a short one.
Rule 3: clients choose ids and how many: no operation but `keep_slots` takes longer if there are more.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import sys
from collections import OrderedDict
from collections.abc import Collection
from contextlib import suppress
from hashlib import blake2b
from ipaddress import IPv6Address
from tempfile import TemporaryFile
from typing import Final

__all__ = ["DIGEST_SIZE", "BindingTable", "SharedBindings", "digest_of"]

DIGEST_SIZE: Final = 14
"""Bytes; with two for the slot an entry of the copy has 16."""

_SHARE: Final = 16
"""One client address has at most the 16th part of the table."""
_LONGEST_CLIENT: Final = 64
_ENTRY: Final = 16
_BUCKET: Final = 32 * _ENTRY
"""Bytes; half of them are used when the table is full. One bucket in 10,000 is then too small."""
_NOTHING: Final = bytes(_ENTRY)
_SEAL_FUTURE_WRITE: Final = 0x10
"""Of Linux 5.1; Python has no name for it before 3.14."""


def digest_of(value: bytes) -> bytes:
    """Return what stands for the id *value* in the table."""
    return blake2b(value, digest_size=DIGEST_SIZE).digest()


class BindingTable:
    """The slots of the ids that applications have made, of which the least recently used are forgotten.

    Args:
        most: how many ids there may be.
        copy: where nodes read them.
    """

    def __init__(self, most: int, copy: SharedBindings) -> None:
        self.copy = copy
        self._most = most
        self._share = max(1, most // _SHARE)
        self._entries: OrderedDict[bytes, tuple[int, str]] = OrderedDict()
        """The slot and the client of each id, the least recently used first."""
        self._clients: dict[str, dict[bytes, None]] = {}
        """The ids of each client address, the least recently used first."""

    def __len__(self) -> int:
        return len(self._entries)

    def bind(self, digest: bytes, slot: int, client: str) -> None:
        """Have connections with that id go to *slot*, whoever had it before.

        Args:
            digest: of the id.
            slot: the slot of the node that has made it.
            client: the host of the client it was made for; empty if it is not known.
        """
        self._forget(digest)
        whose = _network(client)
        mine = self._clients.setdefault(whose, {}) if whose else {}
        if len(mine) >= self._share:
            self._forget(next(iter(mine)))
        if len(self._entries) >= self._most:
            self._forget(next(iter(self._entries)))
        if whose:
            self._clients.setdefault(whose, mine)[digest] = None
        self._entries[digest] = (slot, whose)
        self.copy.put(digest, slot)

    def slot_of(self, digest: bytes) -> int | None:
        """Return the slot that an id is bound to, which is a use of it; None if it is to none."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        self._entries.move_to_end(digest)
        slot, client = entry
        if client:
            mine = self._clients[client]
            mine[digest] = mine.pop(digest)
        return slot

    def keep_slots(self, slots: Collection[int]) -> None:
        """Forget the ids of all other slots, which were scaled away."""
        gone = [digest for digest, (slot, _) in self._entries.items() if slot not in slots]
        for digest in gone:
            self._forget(digest)

    def _forget(self, digest: bytes) -> None:
        entry = self._entries.pop(digest, None)
        if entry is None:
            return
        self.copy.remove(digest)
        client = entry[1]
        if client:
            mine = self._clients[client]
            del mine[digest]
            if not mine:
                del self._clients[client]


def _network(client: str) -> str:
    """Return the part of an address that one client cannot choose: of IPv6 that are the first 64 bits."""
    if ":" in client:
        with suppress(ValueError):
            return IPv6Address(client.partition("%")[0]).packed[:8].hex()
    return client[:_LONGEST_CLIENT]


class SharedBindings:
    """The copy of a table: buckets of entries, in which an id has a place in one bucket only.

    Args:
        fd: shared memory of another process, which this one reads and which belongs to this object from
            here; None makes it, for *most* entries.
        most: how many entries there may be.
    """

    def __init__(self, fd: int | None = None, most: int = 0) -> None:
        own = fd is None
        self.fd: int = _shared_memory(most) if fd is None else fd
        self._size = os.fstat(self.fd).st_size
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if own else 0)
        self._memory = mmap.mmap(self.fd, self._size, prot=protection)
        if (
            own and sys.platform == "linux"
        ):  # nobody else can write to it, or shrink it under a reader
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | _SEAL_FUTURE_WRITE
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, seals | fcntl.F_SEAL_SEAL)

    def slot_of(self, digest: bytes) -> int | None:
        """Return the slot that an id is bound to; None if it is to none."""
        at = self._find(digest)
        if at < 0:
            return None
        return int.from_bytes(self._memory[at + DIGEST_SIZE : at + _ENTRY], "big")

    def put(self, digest: bytes, slot: int) -> None:
        """Enter an id, which is not there yet, if there is room in its bucket."""
        bucket = self._bucket(digest)
        for at in range(bucket, bucket + _BUCKET, _ENTRY):
            if self._memory[at : at + _ENTRY] == _NOTHING:
                self._memory[at : at + _ENTRY] = digest + slot.to_bytes(2, "big")
                return

    def remove(self, digest: bytes) -> None:
        """Remove an id, if it is there."""
        at = self._find(digest)
        if at >= 0:
            self._memory[at : at + _ENTRY] = _NOTHING

    def close(self) -> None:
        """Give the memory back."""
        if self.fd >= 0:
            self._memory.close()
            os.close(self.fd)
            self.fd = -1

    def _find(self, digest: bytes) -> int:
        bucket = self._bucket(digest)
        return self._memory.find(digest, bucket, bucket + _BUCKET)

    def _bucket(self, digest: bytes) -> int:
        return int.from_bytes(digest[:4], "big") % (self._size // _BUCKET) * _BUCKET


def _shared_memory(most: int) -> int:
    """Return a descriptor of memory for *most* entries."""
    buckets = max(1, -(-2 * most * _ENTRY // _BUCKET))
    if sys.platform == "linux":
        fd = os.memfd_create("actors-bindings", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:
        with TemporaryFile(buffering=0) as file:
            fd = os.dup(file.fileno())
    try:
        os.ftruncate(fd, buckets * _BUCKET)
    except BaseException:
        os.close(fd)
        raise
    return fd
