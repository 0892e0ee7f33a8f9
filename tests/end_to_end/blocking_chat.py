"""The chat example with requests that block the event loop of their node."""

import time
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route

import actors
from actors import Sticky, Topology, asgi, keys, listen, nodes
from examples.chat import rooms
from examples.chat._settings import port
from examples.chat.app import app as chat


class Blocker(actors.Actor):
    """Stops the loop it runs on."""

    async def block(self, mark: str, seconds: float) -> None:
        """Block; the file *mark* is there from when the loop stands still."""
        stand_still(mark, seconds)


def stand_still(mark: str, seconds: float) -> None:
    """Be what should never be called on a loop."""
    Path(mark).touch()
    time.sleep(seconds)


async def where(request: Request) -> JSONResponse:
    """Tell which nodes a room has: its web node and its own."""
    room = await actors.current().lookup(f"rooms/{request.query_params['room']}")
    return JSONResponse([actors.current().node.name, None if room is None else room.node])


async def block(request: Request) -> PlainTextResponse:
    """Stop the loop of a node."""
    query = request.query_params
    blocker = await actors.current().spawn(Blocker, on=query["node"])
    await blocker.ask(Blocker.block, query["mark"], float(query["seconds"]))
    await blocker.stop()
    return PlainTextResponse("free again")


app = Starlette(routes=[Route("/where", where), Route("/block", block), Mount("/", chat)])


def topology() -> Topology:
    """Describe two nodes of rooms and two web nodes."""
    return Topology(
        nodes=[nodes("rooms", count=2), nodes("web", count=2)],
        children=[rooms()],
        listeners=[
            listen(
                asgi("tests.end_to_end.blocking_chat:app"),
                f"127.0.0.1:{port()}",
                nodes="web",
                policy=Sticky(keys.query("room") | keys.cookie("room")),
            )
        ],
    )
