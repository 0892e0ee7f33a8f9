"""What far nodes serve in tests: a handler of streams, and an application."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from anyio import EndOfStream
from anyio.abc import ByteStream

from actors.testing import eventually

__all__ = ["answer", "app", "who"]


async def who(stream: ByteStream) -> None:
    """Say which process serves, then echo."""
    await stream.send(f"{os.getpid()}\n".encode())
    try:
        while True:
            await stream.send(await stream.receive())
    except EndOfStream:
        return


async def answer(datagram: bytes, reply: Any) -> None:
    """Say which process has got a datagram."""
    await reply(f"{os.getpid()} {datagram.decode()}".encode())


def _begin() -> None:
    Path(os.environ["BEGUN"]).touch()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with the number of the process; echo over a WebSocket."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": str(os.getpid())})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    if scope["path"] == "/slow":
        _begin()
        await eventually(Path(os.environ["GO"]).exists, within=60)
    body = str(os.getpid()).encode()
    headers = [(b"x-client", scope["client"][0].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
