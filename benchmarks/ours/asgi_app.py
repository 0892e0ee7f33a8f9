"""A minimal ASGI application, served by us, uvicorn and granian."""

from typing import Any, Final

__all__ = ["app"]

_HEADERS: Final = [(b"content-type", b"text/plain"), (b"content-length", b"2")]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer "ok"."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": b"ok"})
