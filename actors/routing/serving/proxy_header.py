"""What a proxy writes before the client's first byte, taken off on the node.

Rule 1: not a byte behind the PROXY header is consumed.
Rule 2: on any loop, and for at most so many seconds.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio
from anyio.abc import ByteStream, SocketAttribute

from actors.routing.sticky.http_head import HEAD_LIMIT, NEED_MORE
from actors.routing.sticky.proxy_protocol import ProxyHeader, proxy_header

__all__ = ["PREFACE_SECONDS", "Proxied", "take_proxy_header"]

PREFACE_SECONDS: Final = 5.0
"""Seconds a proxy may take; it sends its header before it waits for anything."""


async def take_proxy_header(sock: socket.socket, seconds: float) -> ProxyHeader | None:
    """Read the PROXY header off *sock*, which is non-blocking.

    Returns:
        The header; None if there is none, or none in time, or the connection broke.
    """
    taken = b""
    with anyio.move_on_after(seconds):
        while True:
            await anyio.wait_readable(sock)
            try:
                seen = sock.recv(HEAD_LIMIT, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError:
                return None
            header = proxy_header(taken + seen) if seen else None
            if header is None:
                return None
            # As long as the header is not whole, all that has come belongs to it.
            rest = len(seen) if header is NEED_MORE else header.length - len(taken)
            taken += sock.recv(rest)
            if header is not NEED_MORE:
                return header
    return None


class Proxied(ByteStream):
    """A stream whose client is whom the PROXY header named."""

    def __init__(self, stream: ByteStream, client: tuple[Any, ...]) -> None:
        self._stream = stream
        self._client = client

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Receive from the stream below."""
        return await self._stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        """Send on the stream below."""
        await self._stream.send(item)

    async def send_eof(self) -> None:
        """End the sending side of the stream below."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """What the stream below says of itself, but for its client."""
        client = self._client
        return {
            **self._stream.extra_attributes,
            SocketAttribute.remote_address: lambda: client[:2],
            SocketAttribute.remote_port: lambda: client[1],
        }
