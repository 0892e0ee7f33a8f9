"""Packers and unpackers of msgpack with every limit set; no other file imports msgpack.

The C extension is required: without it msgpack silently uses pure Python, which is 20 times slower. Only a
sub-interpreter, which cannot load it, does with that.
`msgpack >= 1.2.3` (CVE-2026-114613).
"""

from collections.abc import Callable
from functools import lru_cache, partial
from importlib import import_module
from typing import Any, Final

import msgpack

__all__ = ["EXT_TYPE", "UNPACK_ERRORS", "ext", "new_packer", "new_unpacker", "unpack_one"]


def _in_subinterpreter() -> bool:
    """Whether this is no process's main interpreter, the only one that loads the C extension."""
    try:
        interpreters: Any = import_module("concurrent.interpreters")
    except ImportError:
        return False  # there are none before Python 3.14
    return bool(interpreters.get_current() != interpreters.get_main())


if msgpack.Packer.__module__ == "msgpack.fallback" and not _in_subinterpreter():
    raise ImportError(
        "msgpack runs without its C extension here; reinstall msgpack as a binary wheel"
    )

UNPACK_ERRORS: Final = (ValueError, TypeError, RecursionError, MemoryError, msgpack.UnpackException)
"""What unpacking hostile bytes may raise; the unpacker that raised must be thrown away."""

_READ: Final = 4096
_BUFFER: Final = 4096
"""Bytes that a packer begins with; it keeps the most that it ever needed.

msgpack's own 256 KiB, twice for each link, left holes in the heap: 17 MiB of it after 600 nodes had ended.
"""
_MOST_ITEMS: Final = 128 * 1024 * 1024
"""Of one container: msgpack makes room for as many as the container claims."""

EXT_TYPE: Final[type] = msgpack.ExtType
"""What `ext` makes: a tuple of tag and data."""

ext: Final[Callable[[tuple[int, bytes]], Any]] = partial(tuple.__new__, msgpack.ExtType)
"""An extension value from `(tag, data)`, five times as fast as the constructor, which checks."""


def new_packer(default: Callable[[Any], Any], *, lenient: bool = False) -> Callable[[Any], bytes]:
    """The `pack` of a reused packer, which keeps nothing when it fails.

    Args:
        default: called for what msgpack does not know, integers beyond 64 bits included.
        lenient: also take strings with lone surrogates; slower for every string.
    """
    errors = "surrogatepass" if lenient else None
    pack: Callable[[Any], bytes] = msgpack.Packer(
        default=default, unicode_errors=errors, buf_size=_BUFFER
    ).pack
    return pack


def new_unpacker(limit: int, ext_hook: Callable[[int, bytes], Any]) -> Any:
    """An unpacker that holds at most `limit` bytes and no value longer than that."""
    options = _limits(limit)
    return msgpack.Unpacker(
        read_size=min(_READ, limit), max_buffer_size=limit, ext_hook=ext_hook, **options
    )


def unpack_one(data: bytes | memoryview, limit: int, ext_hook: Callable[[int, bytes], Any]) -> Any:
    """The one value of `data`, without the copy an unpacker makes; takes 40 KiB of the C stack.

    Raises:
        one of `UNPACK_ERRORS`: not one whole value.
    """
    return msgpack.unpackb(data, ext_hook=ext_hook, **_limits(min(limit, len(data))))


@lru_cache(maxsize=64)
def _limits(limit: int) -> dict[str, Any]:
    items = min(limit, _MOST_ITEMS)
    return {
        "max_str_len": limit,
        "max_bin_len": limit,
        "max_ext_len": limit,
        "max_array_len": items,
        "max_map_len": items // 2,
        "strict_map_key": False,
        "timestamp": 1,  # no encoder sends one; decoded to a number, not to msgpack's own class
        "unicode_errors": "surrogatepass",
    }
