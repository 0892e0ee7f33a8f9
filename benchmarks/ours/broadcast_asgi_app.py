"""A minimal ASGI application that sends every message of a client to all of them, served by us and uvicorn."""

from contextlib import suppress
from typing import Any, Final

__all__ = ["app"]

_HEADERS: Final = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
_connected: Final[set[Any]] = set()
"""What sends to a client, for each that is connected."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Take part in the conversation until the client leaves; answer "ok" over HTTP."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": b"ok"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    _connected.add(send)
    try:
        while (said := await receive())["type"] == "websocket.receive":
            message = {"type": "websocket.send", "text": said["text"]}
            for to in tuple(_connected):
                with suppress(OSError):  # this client has just left
                    await to(message)
    finally:
        _connected.remove(send)
