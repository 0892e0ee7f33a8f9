"""Back-pressure of one connection.

Rule 1: it is not read while the application does not read; an application that writes waits for the client.
Rule 2: the watch for clients that take nothing asks it what waits for the client (a `Sender`).
"""

from __future__ import annotations

import asyncio
from typing import Final

from actors.routing.serving.send_watch import Unsent, waiting_bytes

__all__ = ["READ_AHEAD", "FlowControl"]

READ_AHEAD: Final = 65536
"""Bytes of a request's body that are kept for an application that does not read them."""


class FlowControl:
    """Whether a connection is read, and whether it can be written to."""

    __slots__ = ("_taken", "_transport", "_writable", "read_paused", "write_paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._writable: asyncio.Event | None = None
        self._taken = 0
        self.read_paused: bool = False
        self.write_paused: bool = False

    def pause_reading(self) -> None:
        """Read nothing more for now."""
        if not self.read_paused:
            self.read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self.read_paused:
            self.read_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Have writers wait: the transport holds more than its high-water mark."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """Let writers go on; also when the connection has ended."""
        self.write_paused = False
        self._taken += 1
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    async def wait_writable(self) -> None:
        """Wait until the transport takes more, or the connection has ended."""
        while self.write_paused:
            if self._writable is None:
                self._writable = asyncio.Event()
            await self._writable.wait()

    def unsent(self) -> Unsent:
        """As `Sender.unsent`."""
        return Unsent(waiting_bytes(self._transport), self.write_paused, self._taken)

    def give_up(self) -> None:
        """As `Sender.give_up`."""
        self._transport.abort()
