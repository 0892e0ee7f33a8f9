"""Listening sockets that this process inherited from systemd (LISTEN_FDS) or another parent.

Rule 1: an inherited socket stays open as long as the process lives; callers get a copy.
Rule 2: each possible error has its own message.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Mapping
from typing import Final

from actors.routing.errors import ListenFailed

__all__ = ["inherited_names", "inherited_socket"]

_FIRST: Final = 3  # SD_LISTEN_FDS_START


def inherited_names(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the names of the sockets that this process was passed, by LISTEN_FDNAMES and LISTEN_PID."""
    env = os.environ if environ is None else environ
    ours = env.get("LISTEN_PID") == str(os.getpid())
    return [name for name in env.get("LISTEN_FDNAMES", "").split(":") if name] if ours else []


def inherited_socket(name: str, environ: Mapping[str, str] | None = None) -> socket.socket:
    """Return a copy of the listening socket ``fd://NAME``.

    Args:
        name: the number of a descriptor, or a name from LISTEN_FDNAMES.
        environ: the environment with LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES.

    Raises:
        ListenFailed: there is none, it is for another process, or it is not a listening socket.
    """
    env = os.environ if environ is None else environ
    fd = int(name) if name.isdigit() else _named(name, env)
    _check_owner(name, fd, env)
    _check_kind(name, fd)
    os.set_inheritable(fd, False)  # nodes must not inherit it
    try:
        inherited = socket.socket(fileno=os.dup(fd))
    except OSError as error:
        raise ListenFailed(f"fd://{name}", error.errno or 0) from error
    _check_listening(name, inherited)
    inherited.setblocking(False)
    return inherited


def _named(name: str, env: Mapping[str, str]) -> int:
    names = env.get("LISTEN_FDNAMES", "").split(":") if "LISTEN_FDNAMES" in env else []
    if not names:
        why = "LISTEN_FDNAMES is not set: name the socket by its number, as in fd://3"
        raise ListenFailed(f"fd://{name}", errno.EBADF, why)
    if name not in names:
        known = ", ".join(names)
        why = f"LISTEN_FDNAMES has no such name; it has {known}"
        raise ListenFailed(f"fd://{name}", errno.EBADF, why)
    return _FIRST + names.index(name)


def _check_owner(name: str, fd: int, env: Mapping[str, str]) -> None:
    """Refuse descriptors that LISTEN_PID says are for another process."""
    count, pid = env.get("LISTEN_FDS", ""), env.get("LISTEN_PID", "")
    if name.isdigit() and not (count.isdigit() and fd < _FIRST + int(count)):
        return
    if pid != str(os.getpid()):
        why = f"LISTEN_PID is {pid or 'not set'}, and this process is {os.getpid()}"
        raise ListenFailed(f"fd://{name}", errno.EPERM, why)
    if not (count.isdigit() and fd < _FIRST + int(count)):
        why = f"LISTEN_FDS is {count or 'not set'}: descriptor {fd} was not passed"
        raise ListenFailed(f"fd://{name}", errno.EBADF, why)


def _check_kind(name: str, fd: int) -> None:
    try:
        mode = os.fstat(fd).st_mode
    except OSError as error:
        why = f"there is no open descriptor {fd}"
        raise ListenFailed(f"fd://{name}", errno.EBADF, why) from error
    if not stat.S_ISSOCK(mode):
        raise ListenFailed(f"fd://{name}", errno.ENOTSOCK, f"descriptor {fd} is not a socket")


def _check_listening(name: str, sock: socket.socket) -> None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        why = f"it must be a TCP or Unix socket, got family {sock.family!r}"
    elif sock.type != socket.SOCK_STREAM:
        why = f"it must be a stream socket, got {socket.SocketKind(sock.type).name}"
    elif not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        why = "the socket is not listening: call listen() before passing it"
    else:
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return
    sock.close()
    raise ListenFailed(f"fd://{name}", errno.EINVAL, why)
