"""The system calls on a socket that carries bytes and descriptors; nothing here keeps state.

Descriptors arrive close-on-exec, and not as 0, 1 or 2, which a wrong `close` may have set free: what the
process prints goes there. Messages are read in `Channel`, with the numbers from here.
"""

import array
import fcntl
import os
import socket
from collections.abc import Sequence
from typing import Any, Final, Protocol

from actors.transport.wire.frames import MAX_FDS

__all__ = [
    "ANCILLARY",
    "CLOEXEC",
    "CTRUNC",
    "StreamSocket",
    "pair",
    "prepare",
    "received_fds",
    "write",
]

_BUFFER: Final = 1024 * 1024
_FIRST: Final = 3
"""The first descriptor that is not a standard stream's."""
_INT: Final = array.array("i").itemsize
ANCILLARY: Final = socket.CMSG_SPACE(2 * MAX_FDS * _INT)
"""Room for what comes beside the bytes of one read: twice as many descriptors as a frame may carry."""
# As plain numbers: arithmetic on the enum members costs more than the system call's wrapper.
CLOEXEC: Final = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))
"""The flags of a read."""
CTRUNC: Final = int(socket.MSG_CTRUNC)
"""The flag that a read returns if the kernel dropped descriptors."""


class StreamSocket(Protocol):
    """The methods of a connected `socket.socket` by which a channel reads and writes."""

    def fileno(self) -> int: ...
    def close(self) -> None: ...
    def send(self, data: Any, flags: int = ..., /) -> int: ...
    def sendmsg(self, buffers: Any, ancillary: Any = ..., /) -> int: ...
    def recvmsg_into(
        self, buffers: Any, ancillary_size: int = ..., flags: int = ..., /
    ) -> tuple[int, list[tuple[int, int, bytes]], int, Any]: ...


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


def received_fds(ancillary: list[tuple[int, int, bytes]]) -> Sequence[int]:
    """Return the descriptors that came with one read, which the caller owns.

    Args:
        ancillary: what `recvmsg` returned beside the bytes.
    """
    fds = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % _INT])
    if not CLOEXEC:
        for fd in fds:
            os.set_inheritable(fd, False)
    for at, fd in enumerate(fds):
        if fd < _FIRST:
            fds[at] = _moved_up(fd)
    return fds


def _moved_up(fd: int) -> int:
    """Return the number that *fd* has from now on; where there is no other one, it keeps its own."""
    try:
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST)
    except OSError:
        return fd
    os.close(fd)
    return moved


def write(sock: StreamSocket, buffers: Sequence[bytes | memoryview], fds: Sequence[int]) -> int:
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
