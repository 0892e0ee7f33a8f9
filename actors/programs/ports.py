"""The ports of programs: one for each instance, none of them twice."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from actors._base.errors import InvalidSpec

__all__ = ["LAST_PORT", "clash", "is_shared", "refuse_clashes"]

LAST_PORT: Final = 65535

Claim: TypeAlias = tuple[str, range]
"""Who has ports, and which."""


def clash(claims: Iterable[Claim]) -> str:
    """Return which two claims have a port in common, or an empty text."""
    seen: list[Claim] = []
    for who, ports in claims:
        for other, taken in seen:
            common = range(max(ports.start, taken.start), min(ports.stop, taken.stop))
            if common:
                return f"port {common[0]} is used twice: by {other} and by {who}"
        seen.append((who, ports))
    return ""


def refuse_clashes(where: str, claims: Iterable[Claim]) -> None:
    """Refuse a port that two have.

    Raises:
        InvalidSpec: naming both.
    """
    if problem := clash(claims):
        raise InvalidSpec(f"{where}: {problem}")


def is_shared(port: int) -> bool:
    """Return whether a second process of this user may listen on *port* beside the first.

    It may if nobody listens there, or whoever does has set ``SO_REUSEPORT``.
    """
    return all(_can_bind(family, address, port) for family, address in _addresses())


def _addresses() -> Iterator[tuple[socket.AddressFamily, str]]:
    yield socket.AF_INET, "0.0.0.0"  # noqa: S104 - it clashes with every address; nothing listens
    yield socket.AF_INET6, "::"


def _can_bind(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
    except OSError as error:
        return error.errno != errno.EADDRINUSE  # EACCES, no IPv6: not for a listener that is there
    return True
