"""Applications that systemd runs in tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio

if Path(os.environ.get("FLAG", "/nonexistent")).exists():
    raise ImportError("the new code is broken")


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the node and its process."""
    if scope["type"] == "http":
        body = f"{scope['state']['actors'].node.name} {os.getpid()}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
    elif scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


async def slow_to_start(scope: Any, receive: Any, send: Any) -> None:
    """Take longer to start than the service may."""
    if scope["type"] == "lifespan":
        await anyio.sleep(5)
    await app(scope, receive, send)
