"""Reads the head of an HTTP/1.x request, which may not have arrived completely.

Rule 1: sans-I/O: bytes in, values out, no state.
Rule 2: for a malformed head there is no value; the node then refuses the request.
Rule 3: strangers choose the bytes, and the parent reads them, so the time is linear in their number. No
expression can match the same bytes in two ways, and lines are read by one expression, not in a loop.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import Final, Literal, TypeAlias

__all__ = ["HEAD_LIMIT", "NEED_MORE", "NeedMore", "header_values", "request_target"]

HEAD_LIMIT: Final = 16 * 1024
"""The most bytes of a head that are looked at."""


class _NeedMore(Enum):
    """More bytes are needed to decide."""

    NEED_MORE = "need more bytes"


NEED_MORE: Final = _NeedMore.NEED_MORE
NeedMore: TypeAlias = Literal[_NeedMore.NEED_MORE]

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_BEGIN: Final = re.compile(rb"(?:\r\n|\n)*\r?\Z|(?:\r\n|\n)*" + _TOKEN + rb"{1,32}(?: |\Z)")
_REQUEST: Final = re.compile(_TOKEN + rb"{1,32} ([^\x00-\x20\x7f]+) HTTP/1\.[01]\r?")
_HEADERS: Final = re.compile(rb"(?:" + _TOKEN + rb"++:[^\x00\r\n]*+\r?+\n)*+")
"""Complete header lines, up to the empty line, an incomplete line or a malformed one."""


def request_target(data: bytes, *, complete: bool) -> bytes | NeedMore | None:
    """Return the target of the request line.

    Args:
        data: the first bytes of the connection.
        complete: no more bytes will be looked at.

    Returns:
        The target as it was sent; None if this is not HTTP/1.x; NEED_MORE if that is not known yet.
    """
    if not _BEGIN.match(data):
        return None
    line, newline, _ = data.lstrip(b"\r\n").partition(b"\n")
    if not newline:
        return None if complete else NEED_MORE
    found = _REQUEST.fullmatch(line)
    return found[1] if found else None


def header_values(data: bytes, name: bytes, *, complete: bool) -> list[bytes] | NeedMore:
    """Return the values of the headers called *name*, in order.

    Args:
        data: the first bytes of the connection.
        name: the header's name in lower case.
        complete: no more bytes will be looked at, so the complete lines of an unfinished head count.

    Returns:
        The values, empty if the head is malformed or folded; NEED_MORE until the head is complete.
    """
    target = request_target(data, complete=complete)
    if target is NEED_MORE:
        return NEED_MORE
    if target is None:
        return []
    data = data.lstrip(b"\r\n")
    first = data.index(b"\n") + 1
    end = _HEADERS.match(data, first).end()  # type: ignore[union-attr] # it matches nothing, too
    if data.startswith((b"\n", b"\r\n"), end) or (complete and data.find(b"\n", end) < 0):
        found = _header(name).finditer(data, first, end)
        return [header[1].rstrip(b" \t") for header in found]
    return NEED_MORE if data.find(b"\n", end) < 0 else []


@lru_cache(maxsize=64)
def _header(name: bytes) -> re.Pattern[bytes]:
    """Return what matches a header called *name* among lines that `_HEADERS` has matched."""
    return re.compile(rb"(?im)^" + re.escape(name) + rb":[ \t]*+([^\r\n]*+)")
