"""HTTP/2 for ASGI: one connection and its streams, by the h2 library.

Rule 1: requests run beside each other, each in a task of its own, at most `STREAMS` of a connection; a stream
that was reset counts until its task has ended.
Rule 2: what a client may do beside requests is limited (`Tokens`); a head is limited by `max_head`.
Rule 3: one write for each turn of the loop. While the socket takes no more, nothing is read.
Rule 4: at the end of the node the client hears it twice: GOAWAY with the highest number, so that it begins no
more here, and at the end GOAWAY with the last one that was served.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    PingReceived,
    PriorityUpdated,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from actors.routing.serving.access_log import AccessLog
from actors.routing.serving.client_timer import LAST_HEAD, ClientTimer, Part
from actors.routing.serving.connection_owner import ConnectionOwner
from actors.routing.serving.http2_limits import Tokens
from actors.routing.serving.http2_stream import Fields, Http2Cycle, StreamPort
from actors.routing.serving.request_head import check_host
from actors.routing.serving.send_watch import Sender, Unsent, waiting_bytes
from actors.routing.serving.socket_names import client_name, local_name
from actors.routing.sticky.keys import Address

__all__ = ["STREAMS", "Http2Connection"]

_log: Final = logging.getLogger("uvicorn.error")

STREAMS: Final = 100
_WINDOW: Final = 1 << 20
"""Bytes of bodies that one connection holds for applications that do not read them."""
_HIGHEST: Final = (1 << 31) - 1
_EXTENSIONS: Final[dict[str, dict[str, Any]]] = {
    "http.response.early_hint": {},
    "http.response.pathsend": {},
    "http.response.trailers": {},
}
_REQUEST: Final = -10.0
"""Tokens of a request: it gives some back, for the frames that come with it."""
_RESET: Final = 12.0
"""More than a request gives back: a client may not go on for ever asking and not waiting for the answer."""
_FRAME_SENT: Final = -2.0


class Http2Connection(asyncio.Protocol):
    """One connection of an `AsgiServer`.

    Args:
        owner: the server.
        number: the number of the connection there.
        proxied: the client's address, if a PROXY header named it.
    """

    def __init__(self, owner: ConnectionOwner, number: int, proxied: Address = None) -> None:
        self.owner: ConnectionOwner = owner
        self.access_log: AccessLog | None = owner.access_log()
        self._number = number
        self._proxied = proxied
        self._loop = asyncio.get_running_loop()
        self._timer = ClientTimer(self._loop, owner.limits, self._late)
        self._tokens = Tokens(self._loop.time())
        self._h2 = _state_machine(owner.spec.max_head)
        self._ports: dict[int, StreamPort] = {}
        """Streams whose responses have not been sent."""
        self._running: set[Http2Cycle] = set()
        """Requests whose tasks have not ended."""
        self._acts: dict[type, Callable[[Any], object]] = {
            ConnectionTerminated: self._terminated,
            DataReceived: self._data,
            PingReceived: lambda _event: self._charge(),
            PriorityUpdated: lambda _event: self._charge(),
            RemoteSettingsChanged: self._window_updated,
            RequestReceived: self._request_received,
            StreamEnded: self._stream_ended,
            StreamReset: self._stream_reset,
            WindowUpdated: self._window_updated,
        }
        self._flushing = False
        self.writable: bool = True
        self._taken = 0
        self._leaving = False
        self._last = 0
        """The number of the last stream that was served."""

    # -- the transport ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop has its own classes
        self._scheme = "https" if self.owner.secure else "http"
        self.client: tuple[str, int] | None = client_name(transport, self._proxied)
        self._server_name = local_name(transport)
        self.owner.set_protocol(self._number, self)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW)
        if self.owner.draining:
            self.wind_down()
        self._flush()
        self._timer.wait_for("head")

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        try:
            for event in self._h2.receive_data(data):
                self._take(event)
                if self.transport.is_closing():
                    return
        except ProtocolError as error:
            _log.warning("Invalid HTTP/2 request received.")
            _log.debug("HTTP/2: %s", error)
            self._flush()
            self.transport.close()
            return
        self._flush()
        self._reset_timer()

    def eof_received(self) -> None:
        """Close: a client that ends its side reads no response."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self._timer.close()
        ports, self._ports = self._ports, {}
        for port in ports.values():
            port.close_now()
        self.owner.ended(self._number)

    def pause_writing(self) -> None:
        self.writable = False
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.writable = True
        self._taken += 1
        self.transport.resume_reading()
        self._send_all_pending()
        self._flush()

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def _flush(self) -> None:
        self._flushing = False
        if (data := self._h2.data_to_send()) and not self.transport.is_closing():
            self.transport.write(data)

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    # -- what the client sends --------------------------------------------------------------

    def _take(self, event: Any) -> None:
        act = self._acts.get(type(event))
        if act is not None:
            act(event)

    def _request_received(self, event: RequestReceived) -> None:
        whole = event.stream_ended is not None
        self._request(event.stream_id, event.headers, whole=whole)

    def _stream_ended(self, event: StreamEnded) -> None:
        port = self._ports.get(event.stream_id)
        if port is not None:
            port.cycle.feed_end()

    def _stream_reset(self, event: StreamReset) -> None:
        self._charge(_RESET)
        self._forget(event.stream_id)

    def _window_updated(self, _event: WindowUpdated | RemoteSettingsChanged) -> None:
        self._charge()
        self._send_all_pending()

    def _terminated(self, _event: ConnectionTerminated) -> None:
        """Close: nothing can be sent behind the client's GOAWAY, says the library."""
        self.transport.close()

    def _charge(self, count: float = 1.0) -> None:
        """Take tokens; disconnect a client that has none left."""
        if not self._tokens.take(self._loop.time(), count) and not self.transport.is_closing():
            _log.warning("HTTP/2 client disconnected: too many frames that are no request.")
            self._go_away(self._last, ErrorCodes.ENHANCE_YOUR_CALM)
            self.transport.close()

    def _data(self, event: DataReceived) -> None:
        size = event.flow_controlled_length or 0
        if not event.data:
            self._charge()
        port = self._ports.get(event.stream_id)
        if port is None:
            self.acknowledge(event.stream_id, size)
        else:
            port.received(event.data, size)

    def _request(self, number: int, headers: Iterable[tuple[bytes, bytes]], *, whole: bool) -> None:
        if len(self._running) >= STREAMS:
            self._charge()
            self._h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            return
        self._tokens.take(self._loop.time(), _REQUEST)
        self._last = number
        pseudo, fields = _split(headers)
        port = StreamPort(self, number)
        scope = self._scope(pseudo, fields)
        expects = not whole and (b"expect", b"100-continue") in fields
        cycle = port.cycle = Http2Cycle(port, scope or {}, expects_continue=expects)
        self._ports[number] = port
        if scope is None:
            port.send_headers([(b":status", b"400"), (b"content-length", b"0")], end=True)
            return
        self._running.add(cycle)
        self.owner.start_task(cycle, self._answer(cycle, self.owner.chosen_app()))

    async def _answer(self, cycle: Http2Cycle, app: Any) -> None:
        try:
            await cycle.run(app)
        finally:
            self._running.discard(cycle)

    def _scope(self, pseudo: dict[bytes, bytes], fields: Fields) -> dict[str, Any] | None:
        """Return the scope of a request; None if it has no path, or a Host that is none."""
        target = pseudo.get(b":path", b"")
        host = pseudo.get(b":authority") or next((v for n, v in fields if n == b"host"), b"")
        try:
            check_host(host, "2")
        except ValueError:
            return None
        if not (target.startswith(b"/") or target == b"*"):
            return None
        if host and not any(name == b"host" for name, _ in fields):
            fields.insert(0, (b"host", host))
        raw_path, _, query = target.partition(b"?")
        root = self.owner.spec.root_path
        try:
            path = root + unquote(raw_path.decode("ascii"))
            method = pseudo[b":method"].decode("ascii")
        except UnicodeDecodeError:
            return None
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "2",
            "server": self._server_name,
            "client": self.client,
            "scheme": self._scheme,
            "method": method,
            "root_path": root,
            "path": path,
            "raw_path": root.encode("ascii") + raw_path,
            "query_string": query,
            "headers": fields,
            "state": self.owner.app_state.copy(),
            "extensions": _EXTENSIONS,
        }
        if self.owner.forwarded is not None:
            self.owner.forwarded.apply(scope)
        return scope

    # -- what streams send (`StreamsOwner`) -------------------------------------------------

    def send_headers(self, stream: int, fields: Fields, *, end: bool) -> None:
        """Send a head or trailers."""
        self._h2.send_headers(stream, fields, end_stream=end)
        self._flush_soon()

    def send_pending(self, port: StreamPort) -> None:
        """Send what the windows allow of a body."""
        while self._send_frame(port):
            pass
        self._flush_soon()

    def _send_all_pending(self) -> None:
        """Send what the windows allow, a frame of each stream in turn."""
        waiting = [port for port in self._ports.values() if port.pending]
        while waiting and self.writable:
            waiting = [port for port in waiting if self._send_frame(port)]
        for port in list(self._ports.values()):
            port.wake()

    def _send_frame(self, port: StreamPort) -> bool:
        """Send one frame of the body; return whether there is more, and room for it."""
        pending, number = port.pending, port.number
        if port.closed or not (pending or port.ended):
            return False
        room = self._h2.local_flow_control_window(number)
        size = max(0, min(room, self._h2.max_outbound_frame_size, len(pending)))
        end = port.ended and size == len(pending)
        if not (size or end) or (pending and not self.writable):
            return False
        trailers = port.trailers if end else []
        if size or not trailers:
            self._h2.send_data(number, bytes(pending[:size]), end_stream=end and not trailers)
            self._tokens.take(self._loop.time(), _FRAME_SENT)
            del pending[:size]
            port.taken += 1
        if trailers:
            self._h2.send_headers(number, trailers, end_stream=True)
        if end:
            self.finished(port)
        return bool(pending)

    def acknowledge(self, stream: int, size: int) -> None:
        """Open the client's windows by what has been taken."""
        if size and not self.transport.is_closing():
            self._h2.acknowledge_received_data(size, stream)
            self._flush_soon()

    def reset(self, stream: int, *, cancelled: bool) -> None:
        """End a stream whose response is not whole."""
        code = ErrorCodes.CANCEL if cancelled else ErrorCodes.INTERNAL_ERROR
        with suppress(ProtocolError):  # it has ended
            self._h2.reset_stream(stream, code)
        self._flush_soon()
        self._forget(stream)

    def finished(self, port: StreamPort) -> None:
        """Forget a stream whose response has been sent; its body is not wanted any more."""
        if port.cycle.more_body and not self.transport.is_closing():
            with suppress(ProtocolError):  # it has ended
                self._h2.reset_stream(port.number, ErrorCodes.NO_ERROR)
        self._flush_soon()
        self._ports.pop(port.number, None)
        port.closed = True
        port.wake()
        self._close_if_idle()
        self._reset_timer()

    def _forget(self, stream: int) -> None:
        port = self._ports.pop(stream, None)
        if port is not None:
            port.close_now()
        self._close_if_idle()

    # -- the end of the node ----------------------------------------------------------------

    def wind_down(self) -> None:
        """Tell the client to begin no more requests here; those under way are served."""
        if not self._leaving:
            self._leaving = True
            self._go_away(_HIGHEST)
        for port in self._ports.values():
            port.cycle.end_event_stream()

    def hang_up(self) -> None:
        """Tell the applications that there is little time left."""
        for port in self._ports.values():
            port.cycle.hang_up()

    def shutdown(self) -> None:
        """Close the connection, after the responses that are due; see `HttpConnection.shutdown`."""
        self._leaving = True
        if not (self._timer.part == "head" and self._timer.shorten(LAST_HEAD)):
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._leaving and not self._ports and self.owner.draining:
            self._loop.call_soon(self._close)

    def _close(self) -> None:
        if not (self._ports or self.transport.is_closing()):
            self._go_away(self._last)
            self.transport.close()

    def _go_away(self, last: int, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Send GOAWAY; by hand, because the library would send nothing behind it."""
        self._flush()
        frame = GoAwayFrame(0, last_stream_id=last, error_code=code)
        if not self.transport.is_closing():
            self.transport.write(frame.serialize())

    # -- time limits ------------------------------------------------------------------------

    def senders(self) -> Iterator[Sender]:
        """Return what has something to send: the connection, and each stream that waits for its window."""
        yield self
        if self.writable:
            yield from self._ports.values()

    def unsent(self) -> Unsent:
        """As `Sender.unsent`."""
        return Unsent(waiting_bytes(self.transport), not self.writable, self._taken)

    def give_up(self) -> None:
        """As `Sender.give_up`."""
        self.transport.abort()

    def _reset_timer(self) -> None:
        part = self._awaited()
        if part != self._timer.part:
            self._timer.wait_for(part)
        elif part == "body":
            self._timer.moved()

    def _awaited(self) -> Part:
        """Return what the client has to send now."""
        if any(port.cycle.more_body for port in self._ports.values()):
            return "body"
        if self._ports:
            return ""
        return "idle" if self._last else "head"

    def _late(self, part: Part) -> None:
        if part == "body" and any(port.unread for port in self._ports.values()):
            self._timer.wait_for(part)  # an application does not read, so the client cannot send
            return
        self._go_away(self._last)
        self.transport.close()


def _state_machine(max_head: int) -> H2Connection:
    made = H2Connection(
        H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    values = {
        SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS,
        SettingCodes.MAX_HEADER_LIST_SIZE: max_head,
    }
    made.local_settings = Settings(client=False, initial_values=values)
    made.decoder.max_header_list_size = max_head
    return made


def _split(headers: Iterable[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], Fields]:
    """Return the pseudo headers, and the others, with the parts of Cookie joined as in HTTP/1.1."""
    pseudo: dict[bytes, bytes] = {}
    fields: Fields = []
    cookies: list[bytes] = []
    for name, value in headers:
        if name[:1] == b":":
            pseudo[name] = value
        elif name == b"cookie":
            cookies.append(value)
        else:
            fields.append((name, value))
    if cookies:
        fields.append((b"cookie", b"; ".join(cookies)))
    return pseudo, fields
