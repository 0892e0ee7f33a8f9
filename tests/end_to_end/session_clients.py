"""Sites of session protocols over some nodes, and clients of those protocols that nobody here wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import httpx2
import socketio
from mcp import ClientSession, MCPError
from mcp.client.streamable_http import streamable_http_client

from actors import Sticky, System, Topology, asgi, keys, listen, nodes
from actors._system.system import coordinator_of
from actors.routing import Router
from actors.testing import running_system

EVENT_PATIENCE = 30.0


class Site:
    """An application on some nodes."""

    def __init__(self, system: System) -> None:
        self.system = system

    @property
    def router(self) -> Router:
        router = coordinator_of(self.system).listeners[0].router
        assert isinstance(router, Router)
        return router

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.router.port}"

    @property
    def totals(self) -> dict[int, int]:
        """How many connections each slot got."""
        return {node.slot: node.total for node in self.router.snapshot().nodes}

    async def restart(self, node: str) -> None:
        """Kill a node and wait until the next process serves."""
        events = self.system.events()
        next(one for one in self.system.nodes if one.name == node).kill()
        async for event in events:
            if event.kind == "node_ready":
                return


@asynccontextmanager
async def site(app: str, key: keys.Key, count: int) -> AsyncIterator[Site]:
    """Serve *app*, which is imported once, on *count* nodes."""
    served = asgi(f"tests.end_to_end.{app}", preload=True)
    listener = listen(served, "127.0.0.1:0", policy=Sticky(key))
    topology = Topology(nodes=[nodes("web", count=count)], listeners=[listener])
    async with running_system(topology) as system:
        yield Site(system)


class McpClient:
    """A session of the MCP SDK, with a connection for each request."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    @classmethod
    async def begin(cls, url: str, stack: AsyncExitStack) -> McpClient:
        http = httpx2.AsyncClient(headers={"connection": "close"}, timeout=EVENT_PATIENCE)
        await stack.enter_async_context(http)
        streams = await stack.enter_async_context(
            streamable_http_client(f"{url}/mcp", http_client=http)
        )
        session = await stack.enter_async_context(ClientSession(*streams[:2]))
        await session.initialize()
        return cls(session)

    async def node(self) -> str:
        """Return the node that runs the tool, or what the server says of the session."""
        try:
            said: Any = await self._session.call_tool("node", {})
        except MCPError as error:
            return str(error)
        text: str = said.content[0].text
        return text


async def mcp_sessions_stay(among: int, count: int) -> None:
    """Each session works on one node, and its id leads to the same slot after a restart."""
    async with (
        site("mcp_app:app", keys.header("mcp-session-id"), among) as web,
        AsyncExitStack() as stack,
    ):
        clients = [await McpClient.begin(web.url, stack) for _ in range(count)]
        homes = [await client.node() for client in clients]
        assert set(homes) == {f"web/{slot}" for slot in range(among)}
        assert [await client.node() for client in clients] == homes

        await web.restart("web/1")
        for client, home in zip(clients, homes, strict=True):
            before = web.totals
            said = await client.node()
            assert said == (home if home != "web/1" else "Session not found"), said
            after = web.totals
            assert {f"web/{slot}" for slot in after if after[slot] > before[slot]} == {home}


class ChatClient:
    """A client of python-socketio: it polls, then changes to a WebSocket."""

    def __init__(self) -> None:
        self.sio = socketio.AsyncClient(reconnection=False)
        self.heard: list[str] = []
        self.sio.on("said", self.heard.append)
        self.gone = anyio.Event()
        self.sio.on("disconnect", lambda _reason: self.gone.set())

    async def begin(self, url: str, stack: AsyncExitStack) -> ChatClient:
        await self.sio.connect(url, wait_timeout=EVENT_PATIENCE)
        stack.push_async_callback(self.sio.disconnect)
        return self

    async def ask(self, event: str, *args: Any) -> Any:
        return await self.sio.call(event, args, timeout=EVENT_PATIENCE)

    async def hears(self, *texts: str) -> None:
        while self.heard != [*texts]:  # noqa: ASYNC110 - the library calls back, from any task
            await anyio.sleep(0.005)


async def socketio_sessions_stay(among: int, count: int) -> None:
    """Each client stays with its node, and rooms have members of all nodes."""
    async with (
        site("socketio_app:app", keys.query("sid"), among) as web,
        AsyncExitStack() as stack,
    ):
        clients = [await ChatClient().begin(web.url, stack) for _ in range(count)]
        homes = [await client.ask("whoami") for client in clients]
        assert set(homes) == {f"web/{slot}" for slot in range(among)}
        assert {client.sio.transport() for client in clients} == {"websocket"}
        for client in clients:
            assert await client.ask("remember", "one") == ["one"]
            assert await client.ask("remember", "two") == ["one", "two"]
            await client.ask("join", "kitchen")
        await clients[0].ask("say", "kitchen", "soup")
        for client in clients:
            await client.hears("soup")
        other = next(n for n, home in enumerate(homes) if home != homes[0])
        await clients[other].ask("leave", "kitchen")
        await clients[0].ask("say", "kitchen", "again")
        for number, client in enumerate(clients):
            await client.hears("soup", *["again"] * (number != other))
        sid = clients[other].sio.get_sid()
        await clients[0].ask("drop", sid)
        await clients[other].gone.wait()
