"""An ASGI application that sends more than a client that does not read can be given."""

from __future__ import annotations

from typing import Any

PART = bytes(64 * 1024)
PARTS = 400
sent: list[int] = []
"""Parts that were sent in each answer; the last one is the one under way."""
ended: list[str] = []
"""What the application learned at the end of each answer."""


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Send a lot: in parts, as one body, as an event stream, or over a WebSocket."""
    sent.append(0)
    try:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            for _ in range(PARTS):
                await send({"type": "websocket.send", "bytes": PART})
                sent[-1] += 1
        else:
            await answer(scope["path"], send)
    except OSError as error:
        ended.append(type(error).__name__)
        raise
    ended.append("whole")


async def answer(path: str, send: Any) -> None:
    kind = b"text/event-stream" if path == "/events" else b"text/plain"
    headers = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if path == "/one":  # the application has nothing more to do, but its body is not on its way
        await send({"type": "http.response.body", "body": PART * PARTS})
        return
    for _ in range(PARTS):
        await send({"type": "http.response.body", "body": PART, "more_body": True})
        sent[-1] += 1
    await send({"type": "http.response.body", "body": b""})
