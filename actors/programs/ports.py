"""The ports of programs: one for each instance, none of them twice."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from actors._base.errors import InvalidSpec

__all__ = ["LAST_PORT", "clash", "is_shared", "listens", "refuse_clashes"]

_LISTEN: Final = "0A"
"""The state of a socket that listens, in /proc/net/tcp."""

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


def listens(port: int, pids: Iterable[int]) -> bool:
    """Return whether one of these processes has a TCP socket that listens on *port*."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    return bool(sockets) and any(not sockets.isdisjoint(_descriptors(pid)) for pid in pids)


def _listening(port: int) -> Iterator[str]:
    """Yield the numbers of the sockets that listen on *port*."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, *_, inode = row.split()[:10]
                if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                    yield inode


def _descriptors(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):  # it has ended
        for number in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - names are wanted
            with suppress(OSError):  # it is closed
                found.add(str(Path(f"/proc/{pid}/fd/{number}").readlink()))
    return found
