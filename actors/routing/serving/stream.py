"""Serves connections with an ``async def handle(stream)``, on any loop.

Rule 1: a client that disconnects is not a failure of the handler.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream, SocketStream, UNIXSocketStream

from actors._base.loop import Loop
from actors.routing.interfaces import Acks, Report
from actors.routing.listen.accepted_socket import as_plain_socket
from actors.routing.listen.listener import Listener
from actors.routing.listen.tls import Certificate, close_tls, start_tls
from actors.routing.serving.connection_stream import open_connection_stream
from actors.routing.serving.handler_server import HandlerServer
from actors.routing.serving.proxy_header import Proxied, ProxyHeaderReader
from actors.routing.sticky.client_address import plain_address

__all__ = ["StreamServer"]

_CLIENT_GONE: Final = (
    anyio.EndOfStream,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    ConnectionError,
)


class StreamServer(HandlerServer):
    """Runs a handler for each connection taken."""

    signature = "async def handle(stream)"
    unit = "connection"

    def __init__(
        self,
        spec: Listener,
        loop: Loop,
        acks: Acks,
        *,
        report: Report,
        resolve: Callable[[str], Any],
    ) -> None:
        super().__init__(spec, loop, report=report, resolve=resolve)
        self._acks = acks
        self._proxy = ProxyHeaderReader(spec, report)
        self._certificate: Certificate | None = None
        self._draining = False
        self._on_asyncio = False

    async def start(self) -> None:
        """Import the handler and read the certificate.

        Raises:
            HandlerNotFound: it cannot be imported.
            HandlerUnfit: it is not an async function.
            BadListener: the certificate cannot be used.
        """
        await super().start()
        with suppress(RuntimeError):  # on trio
            self._on_asyncio = asyncio.get_running_loop() is not None
        spec = self._spec
        if spec.tls is not None:
            self._certificate = Certificate(
                spec.tls, (), listener=spec.name, report=self._report, now=anyio.current_time
            )

    def take(self, connection: int, sock: socket.socket, first: bytes = b"") -> None:
        if self._draining or self._handler is None:
            sock.close()
            self._acks.refused(connection)
            return
        self._acks.acknowledged(connection)
        serve = partial(self._serve, connection, sock, first)
        self._spawn(connection, serve, partial(self._ended, connection, sock))

    async def drain(self, seconds: float, patience: float = 0.0) -> None:
        """Take no new connections; after *seconds* cancel the handlers that have not ended."""
        self._draining = True
        await super().drain(seconds, patience)

    def _ended(self, connection: int, sock: socket.socket) -> None:
        sock.close()
        self._acks.closed(connection)

    async def _serve(self, connection: int, sock: socket.socket, first: bytes) -> None:
        try:
            stream = await self._open_stream(connection, sock, first)
            if stream is not None:
                async with stream:
                    await self._call_handler(stream)
        except _CLIENT_GONE:
            return

    async def _call_handler(self, stream: ByteStream) -> None:
        if self._certificate is None:
            await self._handler(stream)
            return
        secured = await start_tls(stream, self._certificate)
        if secured is not None:
            await self._handler(secured)
            await close_tls(secured)

    async def _open_stream(
        self, connection: int, sock: socket.socket, first: bytes
    ) -> ByteStream | None:
        """Make a stream that begins after any PROXY header; None if the client is gone."""
        client = None
        if sock.family == socket.AF_INET6:
            client = _plain_client(sock)
        if self._proxy.expects(sock):
            header = await self._proxy.read(connection, sock)
            if header is None:
                return None
            client = header.client or client
        try:
            stream = await self._make_stream(sock, first)
        except (OSError, ValueError):
            return None
        return stream if client is None else Proxied(stream, client)

    async def _make_stream(self, sock: socket.socket, first: bytes) -> ByteStream:
        if sock.family != socket.AF_UNIX and self._on_asyncio:
            return await open_connection_stream(sock, first)
        kind = UNIXSocketStream if sock.family == socket.AF_UNIX else SocketStream
        stream: ByteStream = await kind.from_socket(as_plain_socket(sock))
        return ReadAhead(stream, first) if first else stream


class ReadAhead(ByteStream):
    """A stream of which the first bytes have been read already."""

    def __init__(self, stream: ByteStream, first: bytes) -> None:
        self._stream = stream
        self._first = first

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what has been read, then receive from the stream below."""
        if not self._first:
            return await self._stream.receive(max_bytes)
        await anyio.lowlevel.checkpoint()
        data, self._first = self._first[:max_bytes], self._first[max_bytes:]
        return data

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
        """The attributes of the stream below."""
        return self._stream.extra_attributes


def _plain_client(sock: socket.socket) -> tuple[Any, ...] | None:
    """Return the client's address if it is an IPv4 address on a socket of IPv6."""
    try:
        address = sock.getpeername()
    except OSError:
        return None  # it is gone
    plain = plain_address(address)
    return None if plain is address else plain
