"""A WebSocket client that can do everything wrong: it sends whatever frames a test asks for."""

import base64
import os
import struct
from dataclasses import dataclass
from typing import Final

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

__all__ = ["BINARY", "CLOSE", "CONTINUATION", "PING", "PONG", "TEXT", "Frame", "Raw", "close"]

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

_SHORT: Final = 126
_MASK: Final = b"\x1f\x8e\x33\xa7"


@dataclass(frozen=True)
class Frame:
    """One frame; `rsv` are the three reserved bits as a number."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    masked: bool = True

    def encoded(self) -> bytes:
        """Return its bytes as a client sends them."""
        head = bytes([self.fin << 7 | self.rsv << 4 | self.opcode])
        size, flag = len(self.payload), self.masked << 7
        if size < _SHORT:
            head += bytes([flag | size])
        elif size < 1 << 16:
            head += bytes([flag | _SHORT]) + struct.pack("!H", size)
        else:
            head += bytes([flag | _SHORT + 1]) + struct.pack("!Q", size)
        return head + (_MASK + masked(self.payload) if self.masked else self.payload)


def masked(payload: bytes) -> bytes:
    """Return *payload* under our mask."""
    size = len(payload)
    mask = (_MASK * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(size)


def close(code: int | None = None, reason: bytes = b"") -> Frame:
    """Return a close frame."""
    return Frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


class Raw:
    """One connection."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._received = BufferedByteReceiveStream(stream)

    async def shake(self, path: str, *, drop: str = "", **headers: str) -> str:
        """Ask for a WebSocket; return the head of the answer.

        Args:
            path: where.
            drop: a header to leave out.
            headers: headers to send otherwise than one should, with _ for -.
        """
        usual = {
            "Host": "localhost",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Version": "13",
        }
        wanted = usual | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}" for name, value in wanted.items() if name != drop]
        await self._stream.send("\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode())
        return (await self._received.receive_until(b"\r\n\r\n", 65536)).decode()

    async def send(self, *frames: Frame, chop: int | None = None) -> None:
        """Send frames in one piece, or *chop* bytes at a time."""
        data = b"".join(frame.encoded() for frame in frames)
        step = chop or len(data) or 1
        for start in range(0, len(data), step):
            await self._stream.send(data[start : start + step])

    async def receive(self) -> Frame:
        """Return the next frame.

        Raises:
            anyio.IncompleteRead: the connection ended.
        """
        first, second = await self._received.receive_exactly(2)
        size = second & 127
        if size == _SHORT:
            (size,) = struct.unpack("!H", await self._received.receive_exactly(2))
        elif size > _SHORT:
            (size,) = struct.unpack("!Q", await self._received.receive_exactly(8))
        payload = await self._received.receive_exactly(size) if size else b""
        return Frame(first & 15, payload, bool(first >> 7), first >> 4 & 7, bool(second >> 7))

    async def end(self) -> list[Frame]:
        """Return all frames up to the end of the connection."""
        frames = []
        while True:
            try:
                frames.append(await self.receive())
            except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.EndOfStream):
                return frames
