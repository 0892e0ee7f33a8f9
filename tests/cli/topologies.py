"""What the tests of the command line run; a node that is to die while booting finds `DIE`."""

import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
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
runs_a_program = Topology(
    nodes=[nodes("web")], listeners=[listen("runs_on_import:handle", "127.0.0.1:0")]
)
homeless = Topology(nodes=[nodes("web")], children=[child(Homeless, "/nowhere", on="web")])
crashes = Topology(nodes=[nodes("web")], children=[child(Crasher, on="web")])
dies_at_boot = Topology(nodes=[nodes("web", env={"DIE": "1"}, boot_timeout=20)])
dies_at_import = Topology(
    nodes=[nodes("web")], listeners=[listen("exits_on_import:handle", "127.0.0.1:0")]
)


class Holder(Actor):
    """Handles one message for ever; the others wait."""

    async def on_start(self) -> None:
        for _ in range(3):
            await self.context.ref.tell(Holder.hold)

    async def hold(self) -> None:
        await anyio.sleep_forever()


class Asker(Actor):
    async def on_start(self) -> None:
        await self.context.ref.tell(Asker.begin)

    async def begin(self) -> None:
        holder: Any = await self.context.system.lookup("holder")
        await holder.ask(Holder.hold)


class Hog(Actor):
    """Keeps its loop: in Python, or in a call that waits."""

    def __init__(self, how: str) -> None:
        self.how = how

    async def on_start(self) -> None:
        self.context.timers.once(0.05, Hog.hog)  # once it is known that it is ready

    async def hog(self) -> None:
        self.context.log.warning("hogging")
        if self.how == "sleeps":
            time.sleep(600)  # noqa: ASYNC251 - that is the point
        while True:
            pass


class Mother(Actor):
    """Has a child that has a child."""

    def __init__(self, generations: int) -> None:
        self.generations = generations

    async def on_start(self) -> None:
        if self.generations:
            name = f"{self.context.name}'s"
            await self.context.spawn(Mother, self.generations - 1, name=name)


working = Topology(
    nodes=[nodes("web"), nodes("far", kind="thread")],
    children=[
        child(Holder, name="holder", on="web"),
        child(Asker, name="asker", on="web"),
        child(Mother, 2, name="eve", on="web"),
        child(Mother, 1, name="ada", on="far"),
    ],
)
hanging = Topology(
    nodes=[
        nodes("uv"),
        nodes("aio", uvloop=False),
        nodes("tri", backend="trio"),
        nodes("thr", kind="thread"),
    ],
    children=[
        *[child(Greeter, name=f"idle-{on}", on=on) for on in ("uv", "aio", "tri", "thr")],
        child(Hog, "sleeps", name="hog-uv", on="uv"),
        child(Hog, "spins", name="hog-aio", on="aio"),
        child(Hog, "sleeps", name="hog-tri", on="tri"),
        child(Hog, "sleeps", name="hog-thr", on="thr"),
    ],
)
