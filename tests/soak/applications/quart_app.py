"""Quart: a body both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from quart import Quart, request

app = Quart(__name__)


@app.get("/stream")
async def stream() -> AsyncIterator[bytes]:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"part "
            await asyncio.sleep(0.002)
        yield b"end"

    return parts()


@app.post("/echo")
async def echo() -> bytes:
    body: bytes = await request.get_data()
    return body
