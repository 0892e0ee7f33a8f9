"""Reads the PROXY protocol header, versions 1 and 2, in which a proxy names its client.

Rule 1: sans-I/O: bytes in, values out.
Rule 2: for a malformed header there is no value.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actors.routing.sticky.http_head import HEAD_LIMIT, NEED_MORE, NeedMore

if TYPE_CHECKING:
    import socket

__all__ = ["ProxyHeader", "proxy_header", "proxy_header_of"]

_FIRST_V1: Final = b"PROXY "
_LONGEST_V1: Final = 107
_LINE_V1: Final = re.compile(rb"PROXY (TCP4|TCP6) (\S+) (\S+) (\d{1,5}) (\d{1,5})")

_FIRST_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED_V2: Final = 16
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_INET: Final = 1
_INET6: Final = 2
_STREAM: Final = 1
_SIZES: Final = {_INET: 12, _INET6: 36}
_LAST_PORT: Final = 65535


class ProxyHeader(NamedTuple):
    """One complete header."""

    length: int
    """Its length in bytes; the bytes after it are the client's."""
    client: tuple[Any, ...] | None
    """The client's address as `socket.accept` gives it; None if the header names no client."""


def proxy_header(data: bytes | bytearray) -> ProxyHeader | NeedMore | None:
    """Read the header at the beginning of *data*.

    Args:
        data: the first bytes of the connection.

    Returns:
        The header; None if there is none, or one that is malformed or longer than 16 KiB;
        NEED_MORE until that is known.
    """
    if data.startswith(_FIRST_V2):
        return _version_2(data)
    if data.startswith(_FIRST_V1):
        return _version_1(data)
    begin = bytes(data[:_FIXED_V2])
    return NEED_MORE if _FIRST_V1.startswith(begin) or _FIRST_V2.startswith(begin) else None


def proxy_header_of(sock: socket.socket) -> bytes:
    """Return a header of version 2 that names the client of a connection, and the address where it came."""
    try:
        client, here = sock.getpeername(), sock.getsockname()
    except OSError:  # the client has gone
        return _FIRST_V2 + bytes([_LOCAL, 0, 0, 0])
    packed = [ip_address(end[0].partition("%")[0]) for end in (client, here)]
    family = _INET if packed[0].version == 4 else _INET6  # noqa: PLR2004 - of the Internet Protocol
    body = b"".join(host.packed for host in packed)
    body += b"".join(int(end[1]).to_bytes(2, "big") for end in (client, here))
    return _FIRST_V2 + bytes([_PROXY, family << 4 | _STREAM]) + len(body).to_bytes(2, "big") + body


def _version_1(data: bytes | bytearray) -> ProxyHeader | NeedMore | None:
    line, end, _ = bytes(data[:_LONGEST_V1]).partition(b"\r\n")
    if not end:
        return NEED_MORE if len(data) < _LONGEST_V1 else None
    length = len(line) + len(end)
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return ProxyHeader(length, None)
    found = _LINE_V1.fullmatch(line)
    if found is None:
        return None
    try:
        host = _host(found[1], found[2].decode("ascii"))
    except ValueError:
        return None
    port = int(found[4])
    return ProxyHeader(length, _address(host, port)) if port <= _LAST_PORT else None


def _version_2(data: bytes | bytearray) -> ProxyHeader | NeedMore | None:
    if len(data) < _FIXED_V2:
        return NEED_MORE
    command, family = data[12], data[13] >> 4
    size = int.from_bytes(data[14:16], "big")
    length = _FIXED_V2 + size
    if command not in (_LOCAL, _PROXY) or size < _SIZES.get(family, 0) or length > HEAD_LIMIT:
        return None
    if len(data) < length:
        return NEED_MORE
    if command == _LOCAL or family not in _SIZES:
        return ProxyHeader(length, None)
    body = bytes(data[_FIXED_V2:length])
    if family == _INET:
        host: IPv4Address | IPv6Address = IPv4Address(body[:4])
        port = body[8:10]
    else:
        host = IPv6Address(body[:16])
        port = body[32:34]
    return ProxyHeader(length, _address(host, int.from_bytes(port, "big")))


def _host(family: bytes, text: str) -> IPv4Address | IPv6Address:
    return IPv4Address(text) if family == b"TCP4" else IPv6Address(text)


def _address(host: IPv4Address | IPv6Address, port: int) -> tuple[Any, ...]:
    """Return the address in the form of `socket.accept`."""
    if isinstance(host, IPv6Address):
        host = host.ipv4_mapped or host
    return (str(host), port) if isinstance(host, IPv4Address) else (str(host), port, 0, 0)
