"""Numbers, text and flat lists of these as bytes, for memory that two processes share.

Whatever is in that memory, reading it does nothing but return a value or refuse.
"""

from collections.abc import Callable
from typing import Any, Final

from actors.transport.types.tags import PLAIN
from actors.transport.wire.msgpack import UNPACK_ERRORS, new_packer, unpack_one

__all__ = ["NOT_PLAIN", "plain_packer", "unpack_plain"]

NOT_PLAIN: Final = object()
"""What `unpack_plain` returns for bytes that are no value."""

_plain: Final = PLAIN.issuperset


def _is_plain(value: Any) -> bool:
    return type(value) in PLAIN or (type(value) is list and _plain(map(type, value)))


def plain_packer() -> Callable[[Any], bytes | None]:
    """What returns the bytes of a value, None for one that is neither plain nor a flat list; for one thread."""

    def refuse(value: Any) -> Any:
        raise TypeError(f"{type(value).__qualname__} is not plain")

    packer = new_packer(refuse)

    def pack(value: Any) -> bytes | None:
        if not _is_plain(value):
            return None
        try:
            return packer(value)
        except (TypeError, ValueError):
            return None  # an integer of more than 64 bits, a lone surrogate

    return pack


def unpack_plain(data: bytes | memoryview) -> Any:
    """The value of these bytes, or `NOT_PLAIN`."""
    try:
        value = unpack_one(data, len(data), lambda _tag, _data: NOT_PLAIN)
    except UNPACK_ERRORS:
        return NOT_PLAIN
    return value if _is_plain(value) else NOT_PLAIN
