"""Sticky keys in the head of an HTTP request: cookie, query parameter, header, path.

Rule 1: pure. The first request of a connection decides where the connection goes.
Rule 2: values are compared decoded: percent-encoding and quotes are removed.
Rule 3: linear in the bytes, as `http_head` says: a pair is found by one expression, not by decoding all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Final

from actors._known_options import known_options
from actors.routing.errors import BadListener
from actors.routing.sticky.http_head import NEED_MORE, NeedMore, header_values, request_target
from actors.routing.sticky.keys import Key, Layer, Peeked

__all__ = [
    "Cookie",
    "Header",
    "Path",
    "Query",
    "cookie",
    "cookie_value",
    "header",
    "path",
    "query",
    "set_cookie_value",
]

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ORIGIN: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*+://[^/?#]*+")
_SEGMENT: Final = re.compile(rb"[^/]++")
"""Empty segments do not count: `//rooms/` is the same resource as `/rooms`."""
_ENCODED: Final = re.compile(rb"(%[0-9A-Fa-f]{2})")
_HEX: Final = "0123456789abcdefABCDEF"
_BYTES: Final = {f"%{a}{b}".encode(): bytes.fromhex(a + b) for a in _HEX for b in _HEX}


@dataclass(frozen=True)
class Cookie(Key):
    """The first cookie of that name (names are case-sensitive), without quotes around its value."""

    name: str
    set: bool = False
    """Whether the response to a client that has no such cookie sets one."""

    layer: Layer = "http"

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.name):
            raise BadListener(f"a cookie name must be a token (RFC 6265), got {self.name!r}")

    def __str__(self) -> str:
        return f"cookie:{self.name}" + (":set" if self.set else "")

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        values = header_values(peeked.head, b"cookie", complete=peeked.complete)
        return NEED_MORE if values is NEED_MORE else cookie_value(values, self.name)


@dataclass(frozen=True)
class Query(Key):
    """The first query parameter of that name, percent-decoded, ``+`` being a space."""

    name: str

    layer: Layer = "http"

    def __post_init__(self) -> None:
        if not self.name:
            raise BadListener(f"a query parameter needs a name, got {self.name!r}")

    def __str__(self) -> str:
        return f"query:{self.name}"

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        target = request_target(peeked.head, complete=peeked.complete)
        if target is None or target is NEED_MORE:
            return target
        pairs = target.partition(b"#")[0].partition(b"?")[2]
        found = _parameter(self.name.encode()).search(pairs)
        return _decoded((found[1] or b"").replace(b"+", b" ")) or None if found else None


@dataclass(frozen=True)
class Header(Key):
    """The value of the first header of that name, whatever the case of the name."""

    name: str

    layer: Layer = "http"

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.name):
            raise BadListener(f"a header name must be a token (RFC 9110), got {self.name!r}")

    def __str__(self) -> str:
        return f"header:{self.name}"

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        values = header_values(
            peeked.head, self.name.lower().encode("ascii"), complete=peeked.complete
        )
        if values is NEED_MORE:
            return NEED_MORE
        first = next(iter(values), b"")
        return first or None


@dataclass(frozen=True)
class Path(Key):
    """The first `segments` segments of the request's path, percent-decoded and joined by slashes."""

    segments: int = 1

    layer: Layer = "http"

    def __post_init__(self) -> None:
        count: object = self.segments
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise BadListener(f"path() takes a number of segments from 1 up, got {count!r}")

    def __str__(self) -> str:
        return f"path:{self.segments}"

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        target = request_target(peeked.head, complete=peeked.complete)
        if target is None or target is NEED_MORE:
            return target
        origin = _ORIGIN.match(target)
        whole = re.split(rb"[?#]", target[origin.end() :] if origin else target, maxsplit=1)[0]
        if not whole.startswith(b"/"):
            return None
        found = [segment[0] for segment in islice(_SEGMENT.finditer(whole), self.segments)]
        return _decoded(b"/".join(found)) if len(found) == self.segments else None


@known_options(BadListener)
def cookie(name: str, *, set: bool = False) -> Cookie:  # noqa: A002 - as the command line has it
    """Make keys of the cookie *name* of the first request of a connection.

    Args:
        name: the cookie's name; case matters.
        set: under `asgi()`, set the cookie in the response to a client that has none (also in
            the response that accepts a WebSocket), so that its next connection comes to the same
            node. The cookie is HttpOnly, SameSite=Lax, Path=/, Secure if the scheme is https (a
            proxy may say so), and lasts for the browser's session. Its value is random. A cookie
            of this name that the application sets itself takes precedence.

    Raises:
        BadListener: *name* is not a valid cookie name.
    """
    return Cookie(name, set)


@known_options(BadListener)
def query(name: str) -> Query:
    """Make keys of the query parameter *name* of the first request of a connection.

    Raises:
        BadListener: the name is empty.
    """
    return Query(name)


@known_options(BadListener)
def header(name: str) -> Header:
    """Make keys of the header *name* of the first request of a connection; case does not matter.

    Raises:
        BadListener: *name* is not a valid header name.
    """
    return Header(name)


@known_options(BadListener)
def path(segments: int = 1) -> Path:
    """Make keys of the beginning of the path of the first request of a connection.

    Args:
        segments: how many segments count: of ``/rooms/lobby/log``, ``path(1)`` takes ``rooms`` and
            ``path(2)`` takes ``rooms/lobby``. A path with fewer has no key.

    Raises:
        BadListener: *segments* is not a whole number from 1 up.
    """
    return Path(segments)


def cookie_value(values: Iterable[bytes], name: str) -> bytes | None:
    """Return the first cookie called *name* in the values of `Cookie` headers; None if there is none."""
    found = _cookie_pair(name.encode()).search(b";".join(values))
    return _unquoted((found[1] or b"").strip(b" \t")) or None if found else None


def set_cookie_value(values: Iterable[bytes], name: str) -> bytes | None:
    """Return what the last of the values of `Set-Cookie` headers gives the cookie *name*; None if none does."""
    wanted = name.encode()
    found = None
    for value in values:
        key, _, rest = value.partition(b"=")
        if key.strip(b" \t") == wanted:
            found = _unquoted(rest.partition(b";")[0].strip(b" \t")) or found
    return found


@lru_cache(maxsize=64)
def _cookie_pair(name: bytes) -> re.Pattern[bytes]:
    """Return what matches the first cookie called *name*, with or without a value."""
    return re.compile(
        rb"(?:^|;)[ \t]*+" + re.escape(name) + rb"[ \t]*+(?:=([^;]*+))?+(?=;|\Z)", re.DOTALL
    )


@lru_cache(maxsize=64)
def _parameter(name: bytes) -> re.Pattern[bytes]:
    """Return what matches the first query parameter called *name*, however its name is encoded."""
    encoded = b"".join(map(_encodings, name))
    return re.compile(rb"(?:^|&)" + encoded + rb"(?:=([^&]*+))?+(?=&|\Z)")


def _encodings(byte: int) -> bytes:
    """Return what matches *byte* in a query string: itself or percent-encoded."""
    percent = rb"%%(?i:%02x)" % byte
    sign = bytes([byte])
    if sign in b"=&+":  # these mean something else when they are not encoded
        return percent
    if sign == b"%":
        return rb"(?:%s|%%(?![0-9A-Fa-f]{2}))" % percent
    return rb"(?:%s|%s)" % (percent, rb"[ +]" if sign == b" " else re.escape(sign))


def _decoded(text: bytes) -> bytes:
    """Return *text* percent-decoded; `urllib` is slow for a text of percent signs."""
    parts = _ENCODED.split(text)
    parts[1::2] = map(_BYTES.__getitem__, parts[1::2])
    return b"".join(parts)


def _unquoted(value: bytes) -> bytes:
    quoted = len(value) > 1 and value[:1] == value[-1:] == b'"'
    return value[1:-1] if quoted else value
