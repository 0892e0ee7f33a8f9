"""Serves an ASGI application with uvicorn's protocol classes.

Rule 1: uvicorn's server does not run, so there is no signal handler, no logging setup, no access log.
Its HTTP and WebSocket protocols get sockets that were accepted by the router or by this node.
Rule 2: `Acks.closed` is called once for each connection, whichever protocol had it last.
Rule 3: a PROXY header and a TLS handshake come before HTTP and have their own time limits.
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
from actors.routing.interfaces import Acks, Report
from actors.routing.listen.listener import Asgi, Listener
from actors.routing.listen.tls import Certificate
from actors.routing.policy.policy import Sticky
from actors.routing.serving.affinity import Affinity
from actors.routing.serving.asgi_app import checked_app, uvicorn_config, with_middleware
from actors.routing.serving.asgi_protocols import Http, State, WebSocket
from actors.routing.serving.client_warnings import ClientWarnings
from actors.routing.serving.lifespan import LifespanRun
from actors.routing.serving.open_work import OpenWork
from actors.routing.serving.proxy_header import ProxyHeaderReader

__all__ = ["AsgiServer"]

_log = logging.getLogger("uvicorn.error")
_CLIENT_WARNINGS = ClientWarnings()

_ALPN = ("http/1.1",)
_NOTICE = 1.0
_NOTICE_SHARE = 0.2
"""The part of the time to drain that this takes at most."""
_TLS_SHUTDOWN = 5.0
"""Seconds a client has to answer the close of its TLS connection."""


class AsgiServer:
    """Serves one application to each connection taken. See `Server` for what each promises."""

    def __init__(
        self,
        listener: Listener,
        spec: Asgi,
        acks: Acks,
        *,
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
        self._certificate: Certificate | None = None
        self._proxy = ProxyHeaderReader(listener, report) if listener.proxy_protocol else None
        self._acks = acks
        self._system = system
        self._resolve = resolve
        self._config: Config | None = None
        self._lifespan: LifespanRun | None = None
        self._protocols: OpenWork[Http | WebSocket | None] = OpenWork()
        """The protocol of each open connection; None before its first byte of HTTP."""
        self._connecting: set[asyncio.Task[Any]] = set()
        self.draining = False
        """Whether clients are told to connect again, to another node."""
        self.notice = _NOTICE
        """Seconds that an application has to end by itself once it was told."""
        self.aborting = False
        """Whether what still runs is cancelled."""

    @property
    def open(self) -> int:
        return len(self._protocols)

    @property
    def config(self) -> Config:
        """The configuration that uvicorn's protocols read; set by `start`."""
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
                self._tls, _ALPN, listener=self.listener, report=self.report, now=loop.time
            )
        app = checked_app(spec, self._resolve(spec.app))
        config = uvicorn_config(spec)
        config.loaded_app = with_middleware(app, spec, self.affinity)
        if spec.lifespan != "off":
            required = spec.lifespan == "on"
            self._lifespan = LifespanRun(app, spec.app, required=required, state=self.app_state)
            await self._lifespan.startup()
        self.app_state["actors"] = self._system
        if _log.level == logging.NOTSET:
            _log.setLevel(logging.WARNING)  # at INFO it logs every WebSocket, like an access log
        _log.addFilter(_CLIENT_WARNINGS)
        self._config = config

    def slots_changed(self, slot: int, live: Sequence[int], every: Sequence[int]) -> None:
        """Set the slots that share the listener: they decide which requests belong to this node."""
        if self.affinity is not None:
            self.affinity.slots_changed(slot, live, every)

    def take(self, connection: int, sock: socket.socket) -> None:
        if self.draining or self._config is None:
            sock.close()
            self._acks.refused(connection)
            return
        self._acks.acknowledged(connection)
        self._protocols[connection] = None
        # The callback cleans up, because a task cancelled before its first step runs no `finally`.
        task = asyncio.get_running_loop().create_task(self._connect(connection, sock))
        self._connecting.add(task)
        task.add_done_callback(partial(self._connected, connection, sock))

    async def drain(self, seconds: float, patience: float = 0.0) -> None:
        """Close idle connections, end the others with their request, abort after *seconds*.

        WebSockets and event streams are told at once that they have to end; the applications of other
        requests receive ``http.disconnect`` shortly before they are aborted. During the first
        *patience* seconds no idle client is disconnected: one that keeps its connection may send one
        more request, whose response closes it.
        """
        self.draining = True
        loop = asyncio.get_running_loop()
        self.notice = min(_NOTICE, seconds * _NOTICE_SHARE)
        hanging_up = loop.call_later(seconds - self.notice, self._for_each, "hang_up")
        try:
            with anyio.move_on_after(patience):
                self._for_each("wind_down")
                await self._protocols.wait_idle()
            with anyio.move_on_after(seconds - patience):
                if self._connecting:
                    await asyncio.wait(self._connecting)
                self._for_each("shutdown")
                await self._protocols.wait_idle()
                if self.state.tasks:
                    await asyncio.wait(self.state.tasks)
        finally:
            hanging_up.cancel()
        await self._abort()

    def _for_each(self, method: str) -> None:
        for protocol in list(self._protocols.values()):
            if protocol is not None:
                getattr(protocol, method)()

    async def stop(self) -> None:
        """Abort what is being served, then run the application's shutdown.

        Raises:
            LifespanFailed: its shutdown failed.
        """
        await self.drain(0)
        if self._lifespan is not None:
            await self._lifespan.shutdown()

    def set_protocol(self, connection: int, protocol: Http | WebSocket) -> None:
        """Set the protocol that serves the connection now."""
        self._protocols[connection] = protocol

    def ended(self, connection: int) -> None:
        """Forget the connection, which is closed."""
        if connection in self._protocols:
            self._protocols.end(connection)
            self._acks.closed(connection)

    async def _connect(self, connection: int, sock: socket.socket) -> None:
        """Read the PROXY header and start TLS, if the listener has them, then start HTTP."""
        client = None
        if self._proxy is not None:
            header = await self._proxy.read(connection, sock)
            if header is None:
                raise ConnectionAbortedError
            client = header.client
        tls: dict[str, Any] = {}
        if self._certificate is not None:
            tls = {
                "ssl": self._certificate.context(),
                "ssl_handshake_timeout": self._certificate.handshake_timeout,
                "ssl_shutdown_timeout": _TLS_SHUTDOWN,
            }
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: Http(self, connection, client), sock, **tls)

    def _connected(self, connection: int, sock: socket.socket, task: asyncio.Task[object]) -> None:
        self._connecting.discard(task)
        if task.cancelled() or task.exception() is not None:
            sock.close()
            self.ended(connection)

    async def _abort(self) -> None:
        self.aborting = True
        for task in list(self._connecting):
            task.cancel()
        for protocol in list(self._protocols.values()):
            if protocol is not None:
                protocol.transport.abort()
        await self._protocols.wait_idle()
        for running in list(self.state.tasks):
            running.cancel()
        if self.state.tasks:
            await asyncio.wait(self.state.tasks)
