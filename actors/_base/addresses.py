"""The addresses that the name of a host stands for."""

from __future__ import annotations

import socket
from typing import Any

__all__ = ["addresses_of", "no_host"]


def addresses_of(host: str, port: int, kind: socket.SocketKind, flags: int = 0) -> list[Any]:
    """Return what `socket.getaddrinfo` finds.

    Raises:
        OSError: it finds nothing, also for a text that can be no name of a host.
    """
    try:
        return socket.getaddrinfo(host, port, type=kind, flags=flags)
    except UnicodeError as error:
        raise no_host(host) from error


def no_host(host: str) -> OSError:
    """Return the error for a text that can be no name of a host, as of one that nobody knows."""
    return socket.gaierror(socket.EAI_NONAME, f"no host is called {host!r}")
