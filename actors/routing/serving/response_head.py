"""The head of an HTTP/1.1 response as bytes, checked so that no header can add another one.

Rule 1: header names and values are what RFC 9110 allows; anything else is one RuntimeError that names it,
raised before the first byte is written.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

__all__ = [
    "DateHeader",
    "checked_header",
    "error_response",
    "header_line",
    "informational",
    "status_line",
]

_BAD_NAME: Final = re.compile(rb'[\x00-\x1f\x7f()<>@,;:\[\]={} \t\\"]|^$')
_BAD_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_KNOWN_NAMES: Final = 1024
"""Names that are remembered; applications use few, and one that makes them up costs no memory."""

_REPEATED: Final = frozenset(
    {b"cache-control", b"content-length", b"content-type", b"server", b"vary", b"x-powered-by"}
)
"""Headers whose lines are remembered: applications send few different ones, and none is a secret."""
_LONGEST: Final = 64
"""Bytes of a value that is remembered."""
_FRAMING: Final = frozenset({b"connection", b"content-length", b"transfer-encoding"})
_TYPE: Final = b"content-type"
_EVENT_STREAM: Final = b"text/event-stream"

_names: dict[bytes, bytes] = {}
_lines: dict[tuple[bytes, bytes], tuple[bytes, bytes]] = {}


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


_STATUS_LINES: Final = {status: _status_line(status) for status in range(200, 600)}


def status_line(status: object) -> bytes:
    """Return the first line of a response.

    Raises:
        RuntimeError: *status* is no final status of HTTP.
    """
    try:
        return _STATUS_LINES[status]  # type: ignore[index] # what is no key is refused below
    except (KeyError, TypeError):
        raise RuntimeError(f"the status of a response is 200 to 599, got {status!r}") from None


def checked_header(name: bytes, value: bytes) -> bytes:
    """Return a header's name in lower case; refuse what a client could not read as that header.

    Raises:
        RuntimeError: the name or the value has bytes that no header has.
    """
    lower = _names.get(name) if type(name) is bytes else None
    if lower is None:
        lower = _checked_name(name)
    if _BAD_VALUE.search(value):
        raise RuntimeError(f"Invalid HTTP header value {value!r} of {name!r}.")
    return lower


def header_line(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return a header as a line of a head, and its name if it frames the response or says "event stream".

    Raises:
        RuntimeError: the name or the value has bytes that no header has.
    """
    try:
        known = _lines.get((name, value))
    except TypeError:  # a bytearray is no key
        known = None
    if known is not None:
        return known
    lower = checked_header(name, value)
    noted = lower in _FRAMING or (lower == _TYPE and value[:17].lower() == _EVENT_STREAM)
    made = b"%b: %b\r\n" % (lower, value), lower if noted else b""
    if lower in _REPEATED and len(value) <= _LONGEST:
        if len(_lines) >= _KNOWN_NAMES:
            _lines.clear()
        _lines[bytes(name), bytes(value)] = made
    return made


def _checked_name(name: bytes) -> bytes:
    if _BAD_NAME.search(name):
        raise RuntimeError(f"Invalid HTTP header name {name!r}.")
    lower = bytes(name).lower()
    if len(_names) < _KNOWN_NAMES:
        _names[bytes(name)] = lower
    return lower


def error_response(status: str, body: str = "") -> bytes:
    """Return a whole response that ends its connection, such as "408 Request Timeout"."""
    kind = "content-type: text/plain; charset=utf-8\r\n" * bool(body)
    head = f"HTTP/1.1 {status}\r\n{kind}content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return (head + body).encode()


def informational(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a whole response of the kind that comes before the final one, such as 103 Early Hints."""
    lines = [_status_line(status)]
    for name, value in headers:
        lines += [checked_header(name, value), b": ", value, b"\r\n"]
    return b"".join([*lines, b"\r\n"])


class DateHeader:
    """The headers of every response: the Date, made at most once a second, and those of the listener.

    Args:
        date: whether there is a Date.
        more: the others.
    """

    __slots__ = ("_date", "_line", "_more", "_second")

    def __init__(self, more: Iterable[tuple[str, str]] = (), *, date: bool = True) -> None:
        self._more = "".join(f"{name.lower()}: {value}\r\n" for name, value in more).encode(
            "latin-1"
        )
        self._date = date
        self._second = -1.0
        self._line = b""

    @property
    def line(self) -> bytes:
        """The headers as lines of a head."""
        if not self._date:
            return self._more
        if not 0.0 <= time.time() - self._second < 1.0:
            second = int(time.time())
            self._second = float(second)
            self._line = b"date: %b\r\n%b" % (formatdate(second, usegmt=True).encode(), self._more)
        return self._line
