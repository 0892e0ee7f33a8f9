"""`python -m benchmarks._broadcast COMMAND …`: one WebSocket client speaks, and a server tells all of them.

The clients count bytes and read no frames, so that the server is what is measured.
"""

import asyncio
import struct
import sys
import time
from typing import Any, Final

import uvloop

from benchmarks._server import HOST, Server, server
from benchmarks.ours._figures import figure

__all__ = ["BURST", "LARGE", "SINGLE"]

CLIENTS: Final = 32
WARM_UP: Final = 1.0
SECONDS: Final = 4.0
BURST: Final = "100 bytes, 8 at a time"
LARGE: Final = "4 KB, 8 at a time"
SINGLE: Final = "100 bytes, 1 at a time"
PAYLOADS: Final = {BURST: (100, 8), LARGE: (4000, 8), SINGLE: (100, 1)}
"""Bytes of a message, and how many messages are on their way at a time."""
_TIMEOUT: Final = 10.0
_SHORT: Final = 126
_OPENING: Final = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Crowd:
    """The clients together: what they have got, and when the next message is due."""

    def __init__(self, size: int, window: int) -> None:
        self.got: int = 0
        """Bytes of frames at all clients."""
        self.everybody: Final = asyncio.Event()
        """Set when all are connected."""
        self.speaker: asyncio.WriteTransport | None = None
        self._window = window
        self._spoken = _frame(size, masked=True)
        self.delivery: Final = len(_frame(size, masked=False))
        """Bytes of a message at a client."""
        self._said = 0
        self._connected = 0

    def connected(self) -> None:
        """Count a client whose handshake has ended."""
        self._connected += 1
        if self._connected == CLIENTS:
            self.everybody.set()

    def add(self, count: int) -> None:
        """Count bytes that came, and speak if fewer messages than the window are on their way."""
        self.got += count
        everywhere = self.got // (CLIENTS * self.delivery)
        if (due := everywhere + self._window - self._said) > 0:
            assert self.speaker is not None
            self._said += due
            self.speaker.write(self._spoken * due)


class Client(asyncio.Protocol):
    """One client, from its handshake on."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._opening: bytes | None = b""

    def connection_made(self, transport: Any) -> None:
        self._crowd.speaker = transport  # the last one speaks
        transport.write(_OPENING)

    def data_received(self, data: bytes) -> None:
        if self._opening is None:
            self._crowd.add(len(data))
            return
        self._opening += data
        if self._opening.endswith(b"\r\n\r\n"):
            if not self._opening.startswith(b"HTTP/1.1 101 "):
                raise RuntimeError(f"a server answered {self._opening[:60]!r}")
            self._opening = None
            self._crowd.connected()


def _frame(size: int, *, masked: bool) -> bytes:
    """Return a text of *size* bytes as one frame; the mask is 0, which changes nothing."""
    bit = 0x80 if masked else 0
    head = (
        struct.pack("!BB", 0x81, bit | size)
        if size < _SHORT
        else struct.pack("!BBH", 0x81, bit | _SHORT, size)
    )
    return head + bytes(4 if masked else 0) + b"x" * size


async def measure(served: Server, called: str, size: int, window: int) -> None:
    """Connect the clients, let one speak, and print what all of them got and what it cost the server."""
    crowd = Crowd(size, window)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(_TIMEOUT + WARM_UP + SECONDS):
        opened = [
            (await loop.create_connection(lambda: Client(crowd), HOST, served.port))[0]
            for _ in range(CLIENTS)
        ]
        await crowd.everybody.wait()
        crowd.add(0)
        await asyncio.sleep(WARM_UP)
        used, got, start = sum(served.cpu()), crowd.got, time.perf_counter()
        await asyncio.sleep(SECONDS)
        took = time.perf_counter() - start
        count = (crowd.got - got) / crowd.delivery
        used = sum(served.cpu()) - used
    for transport in opened:
        transport.abort()
    if count < 1:
        raise RuntimeError("nothing was delivered")
    figure("deliveries/s", called, count / took)
    figure("CPU us a delivery", called, used / count * 1e6)


def main(command: list[str]) -> None:
    """Start the server, measure each size of message, end it."""
    with server(command) as served:
        for called, (size, window) in PAYLOADS.items():
            uvloop.run(measure(served, called, size, window))


if __name__ == "__main__":
    main(sys.argv[1:])
