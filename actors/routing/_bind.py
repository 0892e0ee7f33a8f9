"""Listening sockets: made, described, removed.

Rule 1: whatever the system answers becomes `ListenFailed` with the address in its text.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

from ._address import Inet, Unix
from ._errors import ListenFailed
from ._listener import Listener

__all__ = ["bind", "describe", "remove"]


def bind(spec: Listener) -> socket.socket:
    """Make the listening socket of *spec*: non-blocking, close-on-exec, TCP_NODELAY inherited.

    A Unix path that nobody listens on any more is taken over.

    Raises:
        ListenFailed: the address is in use, forbidden, or does not exist here.
    """
    where = spec.where
    try:
        made = _unix(where) if isinstance(where, Unix) else _inet(where)
    except OSError as error:
        raise ListenFailed(spec.address, error.errno or 0, error.strerror or str(error)) from error
    try:
        made.listen(spec.backlog)
    except OSError as error:
        made.close()
        raise ListenFailed(spec.address, error.errno or 0, error.strerror or str(error)) from error
    made.setblocking(False)
    return made


def describe(listening: socket.socket) -> str:
    """Return the real address of a listening socket, the chosen port included."""
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return str(Unix(os.fsdecode(name)))
    return str(Inet(name[0], name[1]))


def remove(listening: socket.socket) -> None:
    """Close a listening socket; unlink its Unix path."""
    path = listening.getsockname() if listening.family == socket.AF_UNIX else None
    listening.close()
    if path:
        try:
            os.unlink(path)  # noqa: PTH108 - the name may be bytes
        except FileNotFoundError:
            return


def _inet(where: Inet) -> socket.socket:
    found = socket.getaddrinfo(
        where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, _, _, _, address = found[0]
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit this: one call here instead of one for each connection.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            dual = where.host == "::"
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


def _unix(where: Unix) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            made.bind(where.path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _abandoned(where.path):
                raise
            os.unlink(where.path)  # noqa: PTH108 - beside the one above
            made.bind(where.path)
    except BaseException:
        made.close()
        raise
    return made


def _abandoned(path: str) -> bool:
    """Whether *path* is a socket that nobody listens on."""
    if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116 - one call, no object
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED
