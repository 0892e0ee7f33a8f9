"""Chooses between HTTP/1.1 and HTTP/2 by ALPN, or without TLS by the client's first bytes.

Rule: it keeps no connection: the protocol that was chosen has it from then on.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from actors.routing.serving.client_timer import LAST_HEAD, ClientTimer, Part
from actors.routing.serving.connection_owner import ConnectionOwner
from actors.routing.serving.http2_connection import Http2Connection
from actors.routing.serving.http_connection import HttpConnection
from actors.routing.sticky.keys import Address

__all__ = ["ProtocolChoice"]

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class ProtocolChoice(asyncio.Protocol):
    """A connection before its first bytes; see `HttpConnection` for the arguments."""

    def __init__(
        self, owner: ConnectionOwner, number: int, proxied: Address = None, first: bytes = b""
    ) -> None:
        self._owner = owner
        self._number = number
        self._proxied = proxied
        self._data = first
        self._timer = ClientTimer(asyncio.get_running_loop(), owner.limits, self._late)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop has its own classes
        secured: Any = transport.get_extra_info("ssl_object")
        if secured is not None:
            self._choose(http2=secured.selected_alpn_protocol() == "h2")
            return
        self._owner.set_protocol(self._number, self)
        self._timer.wait_for("head")
        if self._data:
            self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        self._data += data
        begin = self._data[: len(_PREFACE)]
        if begin == _PREFACE:
            self._choose(http2=True)
        elif not _PREFACE.startswith(begin):
            self._choose(http2=False)

    def _choose(self, *, http2: bool) -> None:
        self._timer.close()
        kind = Http2Connection if http2 else HttpConnection
        chosen = kind(self._owner, self._number, self._proxied)
        self.transport.set_protocol(chosen)
        chosen.connection_made(self.transport)
        if self._data:
            chosen.data_received(self._data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self._timer.close()
        self._owner.ended(self._number)

    def wind_down(self) -> None:
        """Do nothing: a client that has sent nothing has lost nothing yet."""

    def hang_up(self) -> None:
        """Do nothing: no application answers."""

    def shutdown(self) -> None:
        """Close the connection, unless the client has just connected: its first request is on the way."""
        if not self._timer.shorten(LAST_HEAD):
            self.transport.close()

    def senders(self) -> tuple[()]:
        """Return nothing: nothing is sent."""
        return ()

    def _late(self, _part: Part) -> None:
        self.transport.close()
