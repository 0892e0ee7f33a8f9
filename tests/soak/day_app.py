"""What the compressed day runs: an application, and an actor that counts."""

from __future__ import annotations

from typing import Any

import actors


class Tally(actors.Actor):
    """Counts; a restart begins at 0 again."""

    def __init__(self) -> None:
        self.value = 0

    async def add(self) -> int:
        self.value += 1
        return self.value


async def app(scope: Any, _receive: Any, send: Any) -> None:
    """Answer."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"welcome"})
