"""Uvicorn's HTTP and WebSocket protocols with time limits, sticky requests and clean refusals.

Rule 1: a client that keeps the server waiting for a head or a body is disconnected; one whose WebSocket
head is too long for the library gets an HTTP error.
Rule 2: a later request that belongs to another node is served, and the connection then closed.
Rule 3: the protocol that has the connection when it closes calls `ConnectionOwner.ended`.
"""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import Any, Final, Protocol

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS

from actors.routing.events import RequestTimedOut
from actors.routing.interfaces import Report
from actors.routing.listen.listener import Asgi
from actors.routing.serving.affinity import Affinity
from actors.routing.sticky.keys import Address

__all__ = ["Http", "State", "WebSocket"]


def _response(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()


_TIMED_OUT: Final = _response("408 Request Timeout")
_TOO_LONG: Final = _response("431 Request Header Fields Too Large")
_TARGET_TOO_LONG: Final = _response("414 URI Too Long")
_NO_WEBSOCKET: Final = _response("400 Bad Request")


class ConnectionOwner(Protocol):
    """The `AsgiServer`, as its connections see it; it imports this module."""

    spec: Asgi
    listener: str
    report: Report
    state: State
    app_state: dict[str, Any]
    affinity: Affinity | None
    draining: bool

    @property
    def config(self) -> Config: ...
    def set_protocol(self, connection: int, protocol: Http | WebSocket) -> None: ...
    def ended(self, connection: int) -> None: ...


class State(ServerState):
    """State that uvicorn's protocols share; the date header is made at most once a second."""

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
        """Ignore the empty list that `ServerState` sets."""


class WebSocket(WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket protocol; it answers heads that the library refuses and reports its end."""

    def __init__(self, server: ConnectionOwner, connection: int, proxied: Address) -> None:
        super().__init__(server.config, server.state, server.app_state)
        self._server = server
        self._number = connection
        self._proxied = proxied
        server.set_protocol(connection, self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.client = _client(self._proxied) or self.client

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # The library has refused the head; uvicorn would wait for another one forever.
            self.transport.write(b"".join(self.conn.data_to_send()) or _NO_WEBSOCKET)
            self.transport.close()

    def wind_down(self) -> None:
        """Do nothing: `shutdown` closes the WebSocket."""

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            super().connection_lost(exc)
        finally:
            self._server.ended(self._number)


class Http(HttpToolsProtocol):
    """Uvicorn's HTTP protocol with a limit on how long a client may keep it waiting."""

    def __init__(self, server: ConnectionOwner, connection: int, proxied: Address = None) -> None:
        super().__init__(server.config, server.state, server.app_state)
        self._server = server
        self._number = connection
        self._proxied = proxied
        self._limits = {"head": server.spec.head_timeout, "body": server.spec.body_timeout}
        self._waiting_part = ""
        self._waiting_since = 0.0
        self._has_sent = False
        self._head_size = 0
        self._upgraded = False
        self._timer: asyncio.TimerHandle | None = None
        # Uvicorn calls it with arguments that the server has as well.
        self.ws_protocol_class = lambda **_: WebSocket(server, connection, proxied)  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.client = _client(self._proxied) or self.client
        self._server.set_protocol(self._number, self)
        self._wait_for("head")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._has_sent = True
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn's types say
        if not self._waiting_part and cycle and not (cycle.response_complete or cycle.more_body):
            self._head_size = 0
            return  # the common case: one whole request on a connection that has had others
        part = self._waiting_for()
        self._head_size = self._head_size + len(data) if part == "head" else 0
        if self._head_size > self._server.spec.max_head:
            self.transport.write(_TOO_LONG)
            self.transport.close()
        elif part != self._waiting_part:
            self._wait_for(part)
        elif part == "body":
            self._waiting_since = self.loop.time()

    def on_headers_complete(self) -> None:
        before: Any = self.cycle  # None before the first request, whatever uvicorn's types say
        super().on_headers_complete()
        if self.cycle is before:
            return
        if self._server.draining or (before is not None and self._belongs_elsewhere()):
            self.cycle.keep_alive = False

    def wind_down(self) -> None:
        """Close the connection after the next response whose head has not been sent."""
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn's types say
        if cycle is not None and not cycle.response_started:
            cycle.keep_alive = False

    def handle_websocket_upgrade(self) -> None:
        self._upgraded = True
        refusal = self._websocket_refusal()
        if refusal is None:
            super().handle_websocket_upgrade()
        else:
            self.transport.write(refusal)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            super().connection_lost(exc)
        finally:
            self._server.ended(self._number)

    def _belongs_elsewhere(self) -> bool:
        """Whether the router would give the current request to another node."""
        affinity = self._server.affinity
        if affinity is None or not affinity.per_request:
            return False
        lines = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)]
        lines += [b"%s: %s" % header for header in self.headers]
        head = b"\r\n".join([*lines, b"", b""])
        return affinity.belongs_elsewhere(head, self.client, self._proxied)

    def _websocket_refusal(self) -> bytes | None:
        """Return the HTTP error for a head that the WebSocket library would not read."""
        line = len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n")
        if line > MAX_LINE_LENGTH:
            return _TARGET_TOO_LONG
        longest = max((len(name) + len(value) for name, value in self.headers), default=0)
        if longest + len(": \r\n") > MAX_LINE_LENGTH or len(self.headers) > MAX_NUM_HEADERS:
            return _TOO_LONG
        return None

    def _waiting_for(self) -> str:
        """Return which part of a request the client has to send: "head", "body" or ""."""
        if self._upgraded or self.transport.is_closing():
            return ""
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn's types say
        if cycle is None or cycle.response_complete:
            return "head" if self.timeout_keep_alive_task is None else ""
        return "body" if cycle.more_body else ""

    def _wait_for(self, part: str) -> None:
        self._waiting_part = part
        if part:
            self._waiting_since = self.loop.time()
            self._set_timer(self._limits[part])

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._check_timer)

    def _check_timer(self) -> None:
        """Disconnect the client if it still has to send the part for which the timer was set."""
        self._timer = None
        part = self._waiting_for()
        if part != self._waiting_part:
            self._wait_for(part)
            return
        if not part:
            return
        limit = self._limits[part]
        if part == "body" and self.flow.read_paused:
            # The application does not read, so the client cannot send.
            self._waiting_since = self.loop.time()
        left = self._waiting_since + limit - self.loop.time()
        if left > 0:
            self._set_timer(left)
        else:
            self._time_out(part, limit)

    def _time_out(self, part: str, limit: float) -> None:
        if self._has_sent:
            self._server.report(RequestTimedOut(self._server.listener, self._number, part, limit))
        if part == "head" and self._has_sent:
            self.transport.write(_TIMED_OUT)
        self.transport.close()


def _client(proxied: Address) -> tuple[str, int] | None:
    """Return the client that a PROXY header named, in the form of ASGI's `client`."""
    return (proxied[0], proxied[1]) if isinstance(proxied, tuple) else None
