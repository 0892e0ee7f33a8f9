"""An ASGI application of which one process is busy for half of the time, served by us and uvicorn."""

import asyncio
import os
import socket
import time
from typing import Any, Final

__all__ = ["app"]

_BUSY: Final = 0.1
"""Seconds that the hot process computes, and then pauses."""
_QUERY: Final = 0.005
"""Seconds that a request takes, as if a database was queried."""
_HEADERS: Final = [(b"content-type", b"text/plain"), (b"content-length", b"2")]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer "ok" after 5 ms."""
    if scope["type"] == "lifespan":
        await receive()
        mark = socket.socket(socket.AF_UNIX)
        burning = None
        try:
            mark.bind(f"\0actors-benchmarks-hot-{os.getppid()}")
        except OSError:
            mark.close()  # another process is the hot one
        else:
            burning = asyncio.create_task(_burn())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if burning is not None:
            burning.cancel()
            mark.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await asyncio.sleep(_QUERY)
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": b"ok"})


async def _burn() -> None:
    while True:
        until = time.perf_counter() + _BUSY
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(_BUSY)
