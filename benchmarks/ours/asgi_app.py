"""A minimal ASGI application, served by us, uvicorn and granian.

`/file` is answered by a file of 50 KB: by its path where the server takes one, else read in a thread.
"""

import asyncio
import tempfile
from pathlib import Path
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
    if scope["path"] == "/file":
        await _file(scope, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": b"ok"})


_SIZE: Final = 50_000
_FILE: Final = Path(tempfile.gettempdir()) / "benchmark-50-kb"


async def _file(scope: Any, send: Any) -> None:
    if not _FILE.exists():
        _FILE.write_bytes(bytes(_SIZE))
    length = (b"content-length", b"%d" % _SIZE)
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    if "http.response.pathsend" in scope.get("extensions", {}):
        await send({"type": "http.response.pathsend", "path": str(_FILE)})
    else:
        body = await asyncio.to_thread(_FILE.read_bytes)
        await send({"type": "http.response.body", "body": body})
