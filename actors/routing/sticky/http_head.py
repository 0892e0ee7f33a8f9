"""Reads the head of an HTTP/1.x request, which may not have arrived completely.

Rule 1: sans-I/O: bytes in, values out, no state.
Rule 2: for a malformed head there is no value; the node then refuses the request.
"""

from __future__ import annotations

import re
from enum import Enum
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
_HEADER: Final = re.compile(rb"(" + _TOKEN + rb"+):[ \t]*([^\x00\r\n]*?)[ \t]*\r?")


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
    lines, ended = _lines(data.lstrip(b"\r\n"))
    if not ended and not complete:
        return NEED_MORE
    values = []
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            return []
        if header[1].lower() == name:
            values.append(header[2])
    return values


def _lines(data: bytes) -> tuple[list[bytes], bool]:
    """Return the complete header lines, and whether the empty line after them has arrived."""
    whole: list[bytes] = []
    for line in data.split(b"\n")[1:-1]:
        if line in (b"", b"\r"):
            return whole, True
        whole.append(line)
    return whole, False
