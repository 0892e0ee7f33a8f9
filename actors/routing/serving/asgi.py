"""Serves an ASGI application: HTTP/1.1 and WebSocket connections of one node.

Rule 1: there is no signal handler and no logging setup; the router or this node accepts connections.
Rule 2: `Acks.closed` is called once for each connection, whichever protocol had it last.
Rule 3: a PROXY header and a TLS handshake come before HTTP and have their own time limits.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

import anyio

from actors.routing.errors import HandlerUnfit
from actors.routing.events import RequestTimedOut, WebsocketWithoutKey
from actors.routing.interfaces import Acks, KeyBinder, Report
from actors.routing.listen.application import Asgi
from actors.routing.listen.listener import Listener
from actors.routing.listen.tls import Certificate
from actors.routing.policy.bound import learns
from actors.routing.policy.policy import Policy, Sticky, key_of
from actors.routing.request_times import RequestTimes
from actors.routing.serving.access_log import AccessLog
from actors.routing.serving.affinity import Affinity
from actors.routing.serving.asgi_app import checked_app, service_unavailable, with_middleware
from actors.routing.serving.client_timer import Part
from actors.routing.serving.client_warnings import ClientWarnings
from actors.routing.serving.connection_owner import Answer, HeldWrite, ServedConnection
from actors.routing.serving.forwarded import ForwardedHeaders
from actors.routing.serving.http_connection import HttpConnection
from actors.routing.serving.http_cycle import Cycle
from actors.routing.serving.lifespan import LifespanRun
from actors.routing.serving.open_work import OpenWork
from actors.routing.serving.proxy_header import ProxyHeaderReader
from actors.routing.serving.request_watch import RequestWatch
from actors.routing.serving.response_head import DateHeader
from actors.routing.serving.send_watch import SendWatch
from actors.routing.serving.wsgi_app import WsgiApp

__all__ = ["AsgiServer"]

_log = logging.getLogger("uvicorn.error")
_CLIENT_WARNINGS = ClientWarnings()

_ALPN = {False: ("http/1.1",), True: ("h2", "http/1.1")}
_NOTICE = 1.0
_NOTICE_SHARE = 0.2
"""The part of the time to drain that this takes at most."""
_LINGER = 1.0
"""Seconds for which a refused client may continue to send bytes, which are discarded."""
_EAGER = sys.version_info >= (3, 12)
"""Whether a task can begin inside the call that makes it."""
_TLS_SHUTDOWN = 5.0
"""Seconds a client has to answer the close of its TLS connection."""
_NO_KEY = (
    "a client that connects again may come to another node: keep its state in an actor or a topic, or "
    "give the listener a key (--sticky cookie:NAME)"
)


class AsgiServer:
    """Serves one application to each connection taken. See `Server` for what each promises."""

    served: int
    times: RequestTimes

    def __init__(
        self,
        listener: Listener,
        spec: Asgi,
        acks: Acks,
        *,
        report: Report,
        system: object,
        resolve: Callable[[str], Any],
        binder: KeyBinder | None = None,
        middleware: Callable[[Any], Any] | None = None,
    ) -> None:
        self.spec = spec
        self.listener: str = listener.name
        self.report = report
        self.app_state: dict[str, Any] = {"actors": system}
        self.affinity: Affinity | None = _affinity(listener.policy)
        self._binder = binder if learns(listener.policy) else None
        self._tls = listener.tls
        self._certificate: Certificate | None = None
        self._proxy = ProxyHeaderReader(listener, report)
        self._acks, self._system = acks, system
        self._resolve, self._middleware, self._keyless = resolve, middleware, _keyless(listener)
        self.app: Any = None
        """The application, once `start` has imported it."""
        self.secure: bool = listener.tls is not None
        self.limits: Mapping[Part, float] = {
            "head": spec.head_timeout,
            "body": spec.body_timeout,
            "idle": spec.keep_alive,
            "linger": _LINGER,
        }
        self._protocol = _http2(spec) if spec.http2 else HttpConnection
        self.forwarded: ForwardedHeaders | None = _forwarded(spec)
        self.date: DateHeader = DateHeader(spec.headers, date=spec.date_header)
        self._access_log = AccessLog(events=spec.access_log, node=_node_of(system))
        self._context = contextvars.Context()  # `start` sets that of the application's tasks
        self._loop: asyncio.AbstractEventLoop | None = None
        self.served, self.times = 0, RequestTimes()
        self._watch = RequestWatch(spec, listener.name, report)
        self._running: set[Answer] = self._watch.running
        """What the application answers, each in a task of its own."""
        self._held: list[HeldWrite] = []  # written at the end of this turn
        self._lifespan: LifespanRun | None = None
        self._protocols: OpenWork[ServedConnection | None] = OpenWork()
        """The protocol of each open connection; None before its first byte of HTTP."""
        self._send_watch = SendWatch(spec.send_timeout, self._protocols, self._takes_nothing)
        self._connecting: set[asyncio.Task[Any]] = set()
        # What these are for is said in `ConnectionOwner`.
        self.draining: bool = False
        self.notice: float = _NOTICE
        self.aborting: bool = False

    @property
    def open(self) -> int:
        return len(self._protocols)

    @property
    def busy(self) -> int:
        """How many requests and WebSockets the application answers."""
        return len(self._running)

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
            loop = self._loop = asyncio.get_running_loop()
        except RuntimeError as error:
            raise HandlerUnfit(spec.app, "asgi() needs nodes with backend='asyncio'") from error
        if self._tls is not None:
            self._certificate = Certificate(
                self._tls,
                _ALPN[spec.http2],
                listener=self.listener,
                report=self.report,
                now=loop.time,
            )
        app = checked_app(spec, self._resolve(spec.app))
        if spec.lifespan != "off" and not isinstance(app, WsgiApp):
            required = spec.lifespan == "on"
            self._lifespan = LifespanRun(app, spec.app, required=required, state=self.app_state)
            await self._lifespan.startup()
        self.app_state["actors"] = self._system
        if _log.level == logging.NOTSET:
            _log.setLevel(logging.WARNING)  # at INFO it logs every WebSocket, like an access log
        _log.addFilter(_CLIENT_WARNINGS)
        self._context = contextvars.copy_context()
        self._watch.start(loop)
        wrapped = self._access_log.timed(app)
        if self._middleware is not None:
            wrapped = self._middleware(wrapped)
        self.app = with_middleware(wrapped, self.affinity, self._binder)

    def slots_changed(self, slot: int, live: Sequence[int], every: Sequence[int]) -> None:
        """Set the slots that share the listener: they decide which requests belong to this node."""
        if self.affinity is not None:
            self.affinity.slots_changed(slot, live, every)

    def attach_bindings(self, fd: int) -> None:
        if self.affinity is None:
            os.close(fd)
        else:
            self.affinity.attach_bindings(fd)

    def take(self, connection: int, sock: socket.socket, first: bytes = b"") -> None:
        if self.draining or self.app is None:
            sock.close()
            self._acks.refused(connection)
            return
        self._acks.acknowledged(connection)
        self._protocols[connection] = None
        loop = asyncio.get_running_loop()
        self._send_watch.begin(loop)
        # The callback cleans up, because a task cancelled before its first step runs no `finally`.
        task = loop.create_task(self._connect(connection, sock, first))
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
                await self._wait_tasks()
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
        self._watch.stop()
        self._send_watch.stop()
        if self.affinity is not None:
            self.affinity.close()
        if self._lifespan is not None:
            await self._lifespan.shutdown()

    # -- what connections ask for (`ConnectionOwner`) -----------------------------------------------

    def access_log(self) -> AccessLog | None:
        return self._access_log if self._access_log.wanted else None

    def chosen_app(self) -> Any:
        limit = self.spec.limit_concurrency
        if limit is None or max(len(self._protocols), len(self._running)) < limit:
            return self.app
        _log.warning("Exceeded concurrency limit.")
        return service_unavailable

    def start_task(
        self, answer: Answer, run: Coroutine[Any, Any, None], *, eager: bool = False
    ) -> None:
        loop = self._loop
        assert loop is not None
        self._running.add(answer)
        self.served += 1
        if self.times.on:
            self.times.begin(answer)
        context = self._context.copy()
        if eager and _EAGER:
            answer.task = asyncio.Task(run, loop=loop, context=context, eager_start=True)  # type: ignore[call-arg] # 3.12
        else:
            answer.task = loop.create_task(run, context=context)

    def task_ends(self, answer: Answer) -> None:
        self._running.discard(answer)
        if self.times.began:
            # Others last as long as their client likes.
            counts = isinstance(answer, Cycle) and not answer.is_event_stream
            self.times.end(answer, counts=counts)

    def websocket_opened(self) -> None:
        count = _nodes_of(self._system, self._keyless) if self._keyless else 0
        if count > 1:
            self._keyless = ""
            self.report(WebsocketWithoutKey(self.listener, count, _NO_KEY))

    def write_later(self, held: HeldWrite) -> None:
        if not self._held:
            assert self._loop is not None
            self._loop.call_soon(self._write_held)
        self._held.append(held)

    def _write_held(self) -> None:
        all_held, self._held = self._held, []
        for held in all_held:
            held.write_held()

    def set_protocol(self, connection: int, protocol: ServedConnection) -> None:
        """Set the protocol that serves the connection now."""
        self._protocols[connection] = protocol

    def ended(self, connection: int) -> None:
        """Forget the connection, which is closed."""
        if connection in self._protocols:
            self._protocols.end(connection)
            self._acks.closed(connection)

    def _takes_nothing(self, connection: int) -> None:
        limit = self.spec.send_timeout
        self.report(RequestTimedOut(self.listener, connection, "response", limit))

    async def _connect(self, connection: int, sock: socket.socket, first: bytes) -> None:
        """Read the PROXY header and start TLS, if the listener has them, then start HTTP."""
        client = None
        if self._proxy.expects(sock):
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
        await loop.connect_accepted_socket(
            lambda: self._protocol(self, connection, client, first), sock, **tls
        )

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
        for answer in self._running:
            if answer.task is not None:
                answer.task.cancel()
        await self._wait_tasks()
        self._running.clear()  # one that was cancelled before it began has not said that it ends

    async def _wait_tasks(self) -> None:
        if tasks := [answer.task for answer in self._running if answer.task is not None]:
            await asyncio.wait(tasks)


def _forwarded(spec: Asgi) -> ForwardedHeaders | None:
    return ForwardedHeaders(spec.forwarded_allow_ips) if spec.proxy_headers else None


def _affinity(policy: Policy) -> Affinity | None:
    return Affinity(policy.key) if isinstance(policy, Sticky) else None


def _node_of(system: object) -> str:
    """Return the name of this node; "" where there is no system around."""
    return str(getattr(getattr(system, "node", None), "name", ""))


def _keyless(listener: Listener) -> str:
    """Return the group whose nodes have no key to share clients by, until that has been reported."""
    return listener.nodes if key_of(listener.policy) is None else ""


def _nodes_of(system: object, group: str) -> int:
    """Return how many nodes of a group there are."""
    return sum(node.name.startswith(f"{group}/") for node in getattr(system, "nodes", ()))


def _http2(spec: Asgi) -> Any:
    """Return what serves a connection that may be one of HTTP/2."""
    try:
        from actors.routing.serving.protocol_choice import ProtocolChoice  # noqa: PLC0415 - h2 is optional
    except ImportError as error:
        why = f"http2=True needs {error.name}: pip install 'actors-framework[http2]'"
        raise HandlerUnfit(spec.app, why) from error
    return ProtocolChoice
