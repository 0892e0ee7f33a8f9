"""Serves an ASGI application with uvicorn's protocol classes; the only door to uvicorn.

Rule 1: uvicorn's server does not run: no signal handler, no logging set up, no access log. Its
HTTP and WebSocket protocols get sockets that were accepted elsewhere.
Rule 2: each connection ends with one `closed`, whichever protocol had it last.
Rule 3: a client that keeps the server waiting, for a head or for a body, is cut off.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import socket
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from typing import Any, Final

import anyio
from uvicorn.config import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from ._errors import HandlerUnfit
from ._events import RequestTimedOut
from ._lifespan import LifespanRun
from ._listener import Asgi
from ._protocols import Report

__all__ = ["AsgiServer"]

_log = logging.getLogger("uvicorn.error")

_TIMED_OUT: Final = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)
_TOO_LONG: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class AsgiServer:
    """Serves one application to each connection taken. See `Server` for what each promises."""

    def __init__(
        self,
        spec: Asgi,
        *,
        listener: str,
        acknowledge: Callable[[int], object],
        refused: Callable[[int], object],
        closed: Callable[[int], object],
        report: Report,
        system: object,
        resolve: Callable[[str], Any],
    ) -> None:
        self.spec = spec
        self.listener = listener
        self.report = report
        self.state = _State()
        self.app_state: dict[str, Any] = {"actors": system}
        self._acknowledge = acknowledge
        self._refused = refused
        self._closed = closed
        self._system = system
        self._resolve = resolve
        self._config: Config | None = None
        self._lifespan: LifespanRun | None = None
        self._protocols: dict[int, _Http | _WebSocket | None] = {}
        self._adopting: set[asyncio.Task[Any]] = set()
        self._draining = False
        self._idle: anyio.Event | None = None

    @property
    def open(self) -> int:
        """Connections being served."""
        return len(self._protocols)

    @property
    def config(self) -> Config:
        """What uvicorn's protocols ask for; there once started."""
        assert self._config is not None
        return self._config

    async def start(self) -> None:
        """Import the application and run its startup.

        Raises:
            HandlerNotFound: it cannot be imported.
            HandlerUnfit: it is not an ASGI 3 application, or this node runs trio.
            LifespanFailed: its startup failed.
        """
        spec = self.spec
        try:
            asyncio.get_running_loop()
        except RuntimeError as error:
            raise HandlerUnfit(spec.app, "asgi() needs nodes with backend='asyncio'") from error
        app = _made(spec, self._resolve(spec.app))
        config = _config(spec)
        config.loaded_app = app
        if spec.proxy_headers:
            config.loaded_app = ProxyHeadersMiddleware(app, trusted_hosts=spec.forwarded_allow_ips)
        if spec.lifespan != "off":
            required = spec.lifespan == "on"
            self._lifespan = LifespanRun(app, spec.app, required=required, state=self.app_state)
            await self._lifespan.startup()
        self.app_state["actors"] = self._system
        if _log.level == logging.NOTSET:
            _log.setLevel(logging.WARNING)  # it tells of every WebSocket, which is an access log
        self._config = config

    def take(self, connection: int, sock: socket.socket) -> None:
        """Serve *sock* with an HTTP protocol of its own."""
        if self._draining or self._config is None:
            sock.close()
            self._refused(connection)
            return
        self._acknowledge(connection)
        self._protocols[connection] = None
        loop = asyncio.get_running_loop()
        # Cleaning up is the callback's: a task cancelled before its first step runs no `finally`.
        task = loop.create_task(loop.connect_accepted_socket(lambda: _Http(self, connection), sock))
        self._adopting.add(task)
        task.add_done_callback(partial(self._adopted, connection, sock))

    async def drain(self, seconds: float) -> None:
        """Close idle connections, end the others with their request, abort after *seconds*."""
        self._draining = True
        with anyio.move_on_after(seconds):
            if self._adopting:
                await asyncio.wait(self._adopting)
            for protocol in list(self._protocols.values()):
                if protocol is not None:
                    protocol.shutdown()
            await self._wait_idle()
            if self.state.tasks:
                await asyncio.wait(self.state.tasks)
        await self._abort()

    async def stop(self) -> None:
        """Abort what is being served, then run the application's shutdown.

        Raises:
            LifespanFailed: its shutdown failed.
        """
        await self.drain(0)
        if self._lifespan is not None:
            await self._lifespan.shutdown()

    def changed(self, connection: int, protocol: _Http | _WebSocket) -> None:
        """Note which protocol has the connection now."""
        self._protocols[connection] = protocol

    def ended(self, connection: int) -> None:
        """Note that the connection is gone."""
        if connection not in self._protocols:
            return
        del self._protocols[connection]
        if not self._protocols and self._idle is not None:
            self._idle.set()
        self._closed(connection)

    def _adopted(self, connection: int, sock: socket.socket, task: asyncio.Task[object]) -> None:
        self._adopting.discard(task)
        if task.cancelled() or task.exception() is not None:
            sock.close()
            self.ended(connection)

    async def _abort(self) -> None:
        for task in list(self._adopting):
            task.cancel()
        for protocol in list(self._protocols.values()):
            if protocol is not None:
                protocol.transport.abort()
        await self._wait_idle()
        for running in list(self.state.tasks):
            running.cancel()
        if self.state.tasks:
            await asyncio.wait(self.state.tasks)

    async def _wait_idle(self) -> None:
        while self._protocols:
            if self._idle is None or self._idle.is_set():
                self._idle = anyio.Event()
            await self._idle.wait()


class _State(ServerState):
    """What uvicorn's protocols share; the date header is made when asked for, once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._headers: list[tuple[bytes, bytes]] = []
        super().__init__()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of every response."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._headers = [(b"date", formatdate(second, usegmt=True).encode())]
        return self._headers

    @default_headers.setter
    def default_headers(self, _: list[tuple[bytes, bytes]]) -> None:
        """Take uvicorn's empty initial value for nothing."""


class _WebSocket(WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket protocol, which tells when its connection is gone."""

    def __init__(self, server: AsgiServer, connection: int) -> None:
        super().__init__(server.config, server.state, server.app_state)
        self._server = server
        self._number = connection
        server.changed(connection, self)

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            super().connection_lost(exc)
        finally:
            self._server.ended(self._number)


class _Http(HttpToolsProtocol):
    """Uvicorn's HTTP protocol with a limit on how long a client may keep it waiting."""

    def __init__(self, server: AsgiServer, connection: int) -> None:
        super().__init__(server.config, server.state, server.app_state)
        self._server = server
        self._number = connection
        self._limits = {"head": server.spec.head_timeout, "body": server.spec.body_timeout}
        self._part = ""
        self._since = 0.0
        self._begun = False
        self._head_size = 0
        self._upgraded = False
        self._timer: asyncio.TimerHandle | None = None
        # Uvicorn calls it with its own arguments, which the server knows as well.
        self.ws_protocol_class = lambda **_: _WebSocket(server, connection)  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._server.changed(self._number, self)
        self._wait_for("head")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._begun = True
        part = self._waiting_for()
        self._head_size = self._head_size + len(data) if part == "head" else 0
        if self._head_size > self._server.spec.max_head:
            self.transport.write(_TOO_LONG)
            self.transport.close()
        elif part != self._part:
            self._wait_for(part)
        elif part == "body":
            self._since = self.loop.time()

    def handle_websocket_upgrade(self) -> None:
        self._upgraded = True
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            super().connection_lost(exc)
        finally:
            self._server.ended(self._number)

    def _waiting_for(self) -> str:
        """Return which part of a request the client owes: "head", "body" or nothing."""
        if self._upgraded or self.transport.is_closing():
            return ""
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn's types say
        if cycle is None or cycle.response_complete:
            return "head" if self.timeout_keep_alive_task is None else ""
        return "body" if cycle.more_body else ""

    def _wait_for(self, part: str) -> None:
        self._part = part
        if part:
            self._since = self.loop.time()
            self._arm(self._limits[part])

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._check)

    def _check(self) -> None:
        """Cut the client off if it still owes the part it owed when the timer was set."""
        self._timer = None
        part = self._waiting_for()
        if part != self._part:
            self._wait_for(part)
            return
        if not part:
            return
        limit = self._limits[part]
        if part == "body" and self.flow.read_paused:
            self._since = self.loop.time()  # the application does not read: not the client's doing
        left = self._since + limit - self.loop.time()
        if left > 0:
            self._arm(left)
        else:
            self._cut_off(part, limit)

    def _cut_off(self, part: str, limit: float) -> None:
        if self._begun:
            self._server.report(RequestTimedOut(self._server.listener, self._number, part, limit))
        if part == "head" and self._begun:
            self.transport.write(_TIMED_OUT)
        self.transport.close()


def _config(spec: Asgi) -> Config:
    """Make what uvicorn's protocols ask for, without its logging and without its app loading."""
    config = Config(
        _nobody,
        loop="none",
        http=HttpToolsProtocol,
        ws=WebSocketsSansIOProtocol,
        ws_max_size=spec.ws_max_size,
        ws_ping_interval=spec.ws_ping_interval,
        ws_ping_timeout=spec.ws_ping_timeout,
        lifespan="off",
        log_config=None,
        access_log=False,
        interface="asgi3",
        proxy_headers=False,
        root_path=spec.root_path,
        limit_concurrency=spec.limit_concurrency,
        timeout_keep_alive=spec.keep_alive,  # type: ignore[arg-type]  # any number of seconds will do
    )
    config.load()
    return config


async def _nobody(_scope: object, _receive: object, _send: object) -> None:
    """Stand in while uvicorn's configuration loads; ours is imported with better errors."""


def _made(spec: Asgi, found: Any) -> Any:
    """Return the application: what was found, or what it returns if it is a factory."""
    if not callable(found):
        raise HandlerUnfit(spec.app, f"an ASGI application is callable, got {found!r}")
    if spec.factory:
        try:
            found = found()
        except Exception as error:
            raise HandlerUnfit(
                spec.app, f"the factory raised {type(error).__name__}: {error}"
            ) from error
        if not callable(found):
            raise HandlerUnfit(spec.app, f"the factory returned {found!r}, no ASGI application")
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return found
    if _takes(signature, 3):
        return found
    hint = (
        "it takes no argument: did you mean factory=True?"
        if _takes(signature, 0)
        else (f"an ASGI application takes (scope, receive, send), this one takes {signature}")
    )
    raise HandlerUnfit(spec.app, hint)


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
