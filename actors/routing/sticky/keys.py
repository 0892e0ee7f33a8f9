"""Sticky keys: the base class, the keys outside HTTP, and chains of keys.

Rule 1: pure. A key is given what has been peeked so far and returns its bytes, None (the connection
has no such key), or NEED_MORE.
Rule 2: only the value is the key, not its source: `query("room") | cookie("room")` sends one room
to one node whether the client names it in the query or in the cookie. An empty value counts as absent.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from actors._known_options import known_options
from actors.routing.errors import BadListener
from actors.routing.sticky.client_address import plain_host
from actors.routing.sticky.client_hello import server_name
from actors.routing.sticky.http_head import NEED_MORE, NeedMore
from actors.routing.sticky.proxy_protocol import ProxyHeader, proxy_header

__all__ = [
    "Address",
    "Chain",
    "Function",
    "Ip",
    "Key",
    "KeyFunction",
    "Layer",
    "Peeked",
    "Proxy",
    "Sni",
    "ip",
    "key",
    "proxy",
    "sni",
    "sources_of",
]

Address: TypeAlias = "tuple[Any, ...] | str | bytes | None"
"""The peer's address as `socket.accept` returns it; a tuple begins with the host."""

KeyFunction: TypeAlias = Callable[[bytes, Address], "bytes | NeedMore | None"]
"""A user's own key: called with the first bytes and the client's address."""

Layer: TypeAlias = Literal["", "http", "tls"]
"""What the client has to speak, unencrypted, for a key to find anything; "" for anything."""


class Peeked(NamedTuple):
    """What is known of a connection before anything has been read from it."""

    head: bytes
    """The first bytes, at most 16 KiB; without the PROXY header, if the listener expects one."""
    client: Address
    """The client's address; the one in the PROXY header, if the listener expects one."""
    complete: bool
    """No more bytes will be looked at."""
    proxied: Address = None
    """The client that the PROXY header named, if it was already removed from `head`."""


class Key:
    """One source of sticky keys; subclasses are frozen data. Chained by ``|``."""

    needs_head: bool = True
    """Whether the key needs bytes of the client; if not, nothing is peeked."""

    layer: Layer = ""
    """What the client has to speak. Under "http" each request of a connection has its own key."""

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        """Return the key, None if there is none, or NEED_MORE if more bytes are needed to know."""
        raise NotImplementedError

    def __or__(self, other: Key) -> Chain:
        """Take the key from *other* when this source has none."""
        if not isinstance(other, Key):
            return NotImplemented
        return Chain((*sources_of(self), *sources_of(other)))


@dataclass(frozen=True)
class Ip(Key):
    """The host of the client's address; an IPv4 client has the same key on a dual-stack listener."""

    needs_head = False

    def __str__(self) -> str:
        return "ip"

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        return _host(peeked.client)


@dataclass(frozen=True)
class Proxy(Key):
    """The host of the client that a PROXY header names."""

    def __str__(self) -> str:
        return "proxy"

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        if peeked.proxied is not None:
            return _host(peeked.proxied)
        header = proxy_header(peeked.head)
        return _host(header.client) if isinstance(header, ProxyHeader) else header


@dataclass(frozen=True)
class Sni(Key):
    """The server name that a TLS client asks for (SNI), in lower case; nothing is decrypted."""

    layer: Layer = "tls"

    def __str__(self) -> str:
        return "sni"

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        return server_name(peeked.head)


@dataclass(frozen=True)
class Function(Key):
    """What a user's function returns for the first bytes and the client's address."""

    fn: KeyFunction

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise BadListener(f"key() takes a function fn(data, peer), got {self.fn!r}")
        if inspect.iscoroutinefunction(self.fn):
            raise BadListener(f"key() takes a function that is not async, got {self.fn!r}")
        try:
            inspect.signature(self.fn).bind(b"", None)
        except TypeError as error:
            raise BadListener(
                f"key() calls fn(data, peer), and {self} cannot be: {error}"
            ) from error
        except ValueError:
            pass  # a function in C that does not say what it takes

    def __str__(self) -> str:
        return f"key:{getattr(self.fn, '__qualname__', type(self.fn).__qualname__)}"

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        """Return what the function returns.

        Raises:
            TypeError: it returned something else than bytes, None or NEED_MORE.
        """
        found = self.fn(peeked.head, peeked.client)
        if found is None or found is NEED_MORE or isinstance(found, bytes):
            return found or None
        raise TypeError(f"{self} must return bytes, None or NEED_MORE, got {found!r}")


@dataclass(frozen=True)
class Chain(Key):
    """The first source that has a key."""

    sources: tuple[Key, ...]

    def __str__(self) -> str:
        return "|".join(map(str, self.sources))

    @property
    def needs_head(self) -> bool:  # type: ignore[override]
        """Whether any source needs bytes of the client."""
        return any(source.needs_head for source in self.sources)

    def extract(self, peeked: Peeked) -> bytes | NeedMore | None:
        """Ask the sources in order; if one needs more bytes, the later ones are not asked yet."""
        for source in self.sources:
            found = source.extract(peeked)
            if found is NEED_MORE and not peeked.complete:
                return NEED_MORE
            if isinstance(found, bytes):
                return found
        return None


@known_options(BadListener)
def ip() -> Ip:
    """Make keys of client addresses; nothing is peeked.

    Behind a proxy this is the proxy's address, unless the listener says ``proxy_protocol=True``.
    """
    return Ip()


@known_options(BadListener)
def proxy() -> Proxy:
    """Make keys of the client address in the PROXY header (version 1 or 2) that a proxy sends first.

    A connection without such a header, or whose header names no client, has no key. Any client can
    write such a header, so only the proxy may be able to reach the listener.
    """
    return Proxy()


@known_options(BadListener)
def sni() -> Sni:
    """Make keys of the host name a TLS client asks for, read from its first bytes."""
    return Sni()


@known_options(BadListener)
def key(fn: KeyFunction) -> Function:
    """Make keys with a function of your own. It runs in the parent, for every connection.

    Args:
        fn: called as ``fn(data, peer)`` with the first bytes that have arrived, at most 16 KiB, and
            the client's address as `socket.accept` gives it. Returns the key; None if there is
            none; `NEED_MORE` to be called again with more, for at most 2 seconds. It must be
            quick: it blocks the router. If it raises, that is reported once, and the connection
            is routed without a key.

    Raises:
        BadListener: *fn* cannot be called.
    """
    return Function(fn)


def sources_of(source: Key) -> tuple[Key, ...]:
    """Return the single sources of a key, in order."""
    if not isinstance(source, Chain):
        return (source,)
    return tuple(single for part in source.sources for single in sources_of(part))


def _host(client: Address) -> bytes | None:
    if not isinstance(client, tuple):
        return None
    return plain_host(str(client[0])).partition("%")[0].encode() or None
