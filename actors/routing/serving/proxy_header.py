"""Reads the PROXY header off a connection on its node, on any loop.

Rule 1: no byte after the PROXY header is consumed.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio
from anyio.abc import ByteStream, SocketAttribute

from actors.routing.events import ProxyHeaderMissing
from actors.routing.interfaces import Report
from actors.routing.listen.listener import Listener
from actors.routing.listen.passed_socket import is_passed_on
from actors.routing.sticky.client_address import plain_address
from actors.routing.sticky.http_head import HEAD_LIMIT, NEED_MORE
from actors.routing.sticky.proxy_protocol import ProxyHeader, proxy_header

__all__ = ["Proxied", "ProxyHeaderReader", "take_proxy_header"]

_TIMEOUT: Final = 5.0
"""Seconds a proxy may take; it sends its header before it waits for anything."""


class ProxyHeaderReader:
    """Reads the PROXY header of each connection of a listener; reports the first that has none."""

    def __init__(self, spec: Listener, report: Report) -> None:
        self._listener = spec.name
        self._report = report
        self._reported = False
        self._always = spec.proxy_protocol

    def expects(self, sock: socket.socket) -> bool:
        """Whether a connection begins with a header: by its listener, or as a machine has passed it on."""
        return self._always or is_passed_on(sock)

    async def read(self, connection: int, sock: socket.socket) -> ProxyHeader | None:
        """Return the header of *sock*, which is non-blocking; None if it does not come in time."""
        header = await take_proxy_header(sock, _TIMEOUT)
        if header is None and not self._reported:
            self._reported = True
            self._report(ProxyHeaderMissing(self._listener, connection))
        return header


async def take_proxy_header(sock: socket.socket, seconds: float) -> ProxyHeader | None:
    """Read the PROXY header off *sock*; None if there is none in time, or the connection broke."""
    taken = bytearray()
    with anyio.move_on_after(seconds):
        while True:
            await anyio.wait_readable(sock)
            try:
                seen = sock.recv(HEAD_LIMIT, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError:
                return None
            before = len(taken)
            taken += seen
            header = proxy_header(taken) if seen else None
            if header is None:
                return None
            # While the header is incomplete, every byte so far belongs to it.
            sock.recv(len(seen) if header is NEED_MORE else header.length - before)
            if header is not NEED_MORE:
                return header
    return None


class Proxied(ByteStream):
    """A stream whose remote address is another than its socket's: one that the PROXY header named, or IPv4."""

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
        """The attributes of the stream below, with the client's address instead of the proxy's."""
        client = self._client
        below: Mapping[Any, Callable[[], Any]] = self._stream.extra_attributes
        local = below[SocketAttribute.local_address]
        return {
            **below,
            SocketAttribute.local_address: lambda: plain_address(local()),
            SocketAttribute.remote_address: lambda: client[:2],
            SocketAttribute.remote_port: lambda: client[1],
        }
