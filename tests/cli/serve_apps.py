"""Applications that `actors serve` runs in tests of starts and ends."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


async def sleep(request: Request) -> Response:
    begun = request.query_params.get("begun")
    if begun:
        await anyio.Path(begun).touch()
    await asyncio.sleep(float(request.query_params.get("s", "0")))
    return PlainTextResponse("slept")


@contextlib.asynccontextmanager
async def hangs_at_start(_: Starlette) -> AsyncIterator[None]:
    await asyncio.sleep(3600)
    yield


@contextlib.asynccontextmanager
async def fails_at_end(_: Starlette) -> AsyncIterator[None]:
    yield
    raise ValueError("cannot close the pool")


@contextlib.asynccontextmanager
async def writes_itself(_: Starlette) -> AsyncIterator[None]:
    await anyio.Path(os.environ["GENERATED"]).write_text(f"at = {time.time_ns()}\n")
    yield


ROUTES = [Route("/", sleep)]
app = Starlette(routes=ROUTES)
never_starts = Starlette(routes=ROUTES, lifespan=hangs_at_start)
ends_badly = Starlette(routes=ROUTES, lifespan=fails_at_end)
generates = Starlette(routes=ROUTES, lifespan=writes_itself)
