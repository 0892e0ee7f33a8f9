"""Litestar."""

from __future__ import annotations

import asyncio

from litestar import Litestar, get, post


@get("/{number:int}")
async def double(number: int) -> dict[str, int]:
    await asyncio.sleep(0.02)
    return {"double": 2 * number}


@post("/length")
async def length(data: dict[str, str]) -> dict[str, int]:
    return {"length": len(data["text"])}


app = Litestar([double, length])
