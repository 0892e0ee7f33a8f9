"""Serves an ASGI application with uvicorn's protocol classes.

Rule 1: uvicorn's server does not run: no signal handler, no logging set up, no access log. Its
HTTP and WebSocket protocols get sockets that were accepted elsewhere.
Rule 2: each connection ends with one `closed`, whichever protocol had it last.
Rule 3: what comes before HTTP, a PROXY header and a TLS handshake, has its own time limits.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import anyio
from uvicorn.config import Config

from actors.routing.errors import HandlerUnfit
from actors.routing.events import ProxyHeaderMissing
from actors.routing.interfaces import Report
from actors.routing.listen.listener import Asgi, Listener
from actors.routing.listen.tls import Certificate
from actors.routing.policy.policy import Sticky
from actors.routing.serving.affinity import Affinity
from actors.routing.serving.asgi_app import made, uvicorn_config, wrapped
from actors.routing.serving.asgi_protocols import Http, State, WebSocket
from actors.routing.serving.lifespan import LifespanRun
from actors.routing.serving.proxy_header import PREFACE_SECONDS, take_proxy_header

__all__ = ["AsgiServer"]

_log = logging.getLogger("uvicorn.error")

_SPOKEN = ("http/1.1",)
_TLS_GOODBYE = 5.0
"""Seconds a client has to answer that its TLS connection is over."""


class AsgiServer:
    """Serves one application to each connection taken. See `Server` for what each promises."""

    def __init__(
        self,
        listener: Listener,
        spec: Asgi,
        *,
        acknowledge: Callable[[int], object],
        refused: Callable[[int], object],
        closed: Callable[[int], object],
        report: Report,
        system: object,
        resolve: Callable[[str], Any],
    ) -> None:
        self.spec = spec
        self.listener = listener.name
        self.report = report
        self.state = State()
        self.app_state: dict[str, Any] = {"actors": system}
        policy = listener.policy
        self.affinity = Affinity(policy.key) if isinstance(policy, Sticky) else None
        self._tls = listener.tls
        self._proxy_protocol = listener.proxy_protocol
        self._certificate: Certificate | None = None
        self._headless = False
        self._acknowledge = acknowledge
        self._refused = refused
        self._closed = closed
        self._system = system
        self._resolve = resolve
        self._config: Config | None = None
        self._lifespan: LifespanRun | None = None
        self._protocols: dict[int, Http | WebSocket | None] = {}
        self._adopting: set[asyncio.Task[Any]] = set()
        self._draining = False
        self._idle: anyio.Event | None = None

    @property
    def draining(self) -> bool:
        """Whether each client is to come again elsewhere."""
        return self._draining

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
            BadListener: the certificate cannot be used.
        """
        spec = self.spec
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError as error:
            raise HandlerUnfit(spec.app, "asgi() needs nodes with backend='asyncio'") from error
        if self._tls is not None:
            self._certificate = Certificate(
                self._tls, _SPOKEN, listener=self.listener, report=self.report, now=loop.time
            )
        app = made(spec, self._resolve(spec.app))
        config = uvicorn_config(spec)
        config.loaded_app = wrapped(app, spec, self.affinity)
        if spec.lifespan != "off":
            required = spec.lifespan == "on"
            self._lifespan = LifespanRun(app, spec.app, required=required, state=self.app_state)
            await self._lifespan.startup()
        self.app_state["actors"] = self._system
        if _log.level == logging.NOTSET:
            _log.setLevel(logging.WARNING)  # it tells of every WebSocket, which is an access log
        self._config = config

    def placed(self, slot: int, live: Sequence[int], every: Sequence[int]) -> None:
        """Note which slots share the listener: it tells requests that belong elsewhere."""
        if self.affinity is not None:
            self.affinity.placed(slot, live, every)

    def take(self, connection: int, sock: socket.socket) -> None:
        """Serve *sock* with an HTTP protocol of its own."""
        if self._draining or self._config is None:
            sock.close()
            self._refused(connection)
            return
        self._acknowledge(connection)
        self._protocols[connection] = None
        # Cleaning up is the callback's: a task cancelled before its first step runs no `finally`.
        task = asyncio.get_running_loop().create_task(self._adopt(connection, sock))
        self._adopting.add(task)
        task.add_done_callback(partial(self._adopted, connection, sock))

    async def drain(self, seconds: float, patience: float = 0.0) -> None:
        """Close idle connections, end the others with their request, abort after *seconds*.

        For the first *patience* seconds nobody is cut off: WebSockets go on, and a client that
        keeps its connection may send one more request, whose answer says that it closes.
        """
        self._draining = True
        with anyio.move_on_after(patience):
            for protocol in list(self._protocols.values()):
                if protocol is not None:
                    protocol.wind_down()
            await self._wait_idle()
        with anyio.move_on_after(seconds - patience):
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

    def changed(self, connection: int, protocol: Http | WebSocket) -> None:
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

    async def _adopt(self, connection: int, sock: socket.socket) -> None:
        """Give *sock* its protocol, once what comes before HTTP is done."""
        client = None
        if self._proxy_protocol:
            header = await take_proxy_header(sock, PREFACE_SECONDS)
            if header is None:
                self._without_header(connection)
                raise ConnectionAbortedError
            client = header.client
        secured: dict[str, Any] = {}
        if self._certificate is not None and self._tls is not None:
            secured = {
                "ssl": self._certificate.context(),
                "ssl_handshake_timeout": self._tls.handshake_timeout,
                "ssl_shutdown_timeout": _TLS_GOODBYE,
            }
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: Http(self, connection, client), sock, **secured)

    def _without_header(self, connection: int) -> None:
        if not self._headless:
            self._headless = True
            self.report(ProxyHeaderMissing(self.listener, connection))

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
