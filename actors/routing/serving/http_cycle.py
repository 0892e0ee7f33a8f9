"""One HTTP request and its response: what an ASGI application receives and sends.

Rule 1: a response is checked before its first byte is written, so what cannot be written is a 500.
Rule 2: `send` raises `ClientDisconnected` (an OSError, as ASGI 2.4 wants) once the client is gone.
Rule 3: an end that the application did not cause (a client that left, a drain) is not reported as its error.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

from httptools import HttpRequestParser
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)
from uvicorn.protocols.utils import (
    ClientDisconnected,
    get_client_addr,
    get_path_with_query_string,
)

__all__ = ["Cycle"]

_NO_BODY: Final = frozenset({204, 304})
_EVENT_STREAM: Final = b"text/event-stream"
_FAILED: Final = b"Internal Server Error"


class HttpConnection(Protocol):
    """The connection of a request, as the request sees it."""

    transport: asyncio.Transport
    flow: FlowControl
    parser: HttpRequestParser
    scope: Any
    logger: Any
    access_logger: Any
    access_log: bool
    expect_100_continue: bool

    @property
    def draining(self) -> bool: ...
    @property
    def aborting(self) -> bool: ...
    @property
    def notice(self) -> float: ...
    @property
    def date_headers(self) -> list[tuple[bytes, bytes]]: ...
    def on_response_complete(self) -> None: ...


class Cycle(RequestResponseCycle):
    """A request and its response; uvicorn's protocol fills in the body."""

    def __init__(self, http: HttpConnection) -> None:
        version = http.parser.get_http_version()
        super().__init__(
            scope=http.scope,
            transport=http.transport,
            flow=http.flow,
            logger=http.logger,
            access_logger=http.access_logger,
            access_log=http.access_log,
            default_headers=http.date_headers,
            message_event=asyncio.Event(),
            expect_100_continue=http.expect_100_continue,
            keep_alive=version != "1.0" and http.parser.should_keep_alive(),
            on_response=http.on_response_complete,
        )
        self._http = http
        self._chunks_known = version != "1.0"
        self._delivered = False
        self._hung_up = False
        self._cancelled = False
        self._event_stream = False
        self._told = False
        """Whether an event stream has to end, because its node drains."""
        self._heard = False
        """Whether the application knows that it has to end."""
        self.task: asyncio.Task[None] | None = None

    # -- what the connection does -----------------------------------------------------------

    def hang_up(self) -> None:
        """Have the application receive ``http.disconnect``; it may still send its response."""
        self._hung_up = True
        self.message_event.set()

    def end_event_stream(self) -> None:
        """If the response is an event stream, tell the application that it has to end."""
        endless = self.chunked_encoding or self.expected_content_length < 0
        if self._event_stream and endless and not (self._told or self.response_complete):
            self._told = True
            self.keep_alive = False
            self.hang_up()
            asyncio.get_running_loop().call_later(self._http.notice, self._cancel_deaf)

    def _cancel_deaf(self) -> None:
        """Cancel the application if it neither receives nor sends, so that it cannot hear."""
        if not self._heard and not self.response_complete and self.task is not None:
            self._cancelled = True
            self.task.cancel()

    # -- the application --------------------------------------------------------------------

    async def run_asgi(self, app: Any) -> None:
        """Call the application and end what it left open."""
        error: BaseException | None = None
        try:
            result = await app(self.scope, self.receive, self.send)
        except BaseException as raised:  # noqa: BLE001 - as uvicorn: logged, and the next request served
            error = raised
        try:
            if error is None:
                await self._returned(result)
            else:
                await self._raised(error)
        finally:
            self.on_response = lambda: None

    async def _returned(self, result: object) -> None:
        if self.disconnected or self._end_stream():
            return
        if result is not None:
            self.logger.error("ASGI callable should return None, but returned '%s'.", result)
            self.transport.close()
        elif not self.response_started:
            self.logger.error("ASGI callable returned without starting response.")
            await self.send_500_response()
        elif not self.response_complete:
            if not self._hung_up:
                self.logger.error("ASGI callable returned without completing response.")
            self.transport.close()

    async def _raised(self, error: BaseException) -> None:
        cancelled = isinstance(error, asyncio.CancelledError)
        if not (cancelled and (self._cancelled or self._http.aborting)) and not _client_gone(error):
            self.logger.error("Exception in ASGI application\n", exc_info=error)
        if self.disconnected or self._end_stream():
            return
        if self.response_started:
            self.transport.close()
        else:
            await self.send_500_response()

    def _end_stream(self) -> bool:
        """Write the end of an event stream that this server told to end, so that it is not cut off."""
        if not self._told or self.response_complete:
            return False
        if self.chunked_encoding:
            self.transport.write(b"0\r\n\r\n")
        self._complete()
        return True

    async def send_500_response(self) -> None:
        """Send a 500 and close the connection."""
        length = str(len(_FAILED)).encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", length)]
        self.keep_alive = False
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": _FAILED, "more_body": False})

    async def receive(self) -> Any:
        """Return the next part of the body, or ``http.disconnect``."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not self._is_over():
            self.flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self._is_over():
            self._heard = True
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        self._delivered = not self.more_body
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def _is_over(self) -> bool:
        """Whether `receive` has nothing more to return than ``http.disconnect``."""
        hung_up = self._hung_up and (self._delivered or self.more_body)
        return self.disconnected or self.response_complete or hung_up

    async def send(self, message: Any) -> None:
        """Write a message of the response."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected or self._told:
            self._heard = True
            raise ClientDisconnected
        kind = message["type"]
        if self.response_complete:
            why = "sent, after response already completed"
            raise RuntimeError(f"Unexpected ASGI message {kind!r} {why}.")
        expected = "http.response.body" if self.response_started else "http.response.start"
        if kind != expected:
            raise RuntimeError(f"Expected ASGI message {expected!r}, but got {kind!r}.")
        if self.response_started:
            self._write_body(message.get("body", b""), more=message.get("more_body", False))
        else:
            self._write_head(message["status"], list(message.get("headers", ())))

    # -- the response -----------------------------------------------------------------------

    def _write_head(self, status: int, given: list[tuple[bytes, bytes]]) -> None:
        if self.waiting_for_100_continue and self.more_body:
            # The client may send its body or not: what comes next could be either.
            self.keep_alive = False
        lines = [STATUS_LINE[status]]
        closes = False
        for name, value in [*self.default_headers, *given]:
            lower = _checked(name, value)
            if lower != b"transfer-encoding" or self._chunks_known:
                lines += [lower, b": ", value, b"\r\n"]
                closes |= self._note_header(lower, value)
        if self.chunked_encoding is None and self.scope["method"] != "HEAD":
            lines += self._endless_body(status)
        if not self.keep_alive and not closes:
            lines.append(b"connection: close\r\n")
        self.waiting_for_100_continue = False
        self.response_started = True
        if self.access_log:
            self._log_access(status)
        self.transport.write(b"".join([*lines, b"\r\n"]))
        if self._http.draining:
            self.end_event_stream()

    def _endless_body(self, status: int) -> list[bytes]:
        """Return the header of a body whose length the application does not say, if it may have one."""
        if status in _NO_BODY:
            return []
        self.chunked_encoding = self._chunks_known
        if self._chunks_known:
            return [b"transfer-encoding: chunked\r\n"]
        self.expected_content_length = -1  # it ends with the connection
        return []

    def _note_header(self, name: bytes, value: bytes) -> bool:
        """Record what a header says about the response; return whether it closes the connection."""
        if name == b"content-length" and self.chunked_encoding is None:
            self.expected_content_length = int(value)
            self.chunked_encoding = False
        elif name == b"transfer-encoding" and value.lower() == b"chunked":
            self.expected_content_length = 0
            self.chunked_encoding = True
        elif name == b"content-type":
            self._event_stream = value.lower().startswith(_EVENT_STREAM)
        elif name == b"connection" and b"close" in map(bytes.strip, value.lower().split(b",")):
            self.keep_alive = False
            return True
        return False

    def _write_body(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
        elif self.chunked_encoding:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            self.transport.write(chunk if more else chunk + b"0\r\n\r\n")
        else:
            self._count(len(body))
            self.transport.write(body)
        if not more:
            if self.expected_content_length > 0:
                raise RuntimeError("Response content shorter than Content-Length")
            self._complete()

    def _count(self, size: int) -> None:
        """Count the body of a response whose length is known."""
        if self.expected_content_length < 0:
            return
        if size > self.expected_content_length:
            raise RuntimeError("Response content longer than Content-Length")
        self.expected_content_length -= size

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        self.on_response()

    def _log_access(self, status: int) -> None:
        scope = self.scope
        where = get_client_addr(scope), scope["method"], get_path_with_query_string(scope)
        text = '%s - "%s %s HTTP/%s" %d'
        self.access_logger.info(text, *where, scope["http_version"], status)


def _checked(name: bytes, value: bytes) -> bytes:
    """Return a header's name in lower case; refuse what could not be read as that header."""
    if HEADER_RE.search(name):
        raise RuntimeError(f"Invalid HTTP header name {name!r}.")
    if HEADER_VALUE_RE.search(value):
        raise RuntimeError(f"Invalid HTTP header value {value!r} of {name!r}.")
    return name.lower()


def _client_gone(error: BaseException) -> bool:
    """Whether *error* is what `send` raised, or what a framework made of that (``ClientDisconnect``)."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_client_gone, error.exceptions))
    before = error.__cause__
    if before is None and type(error).__name__.startswith("ClientDisconnect"):
        before = error.__context__
    return isinstance(error, ClientDisconnected) or (before is not None and _client_gone(before))
