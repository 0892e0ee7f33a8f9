"""An ASGI application that sends back what WebSockets send, for Autobahn."""

from __future__ import annotations

from typing import Any

__all__ = ["app"]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Echo."""
    assert scope["type"] == "websocket", "run it with lifespan='off'"
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        text, data = message.get("text"), message.get("bytes")
        await send({"type": "websocket.send", "text": text, "bytes": data})
