"""Which proxies are trusted, and which client an X-Forwarded-For header names.

Rule 1: pure, but for a bounded memory of addresses that were looked at before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from actors.routing.sticky.client_address import plain_host

__all__ = ["TrustedHosts"]

_REMEMBERED: Final = 4096
_LONGEST: Final = 253
"""Bytes of a host that is remembered: names are not longer."""


class TrustedHosts:
    """Addresses and networks that are trusted; ``*`` for all, other words as they are."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._all = "*" in hosts
        self._addresses: set[IPv4Address | IPv6Address] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        self._words: set[str] = set()
        for host in hosts:
            self._add(host)
        self._is_trusted = lru_cache(_REMEMBERED)(self._look_up)

    def _add(self, host: str) -> None:
        try:
            if "/" in host:
                self._networks.append(ip_network(host))
            else:
                self._addresses.add(ip_address(host))
        except ValueError:
            self._words.add(host)

    def __contains__(self, host: str) -> bool:
        if self._all:
            return True
        return self._is_trusted(host) if len(host) <= _LONGEST else self._look_up(host)

    def _look_up(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return bool(host) and host in self._words
        return address in self._addresses or any(address in network for network in self._networks)

    def client_of(self, forwarded_for: str) -> tuple[str, int]:
        """Return host and port (0 if there is none) of the client that X-Forwarded-For names.

        Each proxy appends the address it has seen: the client is the last that is not trusted, or the
        first of all.
        """
        first = "", 0
        for entry in reversed(forwarded_for.split(",")):
            host, port = _host_and_port(plain_host(entry.strip()))
            first = plain_host(host), port
            if not self._all and first[0] not in self:
                break
        return first


def _host_and_port(entry: str) -> tuple[str, int]:
    """Split "host", "host:port", "[v6]" or "[v6]:port"; anything else is a host without a port."""
    if entry.startswith("["):
        host, bracket, rest = entry[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return entry, 0
        return host, _port(rest[1:])
    if entry.count(":") == 1:
        host, _, digits = entry.partition(":")
        return (host, _port(digits)) if digits.isdecimal() else (entry, 0)
    return entry, 0


def _port(digits: str) -> int:
    return int(digits) if digits.isdecimal() and len(digits) <= len("65535") else 0
