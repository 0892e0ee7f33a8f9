"""Sockets by which a node gets a connection that came to another machine; it begins with a PROXY header.

They are Unix sockets whose other end has a name by which the node knows them. They have no name themselves, as
the connections of a Unix listener have: a client who takes such a name is a client like any other.
"""

from __future__ import annotations

import os
import socket
from itertools import count
from typing import Final

__all__ = ["is_passed_on", "passed_pair"]

_NAME: Final = b"\0actors passed on "
_NUMBERS: Final = count(1)


def passed_pair() -> tuple[socket.socket, socket.socket]:
    """Return the end that stays, and the one for a node; neither waits.

    Raises:
        OSError: there is no descriptor free.
    """
    ours, theirs = socket.socketpair()
    try:
        ours.bind(_NAME + f"{os.getpid()}.{next(_NUMBERS)}".encode())
        for end in (ours, theirs):
            end.setblocking(False)
    except BaseException:
        ours.close()
        theirs.close()
        raise
    return ours, theirs


def is_passed_on(sock: socket.socket) -> bool:
    """Whether a node has got this socket by `passed_pair`."""
    if sock.family != socket.AF_UNIX:
        return False
    try:
        own, name = sock.getsockname(), sock.getpeername()
    except OSError:  # it has gone
        return False
    return not own and isinstance(name, bytes) and name.startswith(_NAME)
