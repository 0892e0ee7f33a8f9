"""Actors and an application of the tests of what a system notices of its program."""

from __future__ import annotations

import os
from typing import Any

from actors import Actor
from actors._base.library_threads import THREAD_VARIABLES


class Piece(Actor):
    """Does one piece of work."""

    async def work(self) -> None: ...


class Office(Actor):
    """Has its work done in ways that it should not, or should."""

    async def one_each(self, count: int) -> None:
        for _ in range(count):
            piece = await self.context.spawn(Piece)
            await piece.ask(Piece.work)
            await piece.stop()
            await piece.wait()

    async def keep(self, count: int) -> None:
        for _ in range(count):
            await self.context.spawn(Piece)

    async def take(self, value: Any) -> None: ...

    async def give(self, count: int) -> list[dict[str, Any]]:
        return graph(count)

    async def thread_settings(self) -> dict[str, str]:
        return {key: value for key, value in os.environ.items() if key in THREAD_VARIABLES}


def graph(count: int) -> list[dict[str, Any]]:
    """Return many small objects; 100,000 are more than a megabyte and take more than five milliseconds."""
    return [{"number": number, "name": f"poster {number}"} for number in range(count)]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Accept a WebSocket and close it when the client does."""
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
