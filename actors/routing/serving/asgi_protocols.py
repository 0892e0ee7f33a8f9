"""Uvicorn's HTTP and WebSocket protocols, with the limits and the manners that ours have on top.

Rule 1: a client that keeps the server waiting, for a head or for a body, is cut off; one whose
WebSocket head is too long for the library behind is told so.
Rule 2: a later request that belongs to another node is served, and the connection then closed.
Rule 3: who ends says so: `Serving.ended`, once for each connection.
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


def _answer(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()


_TIMED_OUT: Final = _answer("408 Request Timeout")
_TOO_LONG: Final = _answer("431 Request Header Fields Too Large")
_TARGET_TOO_LONG: Final = _answer("414 URI Too Long")
_NO_WEBSOCKET: Final = _answer("400 Bad Request")


class Serving(Protocol):
    """What serves, as its connections see it."""

    spec: Asgi
    listener: str
    report: Report
    state: State
    app_state: dict[str, Any]
    affinity: Affinity | None

    @property
    def config(self) -> Config: ...
    @property
    def draining(self) -> bool: ...
    def changed(self, connection: int, protocol: Http | WebSocket) -> None: ...
    def ended(self, connection: int) -> None: ...


class State(ServerState):
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


class WebSocket(WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket protocol, which answers every head and tells when its connection is gone."""

    def __init__(self, server: Serving, connection: int, proxied: Address) -> None:
        super().__init__(server.config, server.state, server.app_state)
        self._server = server
        self._number = connection
        self._proxied = proxied
        server.changed(connection, self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.client = _client(self._proxied) or self.client

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # The library has refused the head, and uvicorn waits for one that will not come.
            self.transport.write(b"".join(self.conn.data_to_send()) or _NO_WEBSOCKET)
            self.transport.close()

    def wind_down(self) -> None:
        """Go on: `shutdown` tells the client to come again."""

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            super().connection_lost(exc)
        finally:
            self._server.ended(self._number)


class Http(HttpToolsProtocol):
    """Uvicorn's HTTP protocol with a limit on how long a client may keep it waiting."""

    def __init__(self, server: Serving, connection: int, proxied: Address = None) -> None:
        super().__init__(server.config, server.state, server.app_state)
        self._server = server
        self._number = connection
        self._proxied = proxied
        self._limits = {"head": server.spec.head_timeout, "body": server.spec.body_timeout}
        self._part = ""
        self._since = 0.0
        self._begun = False
        self._head_size = 0
        self._upgraded = False
        self._timer: asyncio.TimerHandle | None = None
        # Uvicorn calls it with its own arguments, which the server knows as well.
        self.ws_protocol_class = lambda **_: WebSocket(server, connection, proxied)  # type: ignore[assignment]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.client = _client(self._proxied) or self.client
        self._server.changed(self._number, self)
        self._wait_for("head")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._begun = True
        cycle: Any = self.cycle  # None before the first request, whatever uvicorn's types say
        if not self._part and cycle and not (cycle.response_complete or cycle.more_body):
            self._head_size = 0
            return  # the common case: one whole request on a connection that has had others
        part = self._waiting_for()
        self._head_size = self._head_size + len(data) if part == "head" else 0
        if self._head_size > self._server.spec.max_head:
            self.transport.write(_TOO_LONG)
            self.transport.close()
        elif part != self._part:
            self._wait_for(part)
        elif part == "body":
            self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        before: Any = self.cycle  # None before the first request, whatever uvicorn's types say
        super().on_headers_complete()
        if self.cycle is before:
            return
        if self._server.draining or (before is not None and self._belongs_elsewhere()):
            self.cycle.keep_alive = False

    def wind_down(self) -> None:
        """Have the client come again elsewhere, and say so with the next answer that can."""
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
        """Whether the router would give the present request to another node."""
        affinity = self._server.affinity
        if affinity is None or not affinity.per_request:
            return False
        lines = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)]
        lines += [b"%s: %s" % header for header in self.headers]
        head = b"\r\n".join([*lines, b"", b""])
        return affinity.elsewhere(head, self.client, self._proxied)

    def _websocket_refusal(self) -> bytes | None:
        """Return the answer to a head that the WebSocket library would not read."""
        line = len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n")
        if line > MAX_LINE_LENGTH:
            return _TARGET_TOO_LONG
        longest = max((len(name) + len(value) for name, value in self.headers), default=0)
        if longest + len(": \r\n") > MAX_LINE_LENGTH or len(self.headers) > MAX_NUM_HEADERS:
            return _TOO_LONG
        return None

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


def _client(proxied: Address) -> tuple[str, int] | None:
    """Return the client that a PROXY header named, as ASGI has it."""
    return (proxied[0], proxied[1]) if isinstance(proxied, tuple) else None
