"""WebSockets for ASGI, on the sans-I/O protocol of the websockets library.

Rule 1: `websocket.disconnect` comes once, with the code that ended the connection.
Rule 2: a client is read as fast as the application receives: one message ahead.
Rule 3: the first message of a turn of the loop is written at once. Those that follow within 5 ms are written
together at the end of the turn, so that many messages cost few system calls; what comes later is written at
once again, so that progress is seen while an application computes.
Rule 4: `send` raises `ClientDisconnected` once the client is gone or the close has been sent by either side.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Sequence
from http import HTTPStatus
from time import monotonic
from typing import Any, Final
from urllib.parse import unquote

from websockets.exceptions import InvalidState
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS, Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from actors.routing.serving.access_log import request_texts
from actors.routing.serving.connection_owner import ConnectionOwner
from actors.routing.serving.flow_control import FlowControl
from actors.routing.serving.http_cycle import ClientDisconnected
from actors.routing.serving.ping_timer import PingTimer
from actors.routing.serving.response_head import checked_header, error_response
from actors.routing.serving.socket_names import SocketName

__all__ = ["WebSocket", "websocket_refusal"]

_log: Final = logging.getLogger("uvicorn.error")

_CLOSE_TIMEOUT: Final = 10.0
"""Seconds a client has to answer a close."""
_GOING_AWAY: Final = 1012
_NO_CODE: Final = 1005
_ABNORMAL: Final = 1006
_BAD_TEXT: Final = 1007
_SMALL: Final = 512
"""Bytes of a message up to which it is not compressed: the time is worth more than the bytes."""
_SHORT: Final = 126
_LONG: Final = 1 << 16
_HOLD: Final = 0.005
"""Seconds after the first message of a turn during which those that follow are kept to be written together."""
_HELD: Final = 16384
"""Bytes of such messages that are kept at most."""

_TARGET_TOO_LONG: Final = error_response("414 URI Too Long")
_TOO_LONG: Final = error_response("431 Request Header Fields Too Large")
_BAD_REQUEST: Final = error_response("400 Bad Request")


def websocket_refusal(line: int, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """Return the HTTP error for a head that the WebSocket library would not read.

    Args:
        line: length of method and target.
        headers: the headers.
    """
    if line + len("  HTTP/1.1\r\n") > MAX_LINE_LENGTH:
        return _TARGET_TOO_LONG
    longest = max((len(name) + len(value) for name, value in headers), default=0)
    if longest + len(": \r\n") > MAX_LINE_LENGTH or len(headers) > MAX_NUM_HEADERS:
        return _TOO_LONG
    return None


class WebSocket(asyncio.Protocol):
    """One WebSocket connection, from its request on.

    Args:
        owner: the server.
        number: the number of the connection there.
        client: the client's address.
        server_name: the address of this side.
    """

    def __init__(
        self,
        owner: ConnectionOwner,
        number: int,
        client: tuple[str, int] | None,
        server_name: SocketName,
    ) -> None:
        self._owner = owner
        self._number = number
        self._client = client
        self._server_name = server_name
        deflate = ServerPerMessageDeflateFactory(
            server_max_window_bits=12, client_max_window_bits=12, compress_settings={"memLevel": 5}
        )
        self._conn = ServerProtocol(
            extensions=[deflate] if owner.spec.ws_deflate else [],
            max_size=owner.spec.ws_max_size,
            logger=_log,
        )
        self._pings = PingTimer(owner.spec, self._send_ping, self._no_pong)
        self._inbox: deque[dict[str, Any]] = deque()
        self._arrived: asyncio.Event | None = None
        self.task: asyncio.Task[None] | None = None
        self._parts: list[bytes] = []
        self._is_text = False
        self._response: Response | None = None
        """What accepts the handshake, once the request has come."""
        self._early = b""
        """What the client has sent before its handshake was answered."""
        self._denial: tuple[int, list[tuple[bytes, bytes]], bytearray] | None = None
        """The HTTP response by which the application refuses the handshake."""
        self._scope: dict[str, Any] = {}
        self._accepted = False
        self._answered = False
        """Whether the handshake has been answered, in whichever way."""
        self._close_sent = False
        self._disconnected = False
        self._told_disconnect = False
        self._close_timer: asyncio.TimerHandle | None = None
        self._held: list[bytes] = []
        """Messages to be written together at the end of the turn."""
        self._held_size = 0
        self._hold_until: float | None = None
        """When messages are no longer kept; None if none has been written in this turn."""

    # -- the transport ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop has its own classes
        self._flow = FlowControl(self.transport)
        self._owner.set_protocol(self._number, self)

    def data_received(self, data: bytes) -> None:
        if self._response is not None and not self._answered:
            self._early += data  # read once the handshake is answered
            self._flow.pause_reading()
            return
        conn = self._conn
        conn.receive_data(data)
        if conn.parser_exc is not None:
            self._fail()
            return
        if conn.handshake_exc is not None and self._response is None:
            # The library has refused the head.
            self.transport.write(b"".join(conn.data_to_send()) or _BAD_REQUEST)
            self.transport.close()
            return
        for event in conn.events_received():
            if isinstance(event, Request):
                self._requested(event)
            else:
                self._received(event)

    def pause_writing(self) -> None:
        self._flow.pause_writing()

    def resume_writing(self) -> None:
        self._flow.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self._pings.stop()
        self._disconnect(_NO_CODE if self._accepted else _ABNORMAL)
        self._disconnected = self._answered = True
        self._flow.resume_writing()
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        self._owner.ended(self._number)

    def _flush(self) -> None:
        """Write what the library has made, behind the messages that are kept."""
        self._held += self._conn.data_to_send()
        self._write_now()

    def _write(self, frame: bytes) -> None:
        """Write a message, or keep it if this turn has had one already."""
        if self._hold_until is None:
            self._hold_until = monotonic() + _HOLD
            self._owner.write_later(self)
            self.transport.write(frame)
            return
        self._held.append(frame)
        self._held_size += len(frame)
        now = monotonic()
        if self._held_size > _HELD or now > self._hold_until:
            self._hold_until = now + _HOLD
            self._write_now()

    def _write_now(self) -> None:
        out, self._held, self._held_size = b"".join(self._held), [], 0
        if out:
            self.transport.write(out)

    def write_held(self) -> None:
        """Write the messages that are kept: the turn ends."""
        self._hold_until = None
        if self._held and not self._disconnected:
            self._write_now()

    # -- what the client sends --------------------------------------------------------------

    def _requested(self, request: Request) -> None:
        response = self._response = self._conn.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._answer(response)
            return
        self._owner.websocket_opened()
        self._scope = self._new_scope(request)
        self._put({"type": "websocket.connect"})
        self._owner.start_task(self, self._run())

    def _new_scope(self, request: Request) -> dict[str, Any]:
        root = self._owner.spec.root_path
        path, _, query = request.path.partition("?")
        protocols = [
            name.strip()
            for line in request.headers.get_all("Sec-WebSocket-Protocol")
            for name in line.split(",")
        ]
        scope: dict[str, Any] = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if self._owner.secure else "ws",
            "server": self._server_name,
            "client": self._client,
            "root_path": root,
            "path": root + unquote(path),
            "raw_path": (root + path).encode("utf-8", "surrogateescape"),
            "query_string": query.encode("utf-8", "surrogateescape"),
            "headers": [_as_bytes(name, value) for name, value in request.headers.raw_items()],
            "subprotocols": protocols,
            "state": self._owner.app_state.copy(),
            "extensions": {"websocket.http.response": {}},
        }
        if self._owner.forwarded is not None:
            self._owner.forwarded.apply(scope)
        return scope

    def _received(self, frame: Any) -> None:
        assert isinstance(frame, Frame)
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._is_text = opcode is Opcode.TEXT
            self._parts = [frame.data]  # type: ignore[list-item] # bytes, or a view of them
            if frame.fin:
                self._message()
        elif opcode is Opcode.CONT:
            self._parts.append(frame.data)  # type: ignore[arg-type] # the same
            if frame.fin:
                self._message()
        elif opcode is Opcode.PING:
            self._flush()  # the pong
        elif opcode is Opcode.PONG:
            self._pings.answered(bytes(frame.data))
        else:
            self._closed_by_client()

    def _message(self) -> None:
        parts, self._parts = self._parts, []
        if self._close_sent:
            return  # it is read on for the answer to the close
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if not self._is_text:
            self._put({"type": "websocket.receive", "bytes": bytes(data)})
        else:
            try:
                text = bytes(data).decode()
            except UnicodeDecodeError:
                self._conn.send_close(_BAD_TEXT)
                self._fail()
                return
            self._put({"type": "websocket.receive", "text": text})
        self._flow.pause_reading()

    def _closed_by_client(self) -> None:
        if self._close_sent:
            # The client has answered our close.
            if self._close_timer is not None:
                self.transport.close()
        elif not self.transport.is_closing():
            received = self._conn.close_rcvd
            assert received is not None
            self._disconnect(received.code, received.reason)
            self._flush()
            self.transport.close()

    def _fail(self) -> None:
        """End a connection whose client has broken the protocol; the library has made the close."""
        sent = self._conn.close_sent
        if sent is not None:
            self._disconnect(sent.code, sent.reason)
        self._flush()
        self._close_sent = True
        self.transport.close()

    # -- pings ------------------------------------------------------------------------------

    def _send_ping(self, payload: bytes) -> bool:
        if self._close_sent or self.transport.is_closing():
            return False
        self._conn.send_ping(payload)
        self._flush()
        return True

    def _no_pong(self) -> None:
        if not (self._close_sent or self.transport.is_closing()):
            self._conn.fail(1011, "keepalive ping timeout")
            self._flush()
            self._close_sent = True
            self.transport.close()

    # -- the end of the node ----------------------------------------------------------------

    def wind_down(self) -> None:
        """Tell the client to connect again (1012), unless it waits to be accepted: `send` does it then."""
        if self._accepted and not self._close_sent:
            self.shutdown()

    def senders(self) -> tuple[FlowControl]:
        """Return what has something to send to the client."""
        return (self._flow,)

    def hang_up(self) -> None:
        """Do nothing: the application has been told already."""

    def shutdown(self) -> None:
        """Close the connection now, with 1012 or a refused handshake."""
        self._pings.stop()
        if self._accepted and not self._close_sent:
            self._disconnect(_GOING_AWAY)
            self._conn.send_close(_GOING_AWAY)
            self._flush()
            self._close_sent = True
        elif not self._answered:
            self._refuse_500()
        self.transport.close()

    # -- the application --------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            result = await self._owner.app(self._scope, self.receive, self.send)
        except BaseException as error:  # noqa: BLE001 - logged; the connection ends
            self._raised(error)
        else:
            self._returned(result)
        finally:
            self._owner.task_ends(self)
            if self._close_timer is None:
                self.write_held()
                self.transport.close()

    def _raised(self, error: BaseException) -> None:
        aborted = isinstance(error, asyncio.CancelledError) and self._owner.aborting
        if not aborted and not isinstance(error, ClientDisconnected):
            _log.error("Exception in ASGI application\n", exc_info=error)
            self._refuse_500()

    def _returned(self, result: object) -> None:
        if not self._answered:
            _log.error("ASGI callable returned without completing handshake.")
            self._refuse_500()
        elif result is not None:
            _log.error("ASGI callable should return None, but returned '%s'.", result)

    async def receive(self) -> dict[str, Any]:
        """Return the next message; after the last one, ``websocket.disconnect`` again and again."""
        while not self._inbox:
            self._arrived = self._arrived or asyncio.Event()
            await self._arrived.wait()
        if len(self._inbox) == 1 and self._told_disconnect:
            return self._inbox[0]
        message = self._inbox.popleft()
        if not self._inbox:
            self._flow.resume_reading()
        return message

    def _put(self, message: dict[str, Any]) -> None:
        self._inbox.append(message)
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    def _disconnect(self, code: int, reason: str | None = None) -> None:
        if not self._told_disconnect:
            self._told_disconnect = True
            message: dict[str, Any] = {"type": "websocket.disconnect", "code": code}
            if reason is not None:
                message["reason"] = reason
            self._put(message)

    async def send(self, message: Any) -> None:
        """Write a message of the application."""
        if self._flow.write_paused:
            await self._flow.wait_writable()
        if self._disconnected or (self.transport.is_closing() and not self._answered):
            raise ClientDisconnected("the client is gone")
        kind = message["type"]
        if self._denial is not None:
            self._send_denial(kind, message)
        elif not self._answered:
            self._answer_handshake(kind, message)
        elif self._close_sent:
            raise self._after_close(kind)
        elif kind == "websocket.send":
            self._send_message(message)
        elif kind == "websocket.close":
            self._send_close(message.get("code", 1000), message.get("reason", "") or "")
        else:
            raise RuntimeError(
                f"Expected ASGI message 'websocket.send' or 'websocket.close', but got {kind!r}."
            )

    def _after_close(self, kind: str) -> Exception:
        """Return the error of a message that comes after the close, whoever has closed."""
        if self._close_timer is None:
            return ClientDisconnected("this server has closed the connection")
        return RuntimeError(f"Unexpected ASGI message {kind!r}, after sending 'websocket.close'.")

    def _send_message(self, message: Any) -> None:
        data = message.get("bytes")
        is_text = data is None
        if is_text:
            text = message.get("text")
            if text is None:
                raise RuntimeError("websocket.send has neither 'bytes' nor 'text'")
            data = text.encode()
        conn = self._conn
        if conn.state is OPEN and (len(data) <= _SMALL or not conn.extensions):
            self._write(_frame(data, is_text=is_text))
            return
        try:
            if is_text:
                conn.send_text(data)
            else:
                conn.send_binary(data)
        except InvalidState:
            raise ClientDisconnected("the client is gone") from None
        self._write(b"".join(conn.data_to_send()))

    def _send_close(self, code: int, reason: str) -> None:
        if self.transport.is_closing():
            return
        try:
            self._conn.send_close(code, reason)
        except InvalidState:
            raise ClientDisconnected("the client is gone") from None
        self._disconnect(code, reason)
        self._flush()
        self._close_sent = True
        self._flow.resume_reading()
        loop = asyncio.get_running_loop()
        self._close_timer = loop.call_later(_CLOSE_TIMEOUT, self.transport.close)

    # -- the handshake ----------------------------------------------------------------------

    def _answer_handshake(self, kind: str, message: Any) -> None:
        headers = list(message.get("headers", ()))
        if kind == "websocket.accept":
            self._log_answer("[accepted]")
            self._accept(headers, message.get("subprotocol"))
        elif kind == "websocket.close":
            self._log_answer("403")
            self._disconnect(_ABNORMAL)
            self._answer(self._conn.reject(HTTPStatus.FORBIDDEN, ""))
        elif kind == "websocket.http.response.start":
            status = message["status"]
            if not 200 <= status < 600:  # noqa: PLR2004 - the final ones
                raise RuntimeError(f"the status of a response is 200 to 599, got {status!r}")
            self._log_answer(str(status))
            self._denial = (status, headers, bytearray())
        else:
            raise RuntimeError(
                "Expected ASGI message 'websocket.accept', 'websocket.close' "
                f"or 'websocket.http.response.start' but got {kind!r}."
            )

    def _accept(self, headers: list[tuple[bytes, bytes]], subprotocol: str | None) -> None:
        response = self._response
        assert response is not None
        for name, value in headers:
            lower = checked_header(name, value)
            response.headers[lower.decode("latin-1")] = value.decode("latin-1")
        if subprotocol:
            checked_header(b"sec-websocket-protocol", subprotocol.encode())
            response.headers["Sec-WebSocket-Protocol"] = subprotocol
        if self.transport.is_closing():
            return
        self._accepted = self._answered = True
        self._conn.send_response(response)
        self._flush()
        if self._owner.draining:
            self.shutdown()
            return
        self._pings.start()
        if self._early:
            early, self._early = self._early, b""
            self._flow.resume_reading()
            self.data_received(early)

    def _send_denial(self, kind: str, message: Any) -> None:
        assert self._denial is not None
        if self._answered:
            raise RuntimeError(
                f"Unexpected ASGI message {kind!r}, after the response was complete."
            )
        if kind != "websocket.http.response.body":
            raise RuntimeError(
                f"Expected ASGI message 'websocket.http.response.body' but got {kind!r}."
            )
        status, headers, body = self._denial
        body += message.get("body", b"")
        if message.get("more_body", False):
            return
        phrase = HTTPStatus(status).phrase if status in _STATUSES else ""
        lines = [b"HTTP/1.1 %d %b\r\n" % (status, phrase.encode()), self._owner.date.line]
        given = {b"connection", b"content-length"}
        for name, value in headers:
            lower = checked_header(name, value)
            if lower not in given:
                lines += [lower, b": ", value, b"\r\n"]
        lines.append(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
        self._disconnect(_ABNORMAL)
        self._answered = self._close_sent = True
        self.transport.write(b"".join([*lines, bytes(body)]))
        self.transport.close()

    def _refuse_500(self) -> None:
        if not self._answered:  # the response of a denial is written when it is whole
            self._answer(self._conn.reject(500, "Internal Server Error"))

    def _answer(self, response: Response) -> None:
        """Send an HTTP response instead of a WebSocket."""
        self._answered = self._close_sent = True
        self._conn.send_response(response)
        self._flush()
        self.transport.close()

    def _log_answer(self, outcome: str) -> None:
        where, path = request_texts(self._scope)
        _log.info('%s - "WebSocket %s" %s', where, path, outcome)


_STATUSES: Final = frozenset(status.value for status in HTTPStatus)


def _as_bytes(name: str, value: str) -> tuple[bytes, bytes]:
    return name.encode("ascii"), value.encode("latin-1", "surrogateescape")


def _frame(data: bytes, *, is_text: bool) -> bytes:
    """Return a message as one frame, not compressed (RFC 7692 leaves the choice)."""
    first = 0x81 if is_text else 0x82
    size = len(data)
    if size < _SHORT:
        return bytes((first, size)) + data
    if size < _LONG:
        return struct.pack("!BBH", first, _SHORT, size) + data
    return struct.pack("!BBQ", first, _SHORT + 1, size) + data
