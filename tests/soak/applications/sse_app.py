"""sse-starlette: streams of server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def numbers() -> AsyncIterator[dict[str, str]]:
    for number in range(10):
        yield {"data": str(number)}
        await asyncio.sleep(0.005)
    yield {"event": "end", "data": "all"}


async def events(_: Request) -> Response:
    return EventSourceResponse(numbers())


app = Starlette(routes=[Route("/", events)])
