"""The chat with what no chat should have: requests that block an event loop, for tests of what then."""

import time
from collections.abc import AsyncIterator

import anyio

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Mount, Route

import actors
from actors import Sticky, Topology, asgi, cookie, listen, nodes, query
from examples.chat._settings import port
from examples.chat.app import app as chat


class Blocker(actors.Actor):
    """Stops the loop it runs on."""

    async def block(self, seconds: float) -> AsyncIterator[str]:
        """Say so, then block."""
        yield "blocked\n"
        await anyio.sleep(0.05)  # the word has to leave this process first
        time.sleep(seconds)  # noqa: ASYNC251 - the very thing
        yield "free\n"


async def where(request: Request) -> JSONResponse:
    """Tell which nodes a room has: its web node and its own."""
    room = await actors.current().lookup(f"room:{request.query_params['room']}")
    return JSONResponse([actors.current().node.name, None if room is None else room.node])


async def block(request: Request) -> StreamingResponse:
    """Stop the loop of a node."""
    blocker = await actors.current().spawn(Blocker, on=request.query_params["node"])

    async def words() -> AsyncIterator[str]:
        async with blocker.stream(Blocker.block, float(request.query_params["seconds"])) as items:
            async for item in items:
                yield item
        await blocker.stop()

    return StreamingResponse(words())


app = Starlette(routes=[Route("/where", where), Route("/block", block), Mount("/", chat)])


def topology() -> Topology:
    """Describe two nodes of rooms and two web nodes."""
    return Topology(
        nodes=[nodes("rooms", count=2), nodes("web", count=2)],
        listeners=[
            listen(
                asgi("tests.system.blocking:app"),
                f"127.0.0.1:{port()}",
                nodes="web",
                policy=Sticky(query("room") | cookie("room")),
            )
        ],
    )
