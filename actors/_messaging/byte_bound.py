"""The bound of a mailbox in bytes: which messages count, and for how much.

Rule: only big arguments of a message itself count, so that a small message pays nothing.
"""

from __future__ import annotations

from sys import getsizeof
from typing import Any, Final

from actors.transport import Buffer, Move, payload_size

__all__ = [
    "COUNTED_FROM",
    "FIXED",
    "SIZED",
    "TEXT_COUNTED_FROM",
    "counted_bytes",
    "never_big",
]

COUNTED_FROM: Final = 64 * 1024
"""Bytes of an argument above which it counts; 1024 messages below it are within the default bound together."""

TEXT_COUNTED_FROM: Final = COUNTED_FROM // 4
"""Length from which a text may have so many bytes: it takes up to four for a character."""

FIXED: Final = frozenset({type(None), bool, int, float})
"""The leaves that are never big."""

_small: Final[set[type]] = {*FIXED, list, tuple, dict, set, frozenset}
"""Types that are never big; a class that was met joins them."""
_MOST_CLASSES: Final = 4096
"""In `_small`, which keeps them."""
SIZED: Final = frozenset({bytes, str, bytearray, memoryview, Buffer, Move})
"""What may be big, beside arrays of numpy."""

never_big: Final = _small.issuperset
"""Whether none of some types is ever big, as far as they were met, at the speed of C."""


def counted_bytes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """Return the bytes of the text, buffers and arrays among the arguments, each only if it is big.

    What an argument holds inside does not count, and neither does memory that sender and receiver share.
    """
    total = 0
    for value in (*args, *kwargs.values()) if kwargs else args:
        kind = type(value)
        if kind in _small or _is_small(kind):
            continue
        if kind is bytes:
            size = len(value)
        elif kind is str:
            size = getsizeof(value) if len(value) > TEXT_COUNTED_FROM else 0
        else:
            size = payload_size(value.value if kind is Move else value)
        if size > COUNTED_FROM:
            total += size
    return total


def _is_small(kind: type) -> bool:
    if kind in SIZED or kind.__module__ == "numpy":
        return False
    if len(_small) < _MOST_CLASSES:
        _small.add(kind)
    return True
