"""The system calls on a socket that carries bytes and descriptors; nothing here keeps state.

Descriptors arrive close-on-exec, and not as 0, 1 or 2, which a wrong `close` may have set free: what the
process prints goes there. One read takes twice as many as a frame may carry; `Received.lost` says whether
the kernel dropped some.
"""

import array
import fcntl
import os
import socket
from collections.abc import Sequence
from typing import Final, NamedTuple

from actors.transport.wire.frames import MAX_FDS

__all__ = ["Received", "pair", "prepare", "receive", "write"]

_BUFFER: Final = 1024 * 1024
_FIRST: Final = 3
"""The first descriptor that is not a standard stream's."""
_INT: Final = array.array("i").itemsize
_ANCILLARY: Final = socket.CMSG_SPACE(2 * MAX_FDS * _INT)
# As plain numbers: arithmetic on the enum members costs more than the system call's wrapper.
_CLOEXEC: Final = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))
_CTRUNC: Final = int(socket.MSG_CTRUNC)


class Received(NamedTuple):
    """What one read returned: bytes in the buffer, descriptors the caller owns, and whether some were lost."""

    size: int
    fds: Sequence[int]
    lost: bool


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected, non-blocking AF_UNIX stream sockets with buffers of 1 MiB if allowed."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in ends:
        prepare(end)
    return ends


def prepare(sock: socket.socket) -> None:
    """Make a socket non-blocking and raise its buffers to 1 MiB, or what the kernel allows."""
    sock.setblocking(False)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)


def receive(sock: socket.socket, buffer: memoryview) -> Received:
    """Read once into `buffer`.

    Raises:
        OSError: as the socket does; `BlockingIOError` if there is nothing to read.
    """
    size, ancillary, flags, _ = sock.recvmsg_into([buffer], _ANCILLARY, _CLOEXEC)
    lost = flags & _CTRUNC != 0
    if not ancillary:
        return Received(size, (), lost)
    fds = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % _INT])
    if not _CLOEXEC:
        for fd in fds:
            os.set_inheritable(fd, False)
    for at, fd in enumerate(fds):
        if fd < _FIRST:
            fds[at] = _moved_up(fd)
    return Received(size, fds, lost)


def _moved_up(fd: int) -> int:
    """Return the number that *fd* has from now on; where there is no other one, it keeps its own."""
    try:
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST)
    except OSError:
        return fd
    os.close(fd)
    return moved


def write(sock: socket.socket, buffers: Sequence[bytes | memoryview], fds: Sequence[int]) -> int:
    """Write what the socket takes; `fds` go with the first byte.

    Returns:
        how many bytes it took.

    Raises:
        OSError: as the socket does; `BlockingIOError` if it takes nothing now.
    """
    if not fds:
        return sock.sendmsg(buffers)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    return sock.sendmsg(buffers, rights)
