"""What the head of a request says, checked further than the parser does.

Rule 1: pure. A head in which two servers could see two different requests raises, and is answered 400.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import httptools

__all__ = ["NOTED", "ONCE", "body_length", "check_host", "path_and_query", "wanted_protocol"]

ONCE: Final = frozenset({b"host", b"transfer-encoding"})
"""Headers that a request has once."""
NOTED: Final = ONCE | {
    b"connection",
    b"content-length",
    b"expect",
    b"upgrade",
    b"x-forwarded-for",
    b"x-forwarded-proto",
}
"""Headers that the server itself looks at, by the names in lower case."""

_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
_VERSIONS: Final = frozenset({"1.0", "1.1"})


def check_host(host: bytes | None, version: str) -> None:
    """Check the header Host.

    Raises:
        ValueError: there has to be one, or it is none.
    """
    if host is None:
        if version == "1.1":
            raise ValueError("a request has a Host")
    elif not _HOST.fullmatch(host):
        raise ValueError("a Host is a name or an address, and a port")


def body_length(noted: Mapping[bytes, bytes], version: str) -> int | None:
    """Return the length of a request's body; None if it comes in chunks.

    Raises:
        ValueError: that cannot be told for certain.
    """
    coding = noted.get(b"transfer-encoding")
    if version not in _VERSIONS or (coding is not None and version == "1.0"):
        raise ValueError("the version is HTTP/1.0 or HTTP/1.1, and only HTTP/1.1 has chunks")
    if coding is None:
        return int(noted[b"content-length"]) if b"content-length" in noted else 0
    if coding.lower() != b"chunked":
        raise ValueError("chunked is the one coding that a body may have")
    return None


def wanted_protocol(noted: Mapping[bytes, bytes]) -> bytes:
    """Return the protocol that a request asks for instead of HTTP/1.1.

    Raises:
        ValueError: it is a CONNECT.
    """
    wanted = noted.get(b"upgrade")
    if wanted is None:
        raise ValueError("CONNECT is for proxies, and this is none")
    return wanted.lower()


def path_and_query(target: bytes) -> tuple[bytes, bytes]:
    """Split the target of a request; raise if it is none.

    Raises:
        httptools.HttpParserInvalidURLError: it is no URL.
    """
    if target[:1] == b"/" and b"#" not in target:
        path, _, query = target.partition(b"?")
        return path, query
    url = httptools.parse_url(target)
    return url.path or b"/", url.query or b""
