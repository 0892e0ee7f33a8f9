"""What the tests of the command line run; a node that is to die while booting finds `DIE`."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from anyio import EndOfStream
from anyio.abc import SocketStream

from actors import Actor, Topology, child, dynamic, listen, nodes, supervisor

PORT = os.environ.get("PORT", "0")


class Greeter(Actor):
    async def hello(self) -> str:
        return "hello"


class Crasher(Actor):
    async def on_start(self) -> None:
        await self.context.ref.tell(Crasher.boom)

    async def boom(self) -> None:
        raise ValueError("no more paper")


class Homeless(Actor):
    def __init__(self, path: str) -> None:
        raise ValueError(f"no database at {path}")


async def echo(stream: SocketStream) -> None:
    try:
        while True:
            await stream.send(await stream.receive())
    except EndOfStream:
        return


async def app(
    scope: MutableMapping[str, Any],
    _receive: Callable[[], Awaitable[Any]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    if scope["type"] == "http":
        name = scope["state"]["actors"].node.name.encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": name})


good = Topology(
    nodes=[nodes("web", count=2)],
    children=[
        child(Greeter, name="greeter", on="web"),
        supervisor("inner", [child(Greeter, name="deep", on="web")]),
        dynamic("crowd"),
    ],
    listeners=[listen(echo, "127.0.0.1:0")],
)
unplaced = Topology(children=[child(Greeter, name="greeter")])
small = Topology(nodes=[nodes("web")])


busy = Topology(nodes=[nodes("web")], listeners=[listen(echo, f"127.0.0.1:{PORT}")])
no_handler = Topology(nodes=[nodes("web")], listeners=[listen("topologies:ecko", "127.0.0.1:0")])
homeless = Topology(nodes=[nodes("web")], children=[child(Homeless, "/nowhere", on="web")])
crashes = Topology(nodes=[nodes("web")], children=[child(Crasher, on="web")])
dies_at_boot = Topology(nodes=[nodes("web", env={"DIE": "1"}, boot_timeout=20)])
dies_at_import = Topology(nodes=[nodes("web")], listeners=[listen("fatal:handle", "127.0.0.1:0")])
