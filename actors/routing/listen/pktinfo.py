"""The address a datagram was sent to: asked of the kernel, and answered from.

Rule 1: only a socket that is bound to every address asks; another answers from its own anyway.
Rule 2: what the kernel says is passed on as it is, and nothing is looked up.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final

__all__ = ["SPACE", "asked", "local_of", "send"]

# Linux's own number: Python has its name from 3.12 on only.
_IP_PKTINFO: Final = 8
_V4: Final = struct.Struct("@i4s4s")
_V6: Final = struct.Struct("@16si")

# The address has gone, or it is one of many: of a group, of a network.
_NOT_OURS: Final = frozenset({errno.EINVAL, errno.ENETUNREACH, errno.EADDRNOTAVAIL})

SPACE: Final = socket.CMSG_SPACE(_V6.size)
"""Bytes that what the kernel says takes."""


def asked(sock: socket.socket) -> bool:
    """Have the kernel say of each datagram where it was sent to, if *sock* is bound to every address."""
    if sys.platform != "linux" or not ip_address(sock.getsockname()[0]).is_unspecified:
        return False
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    return True


def local_of(ancillary: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Return the address that a datagram was sent to, packed; empty if nothing is said of it."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            # The second address, ours, is not the first where that is of a whole network.
            return bytes(_V4.unpack_from(data)[1])
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return bytes(_V6.unpack_from(data)[0])
    return b""


def send(sock: socket.socket, data: bytes, to: tuple[Any, ...], local: bytes) -> None:
    """Send *data* from the address *local*, or from any if it is empty or cannot be had any more.

    Raises:
        OSError: as `socket.sendto`.
    """
    if local:
        try:
            sock.sendmsg([data], [_from(local)], 0, to)
        except OSError as error:
            if error.errno not in _NOT_OURS:
                raise
        else:
            return
    sock.sendto(data, to)


def _from(local: bytes) -> tuple[int, int, bytes]:
    """Return what has the kernel send from *local*; the interface is the way's own."""
    if len(local) == 4:  # noqa: PLR2004 - IPv4
        return socket.IPPROTO_IP, _IP_PKTINFO, _V4.pack(0, local, bytes(4))
    return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _V6.pack(local, 0)
