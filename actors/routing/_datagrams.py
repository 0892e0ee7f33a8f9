"""Datagrams on their way from the parent to a node: with the address of their sender.

Rule 1: pure: bytes and addresses in, bytes and addresses out.
"""

from __future__ import annotations

import socket
import struct
from typing import Any, Final, TypeAlias

from ._keys import Address, Key, Peeked

__all__ = ["LARGEST", "Sender", "Source", "pack", "unpack"]

Sender: TypeAlias = tuple[Any, ...]
"""As `socket.recvfrom` gives it and `socket.sendto` takes it."""

LARGEST: Final = 65_536
"""No datagram has more bytes."""

_V4: Final = struct.Struct("!4sH")
_V6: Final = struct.Struct("!16sHII")


class Source(Key):
    """The sender's address and port: one sender, one node."""

    needs_head = False

    def __str__(self) -> str:
        return "source"

    def __eq__(self, other: object) -> bool:
        return type(other) is Source

    def __hash__(self) -> int:
        return hash(Source)

    def extract(self, peeked: Peeked) -> bytes | None:
        """Return address and port as text."""
        client: Address = peeked.client
        return repr(client[:2]).encode() if isinstance(client, tuple) else None


def pack(sender: Sender) -> bytes:
    """Return what goes in front of a datagram: its sender."""
    if len(sender) == 2:  # noqa: PLR2004 - host and port: IPv4
        return b"\4" + _V4.pack(socket.inet_pton(socket.AF_INET, sender[0]), sender[1])
    host, port, flow, scope = sender
    address = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return b"\6" + _V6.pack(address, port, flow, scope)


def unpack(packet: bytes) -> tuple[bytes, Sender]:
    """Return the datagram of *packet*, and its sender."""
    if packet[0] == 4:  # noqa: PLR2004 - as `pack` wrote it
        host, port = _V4.unpack_from(packet, 1)
        return packet[1 + _V4.size :], (socket.inet_ntop(socket.AF_INET, host), port)
    host, port, flow, scope = _V6.unpack_from(packet, 1)
    sender = (socket.inet_ntop(socket.AF_INET6, host), port, flow, scope)
    return packet[1 + _V6.size :], sender
