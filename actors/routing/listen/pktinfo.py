"""The local address that a datagram was sent to (IP_PKTINFO), so that the reply leaves from it.

Rule 1: only a socket bound to every address needs it; any other socket replies from its own address.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final

__all__ = ["ANCILLARY_BYTES", "local_of", "request_local_address", "send"]

# Linux's number: Python has a name for it only from 3.12 on.
_IP_PKTINFO: Final = 8
_V4: Final = struct.Struct("@i4s4s")
_V6: Final = struct.Struct("@16si")

# The local address is gone, or it was a multicast or broadcast address.
_NOT_OURS: Final = frozenset({errno.EINVAL, errno.ENETUNREACH, errno.EADDRNOTAVAIL})

ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_V6.size)
"""The largest ancillary data that the kernel sends with a datagram."""


def request_local_address(sock: socket.socket) -> bool:
    """Turn IP_PKTINFO on if *sock* is bound to every address; return whether it is on."""
    if sys.platform != "linux" or not ip_address(sock.getsockname()[0]).is_unspecified:
        return False
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    return True


def local_of(ancillary: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Return the packed address that a datagram was sent to; empty if the kernel did not say."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            # ipi_spec_dst; the other, ipi_addr, may be a broadcast address.
            return bytes(_V4.unpack_from(data)[1])
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return bytes(_V6.unpack_from(data)[0])
    return b""


def send(sock: socket.socket, data: bytes, to: tuple[Any, ...], local: bytes) -> None:
    """Send *data* from the address *local*, or from any if it is empty or gone.

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
    """Return the ancillary data to send from *local*; the kernel chooses the interface."""
    if len(local) == 4:  # noqa: PLR2004 - IPv4
        return socket.IPPROTO_IP, _IP_PKTINFO, _V4.pack(0, local, bytes(4))
    return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _V6.pack(local, 0)
