"""How a datagram is framed between the parent and a node: sender, local address, data.

Rule 1: pure: bytes and addresses in, bytes and addresses out.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from actors.routing.sticky.client_address import plain_address
from actors.routing.sticky.keys import Address, Key, Peeked

__all__ = ["LARGEST", "Sender", "Source", "pack", "unpack"]

Sender: TypeAlias = tuple[Any, ...]
"""An address as `socket.recvfrom` returns it."""

LARGEST: Final = 65_536
"""Bytes; no datagram is larger."""

_HEAD: Final = struct.Struct("!BB")
_V4: Final = struct.Struct("!4sH")
_V6: Final = struct.Struct("!16sHII")


@dataclass(frozen=True)
class Source(Key):
    """The sender's address and port: all datagrams of one sender go to one node."""

    needs_head = False

    def __str__(self) -> str:
        return "source"

    def extract(self, peeked: Peeked) -> bytes | None:
        client: Address = plain_address(peeked.client)
        return repr(client[:2]).encode() if isinstance(client, tuple) else None


def pack(sender: Sender, local: bytes = b"") -> bytes:
    """Return the header of a datagram: its sender, and the local address it was sent to, if known."""
    if len(sender) == 2:  # noqa: PLR2004 - host and port: IPv4
        address = socket.inet_pton(socket.AF_INET, sender[0])
        return _HEAD.pack(4, len(local)) + local + _V4.pack(address, sender[1])
    host, port, flow, scope = sender
    address = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return _HEAD.pack(6, len(local)) + local + _V6.pack(address, port, flow, scope)


def unpack(packet: bytes) -> tuple[bytes, Sender, bytes]:
    """Return the data of *packet*, its sender, and the local address it was sent to."""
    version, length = _HEAD.unpack_from(packet)
    at = _HEAD.size + length
    local = packet[_HEAD.size : at]
    if version == 4:  # noqa: PLR2004 - as `pack` wrote it
        host, port = _V4.unpack_from(packet, at)
        sender: Sender = (socket.inet_ntop(socket.AF_INET, host), port)
        return packet[at + _V4.size :], sender, local
    host, port, flow, scope = _V6.unpack_from(packet, at)
    sender = (socket.inet_ntop(socket.AF_INET6, host), port, flow, scope)
    return packet[at + _V6.size :], sender, local
