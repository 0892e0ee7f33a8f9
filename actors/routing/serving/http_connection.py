"""HTTP/1.1 for ASGI: one connection, its requests one after the other.

Rule 1: a client that keeps the server waiting for a head or a body is disconnected (`ClientTimer`).
Rule 2: a later request that belongs to another node is served, and the connection then closed.
Rule 3: the protocol that has the connection when it closes calls `ConnectionOwner.ended`.
Rule 4: a response may come before the request's body: the rest of that body is read and discarded.
Rule 5: pipelined requests are answered one after the other, in order; meanwhile nothing more is read.
"""

from __future__ import annotations

import asyncio
import logging
from array import array
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from fcntl import ioctl
from termios import FIONREAD
from typing import Any, Final
from urllib.parse import unquote

import httptools

from actors.routing.events import RequestTimedOut
from actors.routing.serving.access_log import AccessLog
from actors.routing.serving.client_timer import LAST_HEAD, ClientTimer, Part
from actors.routing.serving.connection_owner import ConnectionOwner
from actors.routing.serving.flow_control import READ_AHEAD, FlowControl
from actors.routing.serving.http_cycle import Cycle
from actors.routing.serving.request_head import (
    NOTED,
    ONCE,
    body_length,
    check_host,
    path_and_query,
    wanted_protocol,
)
from actors.routing.serving.response_head import error_response
from actors.routing.serving.socket_names import client_name, local_name
from actors.routing.serving.websocket import WebSocket, websocket_refusal
from actors.routing.sticky.keys import Address

__all__ = ["HttpConnection"]

_log: Final = logging.getLogger("uvicorn.error")

_INVALID: Final = error_response("400 Bad Request", "Invalid HTTP request received.")
_TIMED_OUT: Final = error_response("408 Request Timeout")
_TOO_LONG: Final = error_response("431 Request Header Fields Too Large")
_AGAIN: Final = 0.01
"""Seconds in which the loop reads what has come, before it is asked again who is late."""
_EXTENSIONS: Final[dict[str, dict[str, Any]]] = {
    "http.response.early_hint": {},
    "http.response.pathsend": {},
    "http.response.trailers": {},
}
_HEAD_END: Final = b"\r\n\r\n"
_CONNECTION: Final = b"connection"
_FORWARDED: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})


class HttpConnection(asyncio.Protocol):
    """One connection of an `AsgiServer`.

    Args:
        owner: the server.
        number: the number of the connection there.
        proxied: the client's address, if a PROXY header named it.
        first: what has been read of it already.
    """

    __slots__ = (
        "__weakref__",
        "_affinity",
        "_body_left",
        "_body_open",
        "_declining",
        "_ended",
        "_first",
        "_has_sent",
        "_head_size",
        "_headers",
        "_host",
        "_last_bytes",
        "_loop",
        "_noted",
        "_number",
        "_parser",
        "_pipeline",
        "_proxied",
        "_requests",
        "_running",
        "_scheme",
        "_server_name",
        "_shared",
        "_timer",
        "_upgrading",
        "_url",
        "_websocket",
        "access_log",
        "client",
        "cycle",
        "flow",
        "owner",
        "transport",
    )

    def __init__(
        self, owner: ConnectionOwner, number: int, proxied: Address = None, first: bytes = b""
    ) -> None:
        self.owner: ConnectionOwner = owner
        self.access_log: AccessLog | None = owner.access_log()
        self._number = number
        self._proxied = proxied
        self._first = first
        self._loop = asyncio.get_running_loop()
        self._timer = ClientTimer(self._loop, owner.limits, self._late)
        self._parser = _new_parser(self)
        self.cycle: Cycle | None = None
        """The request that came last; None when it is over and nothing more has come."""
        self._running: Cycle | None = None
        """The request that the application answers; pipelined ones wait."""
        self._pipeline: deque[tuple[Cycle, Any]] | None = None
        self._requests = 0
        self._has_sent = False
        self._ended = False
        """Whether the client has finished sending, or its bytes are no longer read."""
        # What is being parsed
        self._shared: dict[str, Any] = {}
        """What the scopes of all requests have in common."""
        self._affinity = owner.affinity
        self._host: bytes | None = None
        """The last Host that was found to be one."""
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._noted: dict[bytes, bytes] = {}
        self._head_size = 0
        self._last_bytes = b""
        self._body_open = False
        """Whether the current request's head has come, and its body not yet."""
        self._body_left: int | None = None
        """Bytes of the body that have not come; None if it is sent in chunks."""
        self._websocket: WebSocket | None = None
        """What has the connection from now on."""
        self._upgrading = False
        """Whether the current request asks for a WebSocket."""
        self._declining = False
        """Whether the current request asks for another protocol, which it does not get."""

    @property
    def _reads(self) -> bool:
        return not (self._ended or self._upgrading or self.transport.is_closing())

    # -- what the client sends --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop has its own classes
        self.flow: FlowControl = FlowControl(self.transport)
        self._scheme = "https" if self.owner.secure else "http"
        self.client: tuple[str, int] | None = client_name(transport, self._proxied)
        self._server_name = local_name(transport)
        self._shared = {
            "type": "http",
            "server": self._server_name,
            "client": self.client,
            "scheme": self._scheme,
            "root_path": self.owner.spec.root_path,
            "extensions": _EXTENSIONS,
        }
        self.owner.set_protocol(self._number, self)
        self._timer.wait_for("head")
        first, self._first = self._first, b""
        if first:
            self.data_received(first)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._has_sent = True
        size = len(data)
        if (
            not (self._body_open or self._head_size)
            and size <= self.owner.spec.max_head
            and data.find(_HEAD_END) == size - len(_HEAD_END)
        ):  # a whole head and nothing more, as most requests are
            self._head_size = size
            self._parse(data)
            running = self._running
            if running is not None and not (running.response_complete or self._body_open):
                self._timer.part = ""  # nothing is awaited while the application answers
                return
        else:
            for piece in self._pieces(data):
                if self._websocket is not None:
                    self._websocket.data_received(piece)
                elif self._reads:
                    self._feed(piece)
        if self._reads:
            self._reset_timer()

    def _reset_timer(self) -> None:
        part, timer = self._awaited(), self._timer
        if part != timer.part:
            timer.wait_for(part)
        elif part == "body":
            timer.moved()

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
        limit = self.owner.spec.max_head
        in_body = self._body_open
        if not in_body or self._body_left is None:
            self._head_size += len(piece)
        if in_body or self._head_size <= limit:
            self._parse(piece)
        if self._head_size > limit:  # `on_body` has set it to 0
            self._refuse(_TOO_LONG)

    def _parse(self, piece: bytes) -> None:
        asks_upgrade = False
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            asks_upgrade = True
        except httptools.HttpParserError:
            _log.warning("Invalid HTTP request received.")
            self._refuse(_INVALID)
        if asks_upgrade:
            self._upgrade()

    def _upgrade(self) -> None:
        """Give the connection to another protocol, or have the request be a plain one."""
        if self._upgrading:
            self._to_websocket()
            return
        _log.warning("Unsupported upgrade request.")
        if self._declining:
            # This parser expects no body. Another one, that knows of no upgrade, reads the head again.
            self._declining = False
            head = self._head(without=b"upgrade")
            self._forget_head()
            self._parser = _new_parser(self)
            self._parse(head)

    def eof_received(self) -> bool | None:
        """Answer what the client has asked before it ended its side; the end of TLS ends both sides."""
        running, last = self._running, self.cycle
        if running is None or last is None or running.response_complete:
            return None
        if self._ended or self._body_open or self.owner.secure:
            return None
        self._ended = True
        last.keep_alive = False
        running.hang_up()
        for cycle, _ in self._pipeline or ():
            cycle.hang_up()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self._timer.close()
        for cycle in (self._running, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnect()
        self._pipeline = None
        self.flow.resume_writing()
        del self._parser  # it holds this connection
        self.owner.ended(self._number)

    def pause_writing(self) -> None:
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        self.flow.resume_writing()

    # -- what the parser finds --------------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._body_open:  # what follows the chunks of a body is no header of the request
            return
        name = name.lower()
        if name in NOTED:
            if name in ONCE and name in self._noted:
                raise ValueError("a request has one Host, and one coding of its body")
            self._noted[name] = value
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start the request, or queue it behind the one that is being answered."""
        parser, noted = self._parser, self._noted
        keep_alive = parser.should_keep_alive()
        # HTTP/1.0 has to ask for it. (To ask for the version takes longer.)
        version = "1.1" if keep_alive and _CONNECTION not in noted else parser.get_http_version()
        asks_upgrade = parser.should_upgrade()
        if asks_upgrade and wanted_protocol(noted) != b"websocket":
            self._declining = True  # the parser expects no body; another one will call this again
            return
        self._check_head(version, asks_upgrade=asks_upgrade)
        scope = {} if asks_upgrade else self._scope(version)
        self._body_open = True
        self._head_size = 0
        if asks_upgrade:
            self._upgrading = True
            return
        expects = b"expect" in noted and noted[b"expect"].lower() == b"100-continue"
        known = version == "1.1"
        if self.owner.draining or (
            self._affinity is not None and self._requests and self._belongs_elsewhere()
        ):
            keep_alive = False
        before = self.cycle
        cycle = self.cycle = Cycle(self, scope, keep_alive and known, known, expects)
        self._requests += 1
        if before is None or before.response_complete:
            self._start(cycle, self.owner.chosen_app(), eager=True)
        else:
            self.flow.pause_reading()
            if self._pipeline is None:
                self._pipeline = deque()
            self._pipeline.append((cycle, self.owner.chosen_app()))

    def _check_head(self, version: str, *, asks_upgrade: bool) -> None:
        """Check the head: an error is answered 400. Record how long the body is."""
        noted = self._noted
        host = noted.get(b"host")
        if host != self._host or host is None:  # most clients send the same one with each request
            check_host(host, version)
            self._host = host
        self._body_left = body_length(noted, version)
        if asks_upgrade and (self._body_left != 0 or self._is_answering()):
            raise ValueError("a request to upgrade has no body, and no other request before it")

    def _scope(self, version: str) -> dict[str, Any]:
        scope = self._shared.copy()
        raw_path, query = path_and_query(self._url)
        path = raw_path.decode("ascii")
        if "%" in path:
            path = unquote(path)
        root = scope["root_path"]
        if root:
            path, raw_path = root + path, root.encode("ascii") + raw_path
        scope["asgi"] = {"version": "3.0", "spec_version": "2.4"}
        scope["http_version"] = version
        scope["method"] = self._parser.get_method().decode("ascii")
        scope["path"] = path
        scope["raw_path"] = raw_path
        scope["query_string"] = query
        scope["headers"] = self._headers
        scope["state"] = self.owner.app_state.copy()
        if not _FORWARDED.isdisjoint(self._noted) and self.owner.forwarded is not None:
            self.owner.forwarded.apply(scope)
        return scope

    def _start(self, cycle: Cycle, app: Any, *, eager: bool) -> None:
        self._running = cycle
        self.owner.start_task(cycle, cycle.run(app), eager=eager)

    def on_body(self, body: bytes) -> None:
        self._head_size = 0
        if self._body_left is not None:
            self._body_left -= len(body)
        cycle = self.cycle
        if self._upgrading or cycle is None or cycle.response_complete:
            return
        if cycle.feed(body) > READ_AHEAD:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        self._body_open = False
        self._head_size = 0
        if self._upgrading or self._declining:
            return
        self._forget_head()
        cycle = self.cycle
        if cycle is None:
            return
        if cycle.response_complete:
            self._after_request()
        else:
            cycle.feed_end()

    def _forget_head(self) -> None:
        """Make ready for the next request."""
        self._url = b""
        self._headers = []
        self._noted = {}

    # -- after a response -------------------------------------------------------------------

    def response_complete(self) -> None:
        """Start the next request, or wait for it; close if none may follow."""
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        running = self._running
        assert running is not None
        if self._pipeline and running.keep_alive:
            cycle, app = self._pipeline.popleft()
            self._start(cycle, app, eager=False)
        elif self._body_open and running is self.cycle:
            self._timer.wait_for("body")
            if not running.keep_alive and self.transport.can_write_eof():
                self.transport.write_eof()  # the client sees the whole response while it still sends
        else:
            self._after_request()

    def _after_request(self) -> None:
        """Close the connection, or wait for the next request: all of this one has come and gone."""
        running = self._running
        if running is not None and not running.keep_alive:
            self.transport.close()
        elif self._head_size:
            self._timer.wait_for("head")
        else:
            self._running = self.cycle = None  # with the scope: it may be long until the next one
            self._timer.wait_for("idle")

    def _refuse(self, response: bytes) -> None:
        """Send an error and close, after the responses that are due; read no more requests."""
        self._ended = True
        running, last = self._running, self.cycle
        if running is not None and last is not None and not running.response_complete:
            if not self._body_open:
                last.keep_alive = False
                return
            if running is last and not running.response_started:
                running.disconnect()
            else:
                self.transport.close()
                return
        self.transport.write(response)
        if self.transport.can_write_eof():
            # What the client still sends is discarded for a while: a reset would take the error away.
            self.transport.write_eof()
            self._timer.wait_for("linger")
        else:
            self.transport.close()

    # -- the end of the node ----------------------------------------------------------------

    def wind_down(self) -> None:
        """Close the connection after the next response whose head has not been sent."""
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False
        if self._running is not None:
            self._running.end_event_stream()

    def shutdown(self) -> None:
        """Close the connection: at once if it is idle, else after its response.

        A client that has just connected, or begun a head, is no idle one: its request is on the way.
        """
        cycle = self.cycle
        if cycle is None or (cycle.response_complete and not self._body_open):
            if self._has_unread():
                return  # what is read now is served, and closes the connection
            if not (self._timer.part == "head" and self._timer.shorten(LAST_HEAD)):
                self.transport.close()
        else:
            cycle.keep_alive = False

    def hang_up(self) -> None:
        """Tell the application that answers a request that there is little time left."""
        if self._is_answering():
            assert self._running is not None
            self._running.hang_up()

    def senders(self) -> tuple[FlowControl]:
        """Return what has something to send to the client."""
        return (self.flow,)

    # -- WebSockets and sticky keys ---------------------------------------------------------

    def _head(self, *, without: bytes = b"") -> bytes:
        """Return the current request's head as it came, but for the case of header names."""
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self._url, version)]
        lines += [b"%b: %b" % header for header in self._headers if header[0] != without]
        return b"\r\n".join([*lines, b"", b""])

    def _to_websocket(self) -> None:
        """Give the connection to the WebSocket protocol, which reads the head again."""
        method = self._parser.get_method()
        refusal = websocket_refusal(len(method) + len(self._url), self._headers)
        if refusal is not None:
            self.transport.write(refusal)
            self.transport.close()
            return
        self._timer.close()
        websocket = self._websocket = WebSocket(
            self.owner, self._number, self.client, self._server_name
        )
        websocket.connection_made(self.transport)
        self.transport.set_protocol(websocket)
        websocket.data_received(self._head())

    def _belongs_elsewhere(self) -> bool:
        """Whether the router would give the current request to another node."""
        affinity = self.owner.affinity
        if affinity is None or not affinity.per_request:
            return False
        return affinity.belongs_elsewhere(self._head(), self.client, self._proxied)

    # -- time limits ------------------------------------------------------------------------

    def _awaited(self) -> Part:
        """Return what the client has to send now."""
        if self._body_open:
            return "body"
        if self._is_answering():
            return ""
        if self._timer.part == "idle" and not self._head_size:
            return "idle"
        return "head"

    def _late(self, part: Part) -> None:
        """Disconnect the client, which has not sent in time what was awaited."""
        if self.transport.is_closing():
            return
        if part == "linger":
            if not self._is_answering():
                self.transport.close()
            return
        if part == "body" and self.flow.read_paused:
            self._timer.wait_for(part)  # the application does not read, so the client cannot send
        elif self._has_unread():
            self._timer.extend(_AGAIN)
        else:
            self._time_out(part)

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

    def _time_out(self, part: Part) -> None:
        if self._has_sent and part != "idle":
            if not self.owner.draining:  # then it had less time
                limit = self.owner.limits[part]
                self.owner.report(RequestTimedOut(self.owner.listener, self._number, part, limit))
            if part == "head":
                self.transport.write(_TIMED_OUT)
        self.transport.close()


def _new_parser(connection: HttpConnection) -> Any:
    parser = httptools.HttpRequestParser(connection)
    # What comes behind a request that closes the connection is no error: it is not read.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
