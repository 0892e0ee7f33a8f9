"""Makes, describes and closes listening sockets.

Rule 1: every error of the system becomes `ListenFailed` with the address in its text.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import sys
from array import array
from contextlib import suppress
from typing import Final

from actors._base.addresses import addresses_of
from actors.routing.errors import ListenFailed
from actors.routing.listen.address import Inet, InheritedSocket, Udp, Unix, Where
from actors.routing.listen.inherited import inherited_socket
from actors.routing.listen.listener import Listener

_MODE = 0o666
"""Every user may connect to a Unix socket, as to a port."""
_SO_ATTACH_FILTER: Final = 26
_DROP_ALL: Final = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A program for the kernel's packet filter with one instruction: keep nothing of a packet."""

__all__ = ["bind", "listen_shared", "probe", "refuse_new", "release", "reserve", "where_of"]


def bind(spec: Listener) -> socket.socket:
    """Make the socket of *spec*: non-blocking, close-on-exec, TCP_NODELAY inherited, listening.

    A Unix socket left behind by a process that has ended is replaced. A UDP socket is bound only.

    Raises:
        ListenFailed: the address is in use, forbidden, or does not exist here.
    """
    made = _bound(spec)
    try:
        if made.type == socket.SOCK_STREAM:
            made.listen(spec.backlog)
    except OSError as error:
        made.close()
        raise _failed(spec.address, error) from error
    made.setblocking(False)
    return made


def probe(spec: Listener) -> None:
    """Check that the port or path of *spec* is free, by binding it and closing it again.

    Raises:
        ListenFailed: as `bind`.
    """
    where = spec.where.inet if isinstance(spec.where, Udp) else spec.where
    if isinstance(where, Unix) and os.path.exists(where.path):  # noqa: PTH110 - one call, no object
        if not _is_stale(
            where.path
        ):  # one that is stale stays, with its mode, until it is replaced
            raise ListenFailed(spec.address, errno.EADDRINUSE)
    elif isinstance(where, Unix) or (isinstance(where, Inet) and where.port):
        release(_bound(spec), spec)


def reserve(spec: Listener) -> socket.socket:
    """Bind the TCP address of *spec* without listening, so that only `listen_shared` can share it.

    Raises:
        ListenFailed: as `bind`; also if another process shares the port already.
    """
    made = _bound(spec)
    # Only after bind: with SO_REUSEPORT the bind would silently join another program's group, and
    # with SO_REUSEADDR, not listening, another program could take the port.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return made


def listen_shared(reserved: socket.socket, backlog: int) -> socket.socket:
    """Make a listening socket of a reserved address; clients can connect from here on.

    Raises:
        OSError: as `socket.bind`.
    """
    made = socket.socket(reserved.family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if reserved.family == socket.AF_INET6:
            only = reserved.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        made.bind(reserved.getsockname())
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    made.setblocking(False)
    return made


def where_of(listening: socket.socket) -> Where:
    """Return the real address of a socket, the chosen port included."""
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return Unix(os.fsdecode(name))
    inet = Inet(name[0], name[1])
    return Udp(inet) if listening.type == socket.SOCK_DGRAM else inet


def refuse_new(listening: socket.socket, spec: Listener) -> None:
    """Let no more clients into the backlog of a socket of *spec* that is to be closed; those in it stay.

    They can be accepted then, all of them: one that came between that and the end would be reset. What a client
    sends to connect is dropped; it tries again a second later, when nobody listens or somebody else does. An
    inherited socket stays as it is: others have it, too, and clients wait there for the next process.
    """
    if isinstance(spec.where, InheritedSocket):
        return
    if listening.family == socket.AF_UNIX:
        with suppress(FileNotFoundError):
            os.unlink(listening.getsockname())  # noqa: PTH108 - the name may be bytes
    elif sys.platform == "linux" and listening.type == socket.SOCK_STREAM:
        program = array("B", _DROP_ALL)
        with suppress(OSError):  # a kernel without such filters
            whole = struct.pack("HP", 1, program.buffer_info()[0])
            listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, whole)


def release(taken: socket.socket, spec: Listener) -> None:
    """Close the socket of *spec*; the Unix path of an inherited socket is not unlinked."""
    refuse_new(taken, spec)
    taken.close()


def _bound(spec: Listener) -> socket.socket:
    where = spec.where
    try:
        match where:
            case InheritedSocket():
                return inherited_socket(where.name)
            case Unix():
                return _unix(where, spec.uds_permissions)
            case Udp():
                return _inet(where.inet, socket.SOCK_DGRAM)
            case Inet():
                return _inet(where, socket.SOCK_STREAM)
    except OSError as error:
        if isinstance(error, ListenFailed):
            raise
        raise _failed(spec.address, error) from error


def _failed(address: str, error: OSError) -> ListenFailed:
    return ListenFailed(address, error.errno or 0, error.strerror or str(error))


def _inet(where: Inet, kind: socket.SocketKind) -> socket.socket:
    found = addresses_of(where.host, where.port, kind, socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    made = socket.socket(family, kind)
    try:
        if kind == socket.SOCK_STREAM:
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


def _unix(where: Unix, mode: int | None) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            made.bind(where.path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_stale(where.path):
                raise
            if mode is None:
                mode = stat.S_IMODE(os.stat(where.path).st_mode)  # noqa: PTH116 - as below
            os.unlink(where.path)  # noqa: PTH108 - as in `release`
            made.bind(where.path)
        # Before it listens: until then no client can connect.
        os.chmod(where.path, _MODE if mode is None else mode)  # noqa: PTH101 - one call, no object
    except BaseException:
        made.close()
        raise
    return made


def _is_stale(path: str) -> bool:
    """Whether *path* is a socket on which no process listens."""
    if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116 - one call, no object
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED
