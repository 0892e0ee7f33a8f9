"""Pings on an idle WebSocket: is the client still there?"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable

from actors.routing.listen.application import Asgi

__all__ = ["PingTimer"]


class PingTimer:
    """Sends a ping every `ws_ping_interval` seconds, and tells when its pong does not come in time.

    Args:
        spec: `ws_ping_interval` and `ws_ping_timeout`, each None for never.
        send: sends a ping with this payload; False if the connection is closing.
        missed: called when `ws_ping_timeout` seconds have gone by without the pong.
    """

    __slots__ = (
        "_interval",
        "_missed",
        "_payload",
        "_round_trip",
        "_send",
        "_sent_at",
        "_timeout",
        "_timer",
    )

    def __init__(
        self, spec: Asgi, send: Callable[[bytes], bool], missed: Callable[[], None]
    ) -> None:
        self._interval = spec.ws_ping_interval
        self._timeout = spec.ws_ping_timeout
        self._send = send
        self._missed = missed
        self._payload: bytes | None = None
        self._sent_at = 0.0
        self._round_trip = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Send the first ping after the interval."""
        if self._interval is not None:
            delay = max(0.0, self._interval - self._round_trip)
            self._timer = asyncio.get_running_loop().call_later(delay, self._ping)

    def stop(self) -> None:
        """Send no more pings, and wait for no pong."""
        self._payload = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def answered(self, payload: bytes) -> None:
        """Take note of a pong; one that nobody asked for is ignored."""
        if payload != self._payload:
            return
        self._round_trip = asyncio.get_running_loop().time() - self._sent_at
        waits_for_pong = self._timeout is not None
        self._payload = None
        if waits_for_pong:
            self.stop()
            self.start()

    def _ping(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        payload = struct.pack("!I", random.getrandbits(32))
        if not self._send(payload):
            return
        self._payload, self._sent_at = payload, loop.time()
        if self._timeout is None:
            self.start()
        else:
            self._timer = loop.call_later(self._timeout, self._no_pong)

    def _no_pong(self) -> None:
        self._timer = None
        self._payload = None
        self._missed()
