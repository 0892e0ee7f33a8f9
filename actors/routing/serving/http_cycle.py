"""One HTTP request and its response: what an ASGI application receives and sends.

Rule 1: a response is checked before its first byte is written, so what cannot be written is a 500.
Rule 2: the head is written together with the first part of the body, or at the end of the loop's turn.
Rule 3: `send` raises `ClientDisconnected` (an OSError, as ASGI 2.4 wants) once the client is gone.
Rule 4: an end that the application did not cause (a client that left, a drain) is not reported as its error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, Protocol

from actors.routing.serving.access_log import AccessLog
from actors.routing.serving.connection_owner import ConnectionOwner
from actors.routing.serving.file_body import FileBody
from actors.routing.serving.flow_control import FlowControl
from actors.routing.serving.response_head import (
    checked_header,
    error_response,
    header_line,
    informational,
    status_line,
)

__all__ = ["ClientDisconnected", "Cycle"]

_NO_BODY: Final = frozenset({204, 304})
_NONE, _ANNOUNCED, _DUE, _BEGUN = range(4)
"""Whether a response has trailers, whether its body is whole, whether some have been written."""
_TIMED_OUT: Final = error_response("504 Gateway Timeout")
_FAILED: Final = b"Internal Server Error"
_JOINED: Final = 16384
"""Bytes of a body up to which it is copied behind its head, rather than written by itself."""

_log: Final = logging.getLogger("uvicorn.error")


class ClientDisconnected(OSError):
    """The client is gone, so nothing can be sent to it."""


class Connection(Protocol):
    """The connection of a request, as the request sees it."""

    owner: ConnectionOwner
    transport: asyncio.Transport
    flow: FlowControl
    access_log: AccessLog | None

    def response_complete(self) -> None: ...


class Cycle:
    """A request and its response. The connection fills in the body.

    Args:
        http: the connection.
        scope: the scope that the application gets.
        keep_alive: whether another request may follow.
        chunks_known: whether the client knows chunked bodies, as HTTP/1.0 does not.
        expects_continue: whether the client waits for ``100 Continue`` before it sends the body.
    """

    __slots__ = (
        "_body",
        "_cancelled",
        "_changed",
        "_chunked",
        "_chunks_known",
        "_delivered",
        "_event_stream",
        "_expects_continue",
        "_head",
        "_heard",
        "_http",
        "_hung_up",
        "_left",
        "_owner",
        "_status",
        "_told",
        "_trailers",
        "_transport",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
        "task",
    )

    def __init__(
        self,
        http: Connection,
        scope: dict[str, Any],
        keep_alive: bool,  # noqa: FBT001 - made for every request, and keywords take longer
        chunks_known: bool,  # noqa: FBT001 - the same
        expects_continue: bool,  # noqa: FBT001 - the same
    ) -> None:
        self._http = http
        self._owner = http.owner
        self._transport = http.transport
        self.scope: dict[str, Any] = scope
        self.keep_alive: bool = keep_alive
        self._chunks_known = chunks_known
        self._expects_continue = expects_continue
        self.task: asyncio.Task[None] | None = None
        self._changed: asyncio.Event | None = None
        """Wakes `receive`; there is none before it has to wait."""
        # The request
        self._body: bytes | bytearray = b""
        self.more_body: bool = True
        self._delivered = False
        self.disconnected: bool = False
        self._hung_up = False
        self._cancelled = False
        # The response
        self._status = 0
        self._head: list[bytes] | None = None
        """The lines of a head that has not been written yet."""
        self.response_started: bool = False
        """Whether bytes of it have been written."""
        self.response_complete: bool = False
        self._chunked: bool | None = None
        """None as long as nothing says how the client will know the end of the body."""
        self._left = 0
        """Bytes of the body that are still to come; negative if it ends with the connection."""
        self._trailers = _NONE
        self._event_stream = False
        self._told = False
        """Whether an event stream has to end, because its node drains."""
        self._heard = False
        """Whether the application knows that it has to end."""

    # -- what the connection does -----------------------------------------------------------

    def feed(self, body: bytes) -> int:
        """Add a part of the request's body; return how much waits for the application."""
        if not self._body:
            self._body = body
        else:
            if not isinstance(self._body, bytearray):
                self._body = bytearray(self._body)
            self._body += body
        self.wake()
        return len(self._body)

    def feed_end(self) -> None:
        """Take note that the request's body is whole."""
        self.more_body = False
        if self._changed is not None:
            self.wake()

    def disconnect(self) -> None:
        """Have the application know that the client is gone."""
        self.disconnected = True
        self._head = None
        self.wake()

    def wake(self) -> None:
        """Have `receive` look again."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def hang_up(self) -> None:
        """Have the application receive ``http.disconnect``; it may still send its response."""
        self._hung_up = True
        self.wake()

    @property
    def is_event_stream(self) -> bool:
        """Whether the response is one that is meant to last."""
        return self._event_stream

    def time_out(self) -> None:
        """End it, because it takes too long: answer 504, or disconnect who has a part of the response."""
        began = self.response_started
        self.disconnect()
        if began:
            self._transport.abort()
        else:
            if self._http.access_log is not None:
                self._http.access_log.response(self.scope, HTTPStatus.GATEWAY_TIMEOUT)
            self._transport.write(_TIMED_OUT)
            self._transport.close()
        self._cancelled = True
        if self.task is not None:
            self.task.cancel()

    def end_event_stream(self) -> None:
        """If the response is an event stream, tell the application that it has to end.

        Browsers only GET what they would connect to again; other methods have an answer that comes in parts.
        """
        endless = self.scope["method"] == "GET" and (self._chunked or self._left < 0)
        if self._event_stream and endless and not (self._told or self.response_complete):
            self._told = True
            self.keep_alive = False
            self.hang_up()
            asyncio.get_running_loop().call_later(self._owner.notice, self._cancel_deaf)

    def _cancel_deaf(self) -> None:
        """Cancel the application if it neither receives nor sends, so that it cannot hear."""
        if not self._heard and not self.response_complete and self.task is not None:
            self._cancelled = True
            self.task.cancel()

    # -- the application --------------------------------------------------------------------

    async def run(self, app: Any) -> None:
        """Call the application and end what it left open."""
        try:
            try:
                result = await app(self.scope, self.receive, self.send)
            except BaseException as error:  # noqa: BLE001 - logged, and the next request is served
                await self._raised(error)
            else:
                if not self.response_complete or result is not None:
                    await self._returned(result)
        finally:
            self._owner.task_ends(self)

    async def _returned(self, result: object) -> None:
        if self.disconnected or self._end_stream():
            return
        if result is not None:
            _log.error("ASGI callable should return None, but returned '%s'.", result)
            self._write_held_head()
            self._transport.close()
        elif self._head is None and not self.response_started:
            _log.error("ASGI callable returned without starting response.")
            await self._send_500()
        else:
            if not self._hung_up:
                _log.error("ASGI callable returned without completing response.")
            self._write_held_head()
            self._transport.close()

    async def _raised(self, error: BaseException) -> None:
        cancelled = isinstance(error, asyncio.CancelledError)
        if not (cancelled and (self._cancelled or self._owner.aborting)) and not _client_gone(
            error
        ):
            _log.error("Exception in ASGI application\n", exc_info=error)
        if self.disconnected or self._end_stream():
            return
        if self.response_started:
            self._transport.close()
        else:
            await self._send_500()

    def _end_stream(self) -> bool:
        """Write the end of an event stream that this server told to end, so that it is not cut off."""
        if not self._told or self.response_complete:
            return False
        self._write_held_head()
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
        self._complete()
        return True

    async def _send_500(self) -> None:
        """Send a 500 and close the connection; a head that has not been written yet is dropped."""
        self._head = None
        self._status, self._chunked, self._left, self._trailers = 0, None, 0, _NONE
        self.keep_alive = False
        length = str(len(_FAILED)).encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", length)]
        with suppress(ClientDisconnected):  # it has left while this waited
            await self.send({"type": "http.response.start", "status": 500, "headers": headers})
            await self.send({"type": "http.response.body", "body": _FAILED})

    async def receive(self) -> dict[str, Any]:
        """Return the next part of the body, or ``http.disconnect``."""
        if self._expects_continue and not self._transport.is_closing():
            self._expects_continue = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not self._is_over():
            if self._body or not (self.more_body or self._delivered):
                body, self._body = bytes(self._body), b""
                self._delivered = not self.more_body
                return {"type": "http.request", "body": body, "more_body": self.more_body}
            self._http.flow.resume_reading()
            changed = self._changed = self._changed or asyncio.Event()
            await changed.wait()
        self._heard = True
        return {"type": "http.disconnect"}

    def _is_over(self) -> bool:
        """Whether `receive` has nothing more to return than ``http.disconnect``."""
        if self.disconnected or self.response_complete:
            return True
        return self._hung_up and (self._delivered or self.more_body)

    async def send(self, message: Any) -> None:
        """Write a message of the response."""
        flow = self._http.flow
        if flow.write_paused and not self.disconnected:
            await flow.wait_writable()
        if self.disconnected or self._told:
            self._heard = True
            raise ClientDisconnected("the client is gone" if self.disconnected else "told to end")
        kind = message["type"]
        if self.response_complete:
            why = "sent, after response already completed"
            raise RuntimeError(f"Unexpected ASGI message {kind!r} {why}.")
        if not self._status:
            self._before_response(kind, message)
        elif self._trailers >= _DUE:
            _expect("http.response.trailers", kind)
            more = message.get("more_trailers", False)
            self._write_trailers(message.get("headers", ()), more=more)
        elif kind == "http.response.pathsend":
            await self._send_file(message["path"])
        else:
            _expect("http.response.body", kind)
            self._write_body(message.get("body", b""), more=message.get("more_body", False))

    def _before_response(self, kind: str, message: Any) -> None:
        if kind == "http.response.start":
            self._start(message["status"], message.get("headers", ()))
            self._trailers = _ANNOUNCED if message.get("trailers") else _NONE
            return
        if kind == "http.response.early_hint":
            if self._chunks_known:  # HTTP/1.0 has only one response
                self._hint(message["links"])
            return
        _expect("http.response.start", kind)

    def _hint(self, links: Iterable[bytes]) -> None:
        self._transport.write(informational(103, [(b"link", link) for link in links]))

    # -- the response -----------------------------------------------------------------------

    @property
    def _has_no_body(self) -> bool:
        """Whether nothing of a body is written, whatever the application sends."""
        return self.scope["method"] == "HEAD" or self._status in _NO_BODY

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Check the head and keep it until the first part of the body, or the end of this turn."""
        lines = [status_line(status), self._owner.date.line]
        for name, value in headers:
            line, noted = header_line(name, value)
            if not noted or self._note_header(noted, value):
                lines.append(line)
        self._status = status
        self._head = lines
        self._owner.write_later(self)

    def _note_header(self, name: bytes, value: bytes) -> bool:
        """Record what a header says about the response; return whether it is written as it is."""
        if name == b"content-length":
            if self._chunked is None:
                self._left = _length(value)
                self._chunked = False
        elif name == b"transfer-encoding":
            if not self._chunks_known:
                return False
            if value.lower() == b"chunked":
                self._left, self._chunked = 0, True
        elif name == b"content-type":
            self._event_stream = True
        else:
            return self._note_connection(value)
        return True

    def _note_connection(self, value: bytes) -> bool:
        """Record whether this is the last response; if so, `_finished_head` writes the header."""
        if b"close" in map(bytes.strip, value.lower().split(b",")):
            self.keep_alive = False
        return self.keep_alive

    def write_held(self) -> None:
        """Write the head if it has not been written: the turn ends, and no body has come yet."""
        if self._head is not None and not self._transport.is_closing():
            self._write_held_head()

    def _write_held_head(self) -> None:
        if self._head is not None:
            self._transport.write(b"".join(self._finished_head(None)))

    def _finished_head(self, whole: int | None) -> list[bytes]:
        """Return the lines of the head, and take note that they are written now.

        Args:
            whole: the length of the body if all of it is known; None if more may come.
        """
        lines = self._head
        assert lines is not None
        self._head = None
        self.response_started = True
        if self._expects_continue and self.more_body:
            # The client may send its body or not: what comes next could be either.
            self.keep_alive = False
        self._expects_continue = False
        if self._chunked is None and not self._has_no_body:
            lines.append(self._body_header(whole))
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        log = self._http.access_log
        if log is not None:
            log.response(self.scope, self._status)
        if self._owner.draining:
            self.end_event_stream()
        return lines

    def _body_header(self, whole: int | None) -> bytes:
        """Return the header by which a client knows the end of a body whose length was not said."""
        if whole is not None and not self._trailers:
            self._chunked, self._left = False, whole
            return b"content-length: %d\r\n" % whole
        self._chunked = self._chunks_known
        if self._chunks_known:
            return b"transfer-encoding: chunked\r\n"
        self._left = -1  # it ends with the connection
        self.keep_alive = False
        return b""

    def _write_body(self, body: bytes, *, more: bool) -> None:
        size = _size(body)  # before the head is taken, so that the client gets a 500
        hidden = self._has_no_body
        if self._chunked is False and not hidden:
            self._count(size, more=more)
        head = [] if self._head is None else self._finished_head(None if more else size)
        if self._told:
            self._write(head)
            self._heard = True
            raise ClientDisconnected("told to end")
        end = b""
        if hidden:
            body = b""
        elif self._chunked:
            if body:
                head.append(b"%x\r\n" % size)
                end = b"\r\n"
            if not (more or self._trailers):
                end += b"0\r\n\r\n"
        self._write(head, body, end)
        if not more:
            self._end_body()

    def _end_body(self) -> None:
        if self._trailers:
            self._trailers = _DUE
        else:
            self._complete()

    def _count(self, size: int, *, more: bool) -> None:
        """Count the body of a response whose length is known.

        Raises:
            RuntimeError: it is longer or shorter than the head says; nothing of this part is written.
        """
        if self._left < 0:
            return
        if size > self._left:
            raise RuntimeError("Response content longer than Content-Length")
        if size < self._left and not more:
            raise RuntimeError("Response content shorter than Content-Length")
        self._left -= size

    def _write(self, head: list[bytes], body: bytes = b"", end: bytes = b"") -> None:
        """Write in one piece, unless copying the body behind its head would cost more."""
        write = self._transport.write
        if len(body) <= _JOINED:
            if whole := b"".join((*head, body, end)):
                write(whole)
            return
        if head:
            write(b"".join(head))
        write(body)
        if end:
            write(end)

    async def _send_file(self, path: str) -> None:
        """Write a file as the body."""
        flow = self._http.flow
        with FileBody(path) as file:
            if self._head is not None and self._chunked is None:
                self._head.append(self._length_line(file.size))
                self._chunked, self._left = False, file.size
            sent = 0
            async for part in file.parts():
                sent += len(part)
                self._write_body(part, more=sent < file.size)
                if flow.write_paused and not self.response_complete:
                    await flow.wait_writable()
                if self.disconnected:
                    raise ClientDisconnected("the client is gone")
            if not self.response_complete and self._trailers != _DUE:
                self._write_body(b"", more=False)  # it is empty, or has become shorter

    def _length_line(self, size: int) -> bytes:
        return b"content-length: %d\r\n" % size

    def _write_trailers(self, headers: Iterable[tuple[bytes, bytes]], *, more: bool) -> None:
        """Write headers that come after a body in chunks; other responses have no place for them."""
        out = []
        for name, value in headers:
            out += [checked_header(name, value), b": ", value, b"\r\n"]
        if self._chunked and not self._has_no_body:
            start = [] if self._trailers == _BEGUN else [b"0\r\n"]
            self._trailers = _BEGUN
            end = [] if more else [b"\r\n"]
            self._write([*start, *out, *end])
        if not more:
            self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        if self._changed is not None:
            self.wake()
        self._http.response_complete()


def _expect(wanted: str, kind: str) -> None:
    if kind != wanted:
        raise RuntimeError(f"Expected ASGI message {wanted!r}, but got {kind!r}.")


def _length(value: bytes) -> int:
    if not value.isdigit():
        raise RuntimeError(f"Invalid HTTP header value {value!r} of 'content-length'.")
    return int(value)


def _client_gone(error: BaseException) -> bool:
    """Whether *error* is what `send` raised, or what a framework made of that (``ClientDisconnect``)."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_client_gone, error.exceptions))
    before = error.__cause__
    if before is None and type(error).__name__.startswith("ClientDisconnect"):
        before = error.__context__
    return isinstance(error, ClientDisconnected) or (before is not None and _client_gone(before))


def _size(body: object) -> int:
    """Return the length of a part of a body.

    Raises:
        TypeError: it is no bytes; of text it says what to do.
    """
    if isinstance(body, str):
        raise TypeError(f"a body is bytes, got text: encode it; it begins {body[:20]!r}")
    return len(body)  # type: ignore[arg-type] # it says so itself
