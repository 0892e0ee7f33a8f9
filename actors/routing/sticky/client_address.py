"""Addresses of clients as everybody sees them: an IPv4 client of a dual-stack socket has an IPv4 address.

Rule 1: pure; any other address is returned unchanged.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any, Final, TypeVar

__all__ = ["plain_address", "plain_host"]

T = TypeVar("T")
_MAPPED: Final = "::ffff:"


def plain_host(host: str) -> str:
    """Return *host*, which may be an IPv4 address mapped into IPv6, as IPv4 if it is one."""
    if not host.lower().startswith(_MAPPED):
        return host
    try:
        return str(IPv6Address(host.partition("%")[0]).ipv4_mapped or host)
    except ValueError:
        return host


def plain_address(address: T) -> T | tuple[Any, ...]:
    """Return an address as `socket.accept` gives it, as IPv4 if it is an IPv4 address mapped into IPv6."""
    if not isinstance(address, tuple) or len(address) < 2:  # noqa: PLR2004 - a host and a port
        return address
    host = plain_host(str(address[0]))
    return address if host == address[0] else (host, address[1])
