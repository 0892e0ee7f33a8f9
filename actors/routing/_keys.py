"""Where a sticky key comes from: the client's address, a cookie, a query parameter, a chain.

Rule 1: pure. A key is asked with what has been peeked so far and answers with its bytes, with None
(it is not there), or with NEED_MORE.
Rule 2: only the value is the key, not its source: `query("room") | cookie("room")` sends one room
to one node whichever way the client names it. An empty value counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv6Address
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

from ._errors import BadListener
from ._head import NEED_MORE, NeedMore, header_values, request_target

__all__ = [
    "Address",
    "Chain",
    "Cookie",
    "Ip",
    "Key",
    "Peeked",
    "Query",
    "cookie",
    "ip",
    "key_from",
    "query",
]

Address: TypeAlias = "tuple[Any, ...] | str | bytes | None"
"""What `socket.accept` gives as the peer's address; a tuple begins with the host."""

_COOKIE_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Peeked(NamedTuple):
    """What is known of a connection before anybody has read from it."""

    head: bytes
    """The first bytes, at most 16 KiB."""
    client: Address
    complete: bool
    """No more bytes will be looked at."""


class Key:
    """One source of sticky keys; subclasses are frozen data. Chained by ``|``."""

    needs_head: bool = True
    """Whether bytes of the client are needed; without, nothing is peeked."""

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        """Return the key, None if it is not there, NEED_MORE while that is open."""
        raise NotImplementedError

    def __or__(self, other: Key) -> Chain:
        """Take the key from *other* when this source has none."""
        if not isinstance(other, Key):
            return NotImplemented
        return Chain((*_sources(self), *_sources(other)))


@dataclass(frozen=True)
class Ip(Key):
    """The host of the client's address; an IPv4 client of a dual listener keeps one key."""

    needs_head = False

    def __str__(self) -> str:
        return "ip"

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        """Return the host; None for clients of a Unix socket."""
        if not isinstance(peeked.client, tuple):
            return None
        host = str(peeked.client[0]).partition("%")[0]
        if host.startswith("::ffff:"):
            host = str(IPv6Address(host).ipv4_mapped or host)
        return host.encode() or None


@dataclass(frozen=True)
class Cookie(Key):
    """The first cookie of that name (names are case-sensitive), without quotes around it."""

    name: str

    def __post_init__(self) -> None:
        if not _COOKIE_NAME.fullmatch(self.name):
            raise BadListener(f"a cookie name must be a token (RFC 6265), got {self.name!r}")

    def __str__(self) -> str:
        return f"cookie:{self.name}"

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        """Return the value once the head has ended."""
        values = header_values(peeked.head, b"cookie", complete=peeked.complete)
        if values is NEED_MORE:
            return NEED_MORE
        wanted = self.name.encode()
        for pair in b";".join(values).split(b";"):
            name, _, value = pair.strip(b" \t").partition(b"=")
            if name.rstrip(b" \t") == wanted:
                return _unquoted(value.strip(b" \t")) or None
        return None


@dataclass(frozen=True)
class Query(Key):
    """The first query parameter of that name, percent-decoded, ``+`` being a space."""

    name: str

    def __post_init__(self) -> None:
        if not self.name:
            raise BadListener(f"a query parameter needs a name, got {self.name!r}")

    def __str__(self) -> str:
        return f"query:{self.name}"

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        """Return the value once the request line has arrived."""
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
class Chain(Key):
    """The first source that has a key."""

    sources: tuple[Key, ...]

    def __str__(self) -> str:
        return "|".join(map(str, self.sources))

    @property
    def needs_head(self) -> bool:  # type: ignore[override]
        """Whether any source before the first certain one needs bytes of the client."""
        return any(source.needs_head for source in self.sources)

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        """Ask the sources in order; one that needs more holds up those after it."""
        for source in self.sources:
            found = source.extract(peeked)
            if found is NEED_MORE and not peeked.complete:
                return NEED_MORE
            if isinstance(found, bytes):
                return found
        return None


def ip() -> Ip:
    """Make keys of client addresses; needs no look at the client's bytes."""
    return Ip()


def cookie(name: str) -> Cookie:
    """Make keys of the cookie *name* of the first request of a connection."""
    return Cookie(name)


def query(name: str) -> Query:
    """Make keys of the query parameter *name* of the first request of a connection."""
    return Query(name)


_KINDS: Final[dict[str, Callable[[str], Key]]] = {"cookie": cookie, "query": query}


def key_from(text: str) -> Key:
    """Read a key as the command line writes it: ``ip``, ``cookie:sid``, ``query:room|ip``.

    Raises:
        BadListener: an unknown kind, a missing or a superfluous name.
    """
    sources = [_source(part.strip()) for part in text.split("|")]
    return sources[0] if len(sources) == 1 else Chain(tuple(sources))


def _source(text: str) -> Key:
    kind, colon, name = text.partition(":")
    if kind == "ip":
        if colon:
            raise BadListener(f"the sticky key ip takes no name, got {text!r}")
        return Ip()
    make = _KINDS.get(kind)
    if make is None:
        close = get_close_matches(kind, ["ip", *_KINDS], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise BadListener(f"a sticky key is ip, cookie:NAME or query:NAME, got {text!r}{hint}")
    if not name:
        raise BadListener(f"the sticky key {kind} needs a name, as in {kind}:room, got {text!r}")
    return make(name)


def _sources(key: Key) -> tuple[Key, ...]:
    return key.sources if isinstance(key, Chain) else (key,)


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _unquoted(value: bytes) -> bytes:
    quoted = len(value) > 1 and value[:1] == value[-1:] == b'"'
    return value[1:-1] if quoted else value
