"""One HTTP/2 stream: a request and its response, as its application sees them.

Rule 1: it is a `Cycle`; only what is written is another. What is no header of HTTP/2 (`connection` and the
like) is left out.
Rule 2: an application that sends waits while the client's window is closed, as for a client that does not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final, Protocol

from actors.routing.serving.access_log import AccessLog
from actors.routing.serving.connection_owner import ConnectionOwner
from actors.routing.serving.flow_control import READ_AHEAD
from actors.routing.serving.http_cycle import ClientDisconnected, Cycle
from actors.routing.serving.response_head import checked_header, header_line, status_line
from actors.routing.serving.send_watch import Unsent

__all__ = ["Fields", "Http2Cycle", "StreamPort", "StreamsOwner"]

Fields = list[tuple[bytes, bytes]]
_OF_CONNECTIONS: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_TIMED_OUT: Final = b"Gateway Timeout"


class StreamsOwner(Protocol):
    """The connection, as its streams see it."""

    owner: ConnectionOwner
    access_log: AccessLog | None

    @property
    def writable(self) -> bool:
        """Whether the socket takes more."""

    def is_closing(self) -> bool: ...
    def send_headers(self, stream: int, fields: Fields, *, end: bool) -> None: ...
    def send_pending(self, port: StreamPort) -> None:
        """Send what the windows allow of what *port* holds."""

    def acknowledge(self, stream: int, size: int) -> None:
        """Open the window of the client by what has been taken."""

    def reset(self, stream: int, *, cancelled: bool) -> None: ...
    def finished(self, port: StreamPort) -> None:
        """Forget the stream: its response has been sent, or it was reset."""


class StreamPort:
    """What a `Cycle` writes to and is held up by: a transport and a flow control, of one stream."""

    __slots__ = (
        "_http",
        "_writable",
        "access_log",
        "closed",
        "cycle",
        "ended",
        "flow",
        "number",
        "owner",
        "pending",
        "taken",
        "trailers",
        "transport",
        "unread",
    )

    def __init__(self, http: StreamsOwner, number: int) -> None:
        self._http = http
        self.number: int = number
        self.owner: ConnectionOwner = http.owner
        self.access_log: AccessLog | None = http.access_log
        self.transport: Any = self
        self.flow: Any = self
        self.cycle: Http2Cycle
        self.pending: bytearray = bytearray()
        """What of the body waits for the client's window."""
        self.taken: int = 0
        """How often some of that could be sent."""
        self.trailers: Fields = []
        self.ended: bool = False
        """Whether the response ends with what is pending."""
        self.closed: bool = False
        self.unread: int = 0
        """Bytes that have come and for which the client's window is still closed."""
        self._writable: asyncio.Event | None = None

    # -- as a transport ---------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self.closed or self._http.is_closing()

    def write(self, data: bytes) -> None:
        """Send a part of the body."""
        if not self.is_closing():
            self.pending += data
            self._http.send_pending(self)

    def end(self) -> None:
        """End the response behind what is pending."""
        if not (self.ended or self.is_closing()):
            self.ended = True
            self._http.send_pending(self)

    def close(self) -> None:
        """End a response that is not whole, so that the client sees that."""
        if not (self.closed or self.ended):
            self._http.reset(self.number, cancelled=False)

    def abort(self) -> None:
        """End it, whole or not."""
        if not self.closed:
            self._http.reset(self.number, cancelled=True)

    def unsent(self) -> Unsent:
        """Return what waits for the client's window."""
        return Unsent(len(self.pending), True, self.taken)

    def give_up(self) -> None:
        """End it: the client does not open its window."""
        self.abort()

    # -- as a flow control ------------------------------------------------------------------

    @property
    def write_paused(self) -> bool:
        """Whether what was written last has not been sent."""
        return not self.closed and (bool(self.pending) or not self._http.writable)

    async def wait_writable(self) -> None:
        """Wait until it has been sent, or the stream has ended."""
        while self.write_paused:
            if self._writable is None:
                self._writable = asyncio.Event()
            await self._writable.wait()

    def wake(self) -> None:
        """Have writers look again."""
        if self._writable is not None and not self.write_paused:
            self._writable.set()
            self._writable = None

    def resume_reading(self) -> None:
        """Let the client send more of the body: the application has taken what came."""
        size, self.unread = self.unread, 0
        if size:
            self._http.acknowledge(self.number, size)

    def received(self, data: bytes, size: int) -> None:
        """Take a part of the request's body, which takes *size* bytes of the window."""
        self.unread += size
        if self.closed or self.cycle.response_complete or self.cycle.feed(data) <= READ_AHEAD // 2:
            self.resume_reading()

    def close_now(self) -> None:
        """Take note that the stream has ended, or the connection."""
        self.closed = True
        self.pending.clear()
        if not self.cycle.response_complete:
            self.cycle.disconnect()
        self.wake()

    # -- what the cycle says ----------------------------------------------------------------

    def send_headers(self, fields: Fields, *, end: bool = False) -> None:
        """Send a head or trailers."""
        if not self.is_closing():
            self.ended = self.ended or end
            self._http.send_headers(self.number, fields, end=end)
            if end:
                self._http.finished(self)

    def response_complete(self) -> None:
        """Do nothing: the stream ends with the last byte that is sent."""


class Http2Cycle(Cycle):
    """A request and its response on one stream."""

    __slots__ = ("_fields", "_port")

    def __init__(self, port: StreamPort, scope: dict[str, Any], *, expects_continue: bool) -> None:
        super().__init__(
            port, scope, keep_alive=True, chunks_known=True, expects_continue=expects_continue
        )
        self._port = port
        self._fields: Fields = []

    async def receive(self) -> dict[str, Any]:
        """Return the next part of the body, or ``http.disconnect``."""
        if self._expects_continue:
            self._expects_continue = False
            self._port.send_headers([(b":status", b"100")])
        return await super().receive()

    def time_out(self) -> None:
        """End it, because it takes too long."""
        if self.response_started:
            self._port.abort()
        else:
            if self._port.access_log is not None:
                self._port.access_log.response(self.scope, 504)
            length = b"%d" % len(_TIMED_OUT)
            self._port.send_headers([(b":status", b"504"), (b"content-length", length)])
            self._port.write(_TIMED_OUT)
            self._port.end()
        self.disconnect()
        self._cancelled = True
        if self.task is not None:
            self.task.cancel()

    def _hint(self, links: Iterable[bytes]) -> None:
        self._port.send_headers([(b":status", b"103"), *((b"link", link) for link in links)])

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        status_line(status)  # it checks the status
        fields = [(b":status", b"%d" % status)]
        for line in self._owner.date.line.split(b"\r\n")[:-1]:
            name, _, value = line.partition(b": ")
            fields.append((name, value))
        for name, value in headers:
            lower, (_, noted) = checked_header(name, value), header_line(name, value)
            if noted in (b"content-length", b"content-type"):
                self._note_header(noted, value)
            if lower not in _OF_CONNECTIONS:
                fields.append((lower, value.strip()))
        self._status = status
        self._fields = fields
        self._head = []  # it has not been sent
        self._owner.write_later(self)

    def _write_held_head(self) -> None:
        if self._head is not None:
            self._send_head(end=False, whole=None)

    def _send_head(self, *, end: bool, whole: int | None) -> None:
        """Send the head, whose body is *whole* bytes long if that is known."""
        self._head = None
        self.response_started = True
        if self._chunked is None and not self._has_no_body:
            if whole is not None and not self._trailers:
                self._fields.append((b"content-length", b"%d" % whole))
            self._chunked = whole is None
            self._left = whole or 0
        log = self._port.access_log
        if log is not None:
            log.response(self.scope, self._status)
        self._port.send_headers(self._fields, end=end)
        if self._owner.draining:
            self.end_event_stream()

    def _length_line(self, size: int) -> bytes:
        self._fields.append((b"content-length", b"%d" % size))
        return b""

    def _write_body(self, body: bytes, *, more: bool) -> None:
        size, hidden = len(body), self._has_no_body
        if self._chunked is False and not hidden:
            self._count(size, more=more)
        last = not (more or self._trailers)
        if self._head is not None:
            self._send_head(end=last and (hidden or not size), whole=None if more else size)
        if self._told:
            self._heard = True
            raise ClientDisconnected("told to end")
        if size and not hidden:
            if last:
                self._port.ended = True
            self._port.write(body)
        elif last:
            self._port.end()
        if not more:
            self._end_body()

    def _write_trailers(self, headers: Iterable[tuple[bytes, bytes]], *, more: bool) -> None:
        fields = [(checked_header(name, value), value) for name, value in headers]
        if not self._has_no_body:
            self._port.trailers += fields
        if not more:
            self._port.end()
            self._complete()

    def _end_stream(self) -> bool:
        if not self._told or self.response_complete:
            return False
        self._write_held_head()
        self._port.end()
        self._complete()
        return True
