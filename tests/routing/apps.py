"""ASGI applications that the tests serve, some of them broken, and how tests reach them."""

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from actors import Topology
from actors._base.loop import Loop
from actors.routing import Asgi, asgi, listen
from tests.routing.serving_nodes import LOOPS, Served, ServingNode, eventually

ASYNCIO = pytest.mark.parametrize("kind", [kind for kind in LOOPS if kind != "trio"])
SYSTEM = "the system of this node"
happened: list[str] = []
"""What applications did, in order; cleared before each test."""

NOT_CALLABLE = "text"
LONG = [0] * 1000
TOPOLOGY = Topology()


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, str]]:
    happened.append("startup")
    yield {"database": "open"}
    happened.append("shutdown")


async def home(request: Request) -> Response:
    state = request.state
    return PlainTextResponse(f"{state.actors}, database {getattr(state, 'database', 'none')}")


async def upload(request: Request) -> Response:
    body = await request.body()
    return Response(body, headers={"x-size": str(len(body))})


async def slow(request: Request) -> Response:
    happened.append("slow begins")
    await anyio.sleep(float(request.query_params.get("seconds", "3600")))
    return PlainTextResponse("slow done")


async def broken(request: Request) -> Response:
    raise RuntimeError(request.url.path)


async def stream(_: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"%d" % number

    return StreamingResponse(parts())


async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(f"{websocket.state.actors}")
    if "deaf" in websocket.query_params:
        await anyio.sleep(3600)
    try:
        async for text in websocket.iter_text():
            await websocket.send_text(text.upper())
    finally:
        happened.append("chat ends")


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", home),
        Route("/upload", upload, methods=["POST"]),
        Route("/slow", slow),
        Route("/broken", broken),
        Route("/stream", stream),
        WebSocketRoute("/ws", chat),
    ],
)

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]


async def plain(scope: Message, receive: Receive, send: Send) -> None:
    """Support no lifespan; answer with the system as text."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(scope["state"]["actors"]).encode()})


async def sets_sid(scope: Message, receive: Receive, send: Send) -> None:
    """Set a session's cookie in every response."""
    headers = [(b"Set-Cookie", b"sid=mine"), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def whoever(scope: Message, receive: Receive, send: Send) -> None:
    """Answer with what the scope says of the client and its connection."""
    body = f"{scope['client']} {scope['scheme']}".encode()
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": body.decode()})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def make_plain() -> object:
    return plain


def make_nothing() -> None:
    return None


def make_trouble() -> object:
    raise KeyError("settings")


async def asgi2(scope: Message) -> None:
    """An ASGI 2 application."""


class StartsBadly:
    """Says that startup failed."""

    async def __call__(self, _: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})


class EndsBadly:
    """Starts, and raises in shutdown."""

    async def __call__(self, _: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise RuntimeError("no end")


class SaysNonsense:
    """Sends a lifespan answer that was not asked for."""

    async def __call__(self, _: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


starts_badly, ends_badly, says_nonsense = StartsBadly(), EndsBadly(), SaysNonsense()


@contextlib.asynccontextmanager
async def bad_lifespan(_: Starlette) -> AsyncIterator[None]:
    if not happened:
        raise ValueError("wrong password")
    yield


bad_starlette = Starlette(lifespan=bad_lifespan)


def here(name: str) -> str:
    return f"tests.routing.apps:{name}"


def serving(loop: Loop, spec: Asgi | None = None) -> Served:
    return Served(listen(spec or asgi(here("app")), "127.0.0.1:0"), loop, SYSTEM)


async def heard(sock: socket.socket) -> bytes:
    """Receive all until the other side ends, without blocking the loop."""
    sock.setblocking(False)
    data = b""
    while True:
        await anyio.wait_readable(sock)
        part = sock.recv(65536)
        if not part:
            return data
        data += part


def http(served: Served) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.port}", trust_env=False)


async def closed(node: ServingNode, count: int) -> None:
    await eventually(lambda: len(node.closed) >= count)
    assert sorted(node.closed) == list(range(1, count + 1))
