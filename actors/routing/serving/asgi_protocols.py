"""Uvicorn's HTTP and WebSocket protocols with time limits, sticky requests and clean refusals.

Rule 1: a client that keeps the server waiting for a head or a body is disconnected; one whose WebSocket
head is too long for the library gets an HTTP error.
Rule 2: a later request that belongs to another node is served, and the connection then closed.
Rule 3: the protocol that has the connection when it closes calls `ConnectionOwner.ended`.
Rule 4: a response may come before the request's body: the rest of that body is read and discarded.
"""

from __future__ import annotations

import asyncio
import re
import time
from array import array
from collections.abc import Iterator
from contextlib import suppress
from email.utils import formatdate
from fcntl import ioctl
from termios import FIONREAD
from typing import Any, Final, Protocol
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS

from actors.routing.events import RequestTimedOut
from actors.routing.interfaces import Report
from actors.routing.listen.listener import Asgi
from actors.routing.serving.affinity import Affinity
from actors.routing.serving.http_cycle import Cycle
from actors.routing.sticky.client_address import plain_address
from actors.routing.sticky.keys import Address

__all__ = ["Http", "State", "WebSocket"]


def _response(status: str, body: str = "") -> bytes:
    kind = "content-type: text/plain; charset=utf-8\r\n" * bool(body)
    head = f"HTTP/1.1 {status}\r\n{kind}content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return (head + body).encode()


_TIMED_OUT: Final = _response("408 Request Timeout")
_TOO_LONG: Final = _response("431 Request Header Fields Too Large")
_TARGET_TOO_LONG: Final = _response("414 URI Too Long")
_NO_WEBSOCKET: Final = _response("400 Bad Request")
_AGAIN: Final = 0.01
"""Seconds in which the loop reads what has come, before it is asked again who is late."""
_LINGER: Final = 1.0
"""Seconds for which a refused client may continue to send bytes, which are discarded."""
_HEAD_END: Final = b"\r\n\r\n"
_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")


class ConnectionOwner(Protocol):
    """The `AsgiServer`, as its connections see it; it imports this module."""

    spec: Asgi
    listener: str
    report: Report
    state: State
    app_state: dict[str, Any]
    affinity: Affinity | None
    draining: bool
    aborting: bool
    notice: float

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
        self.client = _client(self._proxied) or plain_address(self.client)
        self.server = plain_address(self.server)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # The library has refused the head; uvicorn would wait for another one forever.
            self.transport.write(b"".join(self.conn.data_to_send()) or _NO_WEBSOCKET)
            self.transport.close()

    async def run_asgi(self) -> None:
        app = self.app

        async def run(*args: Any) -> None:
            try:
                await app(*args)
            except asyncio.CancelledError:
                if not self._server.aborting:
                    raise

        self.app = run
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.accept" and self._server.draining:
            self.shutdown()

    def wind_down(self) -> None:
        """Tell the client to connect again (1012), unless it waits to be accepted: `send` does it then."""
        if self.handshake_complete and not self.close_sent:
            self.shutdown()

    def hang_up(self) -> None:
        """Do nothing: the application has been told already."""

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            super().connection_lost(exc)
        finally:
            self._server.ended(self._number)


class Http(HttpToolsProtocol):
    """Uvicorn's HTTP protocol with a limit on how long a client may keep it waiting."""

    cycle: Cycle | None  # type: ignore[assignment]  # None before the first request

    def __init__(self, server: ConnectionOwner, connection: int, proxied: Address = None) -> None:
        super().__init__(server.config, server.state, server.app_state)
        # Uvicorn's own answer looks at the handlers of the root logger, too.
        self.access_log = bool(self.access_logger.handlers)
        self._server = server
        self._number = connection
        self._proxied = proxied
        self._limits = {"head": server.spec.head_timeout, "body": server.spec.body_timeout}
        self._waiting_part = ""
        self._waiting_since = 0.0
        self._has_sent = False
        self._head_size = 0
        self._last_bytes = b""
        self._body_open = False
        """Whether the current request's head has come, and its body not yet."""
        self._body_left: int | None = None
        """Bytes of the body that have not come; None if it is sent in chunks."""
        self._running: Cycle | None = None
        """The request that the application answers; pipelined ones wait."""
        self._ended = False
        """Whether the client has finished sending, or its bytes are no longer read."""
        self._upgraded = False
        self._timer: asyncio.TimerHandle | None = None
        # Uvicorn calls it with arguments that the server has as well.
        self.ws_protocol_class = lambda **_: WebSocket(server, connection, proxied)  # type: ignore[assignment]

    @property
    def draining(self) -> bool:
        """Whether this node leaves."""
        return self._server.draining

    @property
    def aborting(self) -> bool:
        """Whether this server cancels what still runs."""
        return self._server.aborting

    @property
    def notice(self) -> float:
        """Seconds that an event stream has to end after it was told to."""
        return self._server.notice

    @property
    def _reads(self) -> bool:
        return not (self._ended or self._upgraded or self.transport.is_closing())

    @property
    def date_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of every response."""
        return self._server.state.default_headers

    # -- what the client sends --------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.client = _client(self._proxied) or plain_address(self.client)
        self.server = plain_address(self.server)
        self._server.set_protocol(self._number, self)
        self._wait_for("head")

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._has_sent = True
        for piece in self._pieces(data):
            self._feed(piece)
            if not self._reads:
                return
        part = self._waiting_for()
        if part != self._waiting_part:
            self._wait_for(part)
        elif part == "body":
            self._waiting_since = self.loop.time()

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """Cut *data* where a head or a body ends, so that heads are measured exactly."""
        while data:
            known = self._body_left if self._body_open else None
            size = known or self._size_of_head(data)
            piece, data = data[:size], data[size:]
            self._last_bytes = (self._last_bytes + piece[-3:])[-3:]
            yield piece

    def _size_of_head(self, data: bytes) -> int:
        """Return how much of *data* goes up to the end of a head, which may have begun before."""
        before = self._last_bytes
        at = (before + data[:3]).find(_HEAD_END)
        if at >= 0:
            return at + len(_HEAD_END) - len(before)
        at = data.find(_HEAD_END)
        return len(data) if at < 0 else at + len(_HEAD_END)

    def _feed(self, piece: bytes) -> None:
        """Parse a part of a head or a body; refuse heads, and what chunks are wrapped in, that are too long."""
        limit = self._server.spec.max_head
        in_body = self._body_open
        if not in_body or self._body_left is None:
            self._head_size += len(piece)
        if in_body or self._head_size <= limit:
            super().data_received(piece)
        if self._head_size > limit:  # `on_body` has set it to 0
            self._refuse(_TOO_LONG)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer what the client has asked before it ended its side; the end of TLS ends both sides."""
        running = self._running
        last = self.cycle
        if running is None or last is None or running.response_complete:
            return None
        if self._ended or self._body_open or self.scheme == "https":
            return None
        self._ended = True
        last.keep_alive = False
        waiting: list[Any] = [running, *(queued for queued, _ in self.pipeline)]
        for cycle in waiting:
            cycle.hang_up()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._unset_keepalive_if_required()
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
        try:
            super().connection_lost(exc)
        finally:
            self._server.ended(self._number)

    # -- what the parser finds --------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._unset_keepalive_if_required()
        super().on_message_begin()
        self.scope["asgi"]["spec_version"] = "2.4"

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._body_open:  # what follows the chunks of a body is no header of the request
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request, or queue it behind the one that is being answered."""
        scope = self.scope
        version = self.parser.get_http_version()
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        self._check_head(version)
        self._body_open = True
        self._head_size = 0
        if self.parser.should_upgrade() and self._should_upgrade():
            return
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["path"] = self.root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = self.root_path.encode("ascii") + url.path
        scope["query_string"] = url.query or b""
        before, cycle = self.cycle, Cycle(self)
        self.cycle = cycle
        if self._server.draining or (before is not None and self._belongs_elsewhere()):
            cycle.keep_alive = False
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self._chosen_app())
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self._chosen_app()))

    def _check_head(self, version: str) -> None:
        """Check the head: an error is answered 400. Record how long the body is."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and version == "1.1"):
            raise ValueError("a request has one Host")
        if hosts and not _HOST.fullmatch(hosts[0]):
            raise ValueError("a Host is a name or an address, and a port")
        lengths = [value for name, value in self.headers if name == b"content-length"]
        chunked = any(name == b"transfer-encoding" for name, _ in self.headers)
        self._body_left = None if chunked else int(lengths[0]) if lengths else 0
        if self._body_left != 0 and self.parser.should_upgrade():
            raise ValueError("a request to upgrade has no body")

    def _chosen_app(self) -> Any:
        limit, state = self.limit_concurrency, self.server_state
        if limit is None or max(len(state.connections), len(state.tasks)) < limit:
            return self.app
        self.logger.warning("Exceeded concurrency limit.")
        return service_unavailable

    def _start_asgi_task(self, cycle: Cycle, app: Any) -> None:  # type: ignore[override]
        self._running = cycle
        task = cycle.task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_body(self, body: bytes) -> None:
        self._head_size = 0
        if self._body_left is not None:
            self._body_left -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._body_open = False
        self._head_size = 0
        if self.parser.should_upgrade() and self._should_upgrade():
            return
        super().on_message_complete()
        if self.cycle is not None and self.cycle.response_complete:
            self._after_request()

    # -- after a response -------------------------------------------------------------------

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        running = self._running
        assert running is not None
        if self.pipeline and running.keep_alive:
            self._start_asgi_task(*self.pipeline.pop())  # type: ignore[arg-type]
        elif self._body_open and running is self.cycle:
            self._wait_for("body")
            if not running.keep_alive and self.transport.can_write_eof():
                self.transport.write_eof()  # the client sees the whole response while it still sends
        else:
            self._after_request()

    def _after_request(self) -> None:
        """Close the connection, or wait for the next request: all of this one has come and gone."""
        running = self._running
        if running is not None and not running.keep_alive:
            self.transport.close()
        else:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _refuse(self, response: bytes) -> None:
        """Send an error and close, after the responses that are due; read no more requests."""
        self._ended = True
        running, last = self._running, self.cycle
        if running is not None and last is not None and not running.response_complete:
            if not self._body_open:
                last.keep_alive = False
                return
            if running is last and not running.response_started:
                running.disconnected = True
                running.message_event.set()
            else:
                self.transport.close()
                return
        self.transport.write(response)
        if self.transport.can_write_eof():
            # What the client still sends is discarded for a while: a reset would take the error away.
            self.transport.write_eof()
            self._set_timer(_LINGER)
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer 400 to bytes that are not HTTP."""
        self._refuse(_response("400 Bad Request", msg))

    # -- the end of the node ----------------------------------------------------------------

    def wind_down(self) -> None:
        """Close the connection after the next response whose head has not been sent."""
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False
        if self._running is not None:
            self._running.end_event_stream()

    def shutdown(self) -> None:
        cycle = self.cycle
        if cycle is None or (cycle.response_complete and not self._body_open):
            if not self._has_unread():  # what is read now is served, and closes the connection
                self.transport.close()
        else:
            cycle.keep_alive = False

    def hang_up(self) -> None:
        """Tell the application that answers a request that there is little time left."""
        if self._running is not None and not self._running.response_complete:
            self._running.hang_up()

    # -- WebSockets and sticky keys ---------------------------------------------------------

    def handle_websocket_upgrade(self) -> None:
        self._upgraded = True
        refusal = self._websocket_refusal()
        if refusal is None:
            super().handle_websocket_upgrade()
        else:
            self.transport.write(refusal)
            self.transport.close()

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

    # -- time limits ------------------------------------------------------------------------

    def _waiting_for(self) -> str:
        """Return which part of a request the client has to send: "head", "body" or ""."""
        if not self._reads:
            return ""
        if self._body_open:
            return "body"
        if self.cycle is None or self.cycle.response_complete:
            return "head" if self.timeout_keep_alive_task is None else ""
        return ""

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
        if self._ended and not self._is_answering():
            self.transport.close()
            return
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
        if left <= 0 and self._has_unread() and not self.flow.read_paused:
            left = _AGAIN
        if left > 0:
            self._set_timer(left)
        else:
            self._time_out(part, limit)

    def timeout_keep_alive_handler(self) -> None:
        if self._has_unread() and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(
                _AGAIN, self.timeout_keep_alive_handler
            )
        else:
            super().timeout_keep_alive_handler()

    def _has_unread(self) -> bool:
        """Whether the client has sent what the loop has not read yet, as after a pause of this process.

        It is not late then: this process is. To close the connection would lose its request.
        """
        sock = self.transport.get_extra_info("socket")  # none where TLS or uvloop has just lost it
        if sock is None or sock.fileno() < 0 or self._ended:
            return False
        size = array("i", [0])
        with suppress(OSError):
            ioctl(sock.fileno(), FIONREAD, size)
        return size[0] > 0

    def _is_answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _time_out(self, part: str, limit: float) -> None:
        if self._has_sent:
            self._server.report(RequestTimedOut(self._server.listener, self._number, part, limit))
        if part == "head" and self._has_sent:
            self.transport.write(_TIMED_OUT)
        self.transport.close()


def _client(proxied: Address) -> tuple[str, int] | None:
    """Return the client that a PROXY header named, in the form of ASGI's `client`."""
    return (proxied[0], proxied[1]) if isinstance(proxied, tuple) else None
