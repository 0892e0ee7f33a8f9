"""A socket that was accepted, whose family and type are plain numbers.

Rule 1: only that is different. The standard library makes enums of both whenever they are asked for, which
the event loop does five times for each connection.
"""

from __future__ import annotations

import socket
from typing import Any

__all__ = ["AcceptedSocket", "accept", "as_plain_socket"]


class AcceptedSocket(socket.socket):
    """A socket whose family and type are plain numbers."""

    family = socket.SocketType.family  # type: ignore[assignment]  # of the class in C, a number
    type = socket.SocketType.type  # type: ignore[assignment]  # as above


def accept(listening: socket.socket) -> tuple[AcceptedSocket, Any]:
    """Accept one connection; return it and the client's address.

    Args:
        listening: an `AcceptedSocket` or another; with the former it is cheaper.

    Raises:
        OSError: as `socket.accept`.
    """
    fd, client = listening._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - what `socket.accept` is made of
    return AcceptedSocket(listening.family, listening.type, listening.proto, fileno=fd), client


def as_plain_socket(sock: socket.socket) -> socket.socket:
    """Return the same connection for a library that takes no subclass; *sock* is closed."""
    if type(sock) is socket.socket:
        return sock
    made = socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
    made.setblocking(False)
    return made
