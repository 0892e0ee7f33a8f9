"""Sticky keys in the head of an HTTP request: cookie, query parameter, header, path.

Rule 1: pure. The first request of a connection decides where the connection goes.
Rule 2: values are compared decoded: percent-encoding and quotes are removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from actors.routing.errors import BadListener
from actors.routing.sticky.http_head import NEED_MORE, NeedMore, header_values, request_target
from actors.routing.sticky.keys import Key, Peeked

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
]

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ORIGIN: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*://[^/?#]*")


@dataclass(frozen=True)
class Cookie(Key):
    """The first cookie of that name (names are case-sensitive), without quotes around its value."""

    name: str
    set: bool = False
    """Whether the response to a client that has no such cookie sets one."""

    layer = "http"

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

    layer = "http"

    def __post_init__(self) -> None:
        if not self.name:
            raise BadListener(f"a query parameter needs a name, got {self.name!r}")

    def __str__(self) -> str:
        return f"query:{self.name}"

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        target = request_target(peeked.head, complete=peeked.complete)
        if target is None or target is NEED_MORE:
            return target
        wanted = self.name.encode()
        for pair in target.partition(b"#")[0].partition(b"?")[2].split(b"&"):
            name, _, value = pair.partition(b"=")
            if _decoded(name) == wanted:
                return _decoded(value) or None
        return None


@dataclass(frozen=True)
class Header(Key):
    """The value of the first header of that name, whatever the case of the name."""

    name: str

    layer = "http"

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

    layer = "http"

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
        whole = re.split(rb"[?#]", _ORIGIN.sub(b"", target, count=1), maxsplit=1)[0]
        if not whole.startswith(b"/"):
            return None
        # Empty segments do not count: `//rooms/` is the same resource as `/rooms`.
        found = [unquote_to_bytes(segment) for segment in whole.split(b"/") if segment]
        return b"/".join(found[: self.segments]) if len(found) >= self.segments else None


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


def query(name: str) -> Query:
    """Make keys of the query parameter *name* of the first request of a connection.

    Raises:
        BadListener: the name is empty.
    """
    return Query(name)


def header(name: str) -> Header:
    """Make keys of the header *name* of the first request of a connection; case does not matter.

    Raises:
        BadListener: *name* is not a valid header name.
    """
    return Header(name)


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
    wanted = name.encode()
    for pair in b";".join(values).split(b";"):
        found, _, value = pair.strip(b" \t").partition(b"=")
        if found.rstrip(b" \t") == wanted:
            return _unquoted(value.strip(b" \t")) or None
    return None


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _unquoted(value: bytes) -> bytes:
    quoted = len(value) > 1 and value[:1] == value[-1:] == b'"'
    return value[1:-1] if quoted else value
