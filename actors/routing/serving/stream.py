"""Serves connections with an ``async def handle(stream)``, on any loop.

Rule 1: one task for each connection. What it raises ends that connection and no other.
Rule 2: a client that goes away is no failure of the handler.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from inspect import iscoroutinefunction
from typing import Any, Final

import anyio
from anyio.abc import ByteStream, SocketStream, UNIXSocketStream
from anyio.streams.tls import TLSStream

from actors.routing.errors import HandlerUnfit
from actors.routing.events import HandlerFailed, ProxyHeaderMissing
from actors.routing.interfaces import Report, ServerLoop
from actors.routing.listen.listener import Listener
from actors.routing.listen.tls import Certificate, farewell, secured
from actors.routing.serving.proxy_header import PREFACE_SECONDS, Proxied, take_proxy_header

__all__ = ["StreamServer"]

_CLIENT_GONE: Final = (
    anyio.EndOfStream,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    ConnectionError,
)


class StreamServer:
    """Runs a handler for each connection taken. See `Server` for what each method promises."""

    def __init__(
        self,
        spec: Listener,
        loop: ServerLoop,
        *,
        acknowledge: Callable[[int], object],
        refused: Callable[[int], object],
        closed: Callable[[int], object],
        report: Report,
        resolve: Callable[[str], Any],
    ) -> None:
        self._spec = spec
        self._path = spec.path
        self._loop = loop
        self._listener = spec.name
        self._acknowledge = acknowledge
        self._refused = refused
        self._closed = closed
        self._report = report
        self._resolve = resolve
        self._handler: Any = None
        self._certificate: Certificate | None = None
        self._headless = False
        self._scopes: dict[int, anyio.CancelScope | None] = {}
        self._aborting = False
        self._draining = False
        self._idle: anyio.Event | None = None

    @property
    def open(self) -> int:
        """Connections being served."""
        return len(self._scopes)

    async def start(self) -> None:
        """Import the handler.

        Raises:
            HandlerNotFound: it cannot be imported.
            HandlerUnfit: it is not an async function.
            BadListener: the certificate cannot be used.
        """
        handler = self._resolve(self._path)
        called = handler if iscoroutinefunction(handler) else getattr(handler, "__call__", None)  # noqa: B004 - an object with an async __call__ will do
        if not iscoroutinefunction(called):
            raise HandlerUnfit(self._path, f"it must be async def handle(stream), got {handler!r}")
        tls = self._spec.tls
        if tls is not None:
            self._certificate = Certificate(
                tls, (), listener=self._listener, report=self._report, now=anyio.current_time
            )
        self._handler = handler

    def placed(self, slot: int, live: Sequence[int], every: Sequence[int]) -> None:
        """Note nothing: what a stream handler reads is its own."""

    def take(self, connection: int, sock: socket.socket) -> None:
        """Serve *sock* in a task of its own."""
        if self._draining or self._handler is None:
            sock.close()
            self._refused(connection)
            return
        self._acknowledge(connection)
        # The task makes its own scope: this call comes from a callback, where anyio has no task.
        self._scopes[connection] = None
        name = f"{self._listener} connection {connection}"
        self._loop.start(self._serve, connection, sock, name=name)

    async def drain(self, seconds: float, patience: float = 0.0) -> None:  # noqa: ARG002 - a handler alone knows who idles
        """Take no more; after *seconds* cancel the handlers that have not ended."""
        self._draining = True
        with anyio.move_on_after(seconds):
            await self._wait_idle()
        self._aborting = True
        for scope in list(self._scopes.values()):
            if scope is not None:
                scope.cancel()
        await self._wait_idle()

    async def stop(self) -> None:
        """Cancel every handler."""
        await self.drain(0)

    async def _wait_idle(self) -> None:
        while self._scopes:
            if self._idle is None or self._idle.is_set():
                self._idle = anyio.Event()
            await self._idle.wait()

    async def _serve(self, connection: int, sock: socket.socket) -> None:
        try:
            with anyio.CancelScope() as scope:
                self._scopes[connection] = scope
                if not self._aborting:
                    await self._handle(connection, sock)
        except _CLIENT_GONE:
            return
        except Exception as error:  # noqa: BLE001 - reported; the others go on
            self._report(HandlerFailed(self._listener, connection, error))
        finally:
            sock.close()
            self._end(connection)

    async def _handle(self, connection: int, sock: socket.socket) -> None:
        below = await self._opened(connection, sock)
        if below is None:
            return
        async with below:
            stream = await self._secured(below)
            if stream is None:
                return
            await self._handler(stream)
            if isinstance(stream, TLSStream):
                await farewell(stream)

    async def _opened(self, connection: int, sock: socket.socket) -> ByteStream | None:
        """Make a stream that begins with the client's own bytes; None if there are none to come."""
        client = None
        if self._spec.proxy_protocol:
            header = await take_proxy_header(sock, PREFACE_SECONDS)
            if header is None:
                self._without_header(connection)
                return None
            client = header.client
        stream = await _wrapped(sock)
        return stream if stream is None or client is None else Proxied(stream, client)

    async def _secured(self, stream: ByteStream) -> ByteStream | None:
        """Make the handler's stream; None if the client spoils the handshake."""
        tls = self._spec.tls
        if tls is None or self._certificate is None:
            return stream
        return await secured(stream, self._certificate.context(), tls.handshake_timeout)

    def _without_header(self, connection: int) -> None:
        if not self._headless:
            self._headless = True
            self._report(ProxyHeaderMissing(self._listener, connection))

    def _end(self, connection: int) -> None:
        self._scopes.pop(connection, None)
        if not self._scopes and self._idle is not None:
            self._idle.set()
        self._closed(connection)


async def _wrapped(sock: socket.socket) -> ByteStream | None:
    """Make a byte stream of *sock*; None if the client has gone already."""
    kind = UNIXSocketStream if sock.family == socket.AF_UNIX else SocketStream
    try:
        return await kind.from_socket(sock)
    except (OSError, ValueError):
        return None
