"""The chat with what no chat should have: requests that block an event loop, for tests of what then."""

import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

import actors
from actors import Sticky, Topology, asgi, cookie, listen, nodes, query
from examples.chat._settings import port
from examples.chat.app import app as chat


class Blocker(actors.Actor):
    """Stops the loop it runs on."""

    async def block(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - the very thing


async def where(request: Request) -> JSONResponse:
    """Tell which nodes a room has: its web node and its own."""
    room = await actors.current().lookup(f"room:{request.query_params['room']}")
    return JSONResponse([actors.current().node.name, None if room is None else room.node])


async def block_web(request: Request) -> JSONResponse:
    """Stop the loop of the web node that serves this request."""
    time.sleep(float(request.query_params["seconds"]))  # noqa: ASYNC251 - the very thing
    return JSONResponse("done")


async def block_rooms(request: Request) -> JSONResponse:
    """Stop the loop of a node of rooms."""
    blocker = await actors.current().spawn(Blocker, on=request.query_params["node"])
    await blocker.ask(Blocker.block, float(request.query_params["seconds"]))
    await blocker.stop()
    return JSONResponse("done")


app = Starlette(
    routes=[
        Route("/where", where),
        Route("/block-web", block_web),
        Route("/block-rooms", block_rooms),
        Mount("/", chat),
    ]
)


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
