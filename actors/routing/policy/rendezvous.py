"""Highest-random-weight hashing of keys over stable slot names.

Rule 1: pure. The weight of a slot for a key depends on these two alone, so when a slot is added or
removed, only the keys of that slot move.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Final, TypeVar

__all__ = ["owner", "weight"]

S = TypeVar("S", int, str)

_LONGEST_NAME: Final = 64  # the longest key of blake2b


def weight(key: bytes, slot: int | str) -> bytes:
    """Return the weight of *slot* for *key* as 8 bytes to compare; the highest wins.

    Args:
        key: the sticky key.
        slot: the stable name of the slot, at most 64 bytes; a restarted node has the same.

    Raises:
        ValueError: the name of the slot is too long.
    """
    made = _begun(slot).copy()
    made.update(key)
    return made.digest()


@lru_cache(maxsize=4096)
def _begun(slot: int | str) -> blake2b:
    """Return a hash that has the name of *slot* in it already: half of the work for each key."""
    name = str(slot).encode()
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"a slot name has at most {_LONGEST_NAME} bytes, got {slot!r}")
    return blake2b(digest_size=8, key=name)


def owner(key: bytes, slots: Iterable[S]) -> S | None:
    """Return the slot that owns *key*: that of the highest weight; None if there are no slots."""
    return max(slots, key=lambda slot: (weight(key, slot), str(slot)), default=None)
