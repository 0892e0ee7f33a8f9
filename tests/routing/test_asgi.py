"""`asgi("pkg:app")` with real clients: HTTP, WebSocket, lifespan, the slow and the broken."""

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import ConnectionClosed

from actors._loop import Loop as LoopShim
from actors.routing import (
    Asgi,
    HandlerNotFound,
    HandlerUnfit,
    LifespanFailed,
    RequestTimedOut,
    asgi,
    listen,
)
from tests.routing.rig import LOOPS, Served, ServingPlace, eventually, fds, reset, run

ASYNCIO = pytest.mark.parametrize("kind", [kind for kind in LOOPS if kind != "trio"])
SYSTEM = "the system of this node"
happened: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    happened.clear()


# --- applications ------------------------------------------------------------------------------


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
    """Know nothing of lifespan; give the system as text."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(scope["state"]["actors"]).encode()})


def make_plain() -> object:
    return plain


def make_nothing() -> None:
    return None


def make_trouble() -> object:
    raise KeyError("settings")


async def asgi2(scope: Message) -> None:
    """An application of the old kind."""


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
    """Answers what nobody asked."""

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
    return f"{__name__}:{name}"


def serving(loop: LoopShim, spec: Asgi | None = None) -> Served:
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


async def closed(place: ServingPlace, count: int) -> None:
    await eventually(lambda: len(place.closed) >= count)
    assert sorted(place.closed) == list(range(1, count + 1))


# --- tests -------------------------------------------------------------------------------------


@ASYNCIO
def test_http_is_served_with_the_system_in_its_state_and_one_lifespan(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        async with serving(loop) as served:
            place = await served.join()
            async with http(served) as client:
                for _ in range(3):
                    response = await client.get("/")
                    assert response.text == "the system of this node, database open"
                assert "date" in response.headers
                assert (await client.get("/stream")).text == "01234"
                assert (await client.get("/missing")).status_code == 404
            await closed(place, 1)
            assert happened == ["startup"]
        assert happened == ["startup", "shutdown"]
        assert served.facts[1:] == []

    run(kind, test)


@ASYNCIO
def test_a_body_of_1_mib_arrives_whole(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        body = bytes(range(256)) * 4096
        async with serving(loop) as served:
            await served.join()
            async with http(served) as client:
                response = await client.post("/upload", content=body)
            assert response.headers["x-size"] == "1048576"
            assert response.content == body

    run(kind, test)


@ASYNCIO
def test_websockets_are_served_with_the_system_in_their_state(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        async with serving(loop) as served:
            place = await served.join()
            async with connect(f"ws://127.0.0.1:{served.port}/ws", proxy=None) as client:
                assert await client.recv() == SYSTEM
                await client.send("hello")
                assert await client.recv() == "HELLO"
                assert served.router.snapshot().places[0].open == 1
            await closed(place, 1)
            await eventually(lambda: "chat ends" in happened)

    run(kind, test)


@ASYNCIO
def test_connections_leave_no_descriptor_behind(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        async with serving(loop) as served:
            place = await served.join()
            before = 0
            for turn in range(1, 4):
                async with http(served) as client:
                    await client.get("/")
                async with connect(f"ws://127.0.0.1:{served.port}/ws", proxy=None) as client2:
                    await client2.recv()
                reset(socket.create_connection(("127.0.0.1", served.port)))
                await closed(place, 3 * turn)
                await eventually(lambda: not before or fds() == before)  # noqa: B023 - awaited here
                before = before or fds()

    run(kind, test)


@ASYNCIO
def test_an_application_without_lifespan_has_the_system_too(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        for spec in (
            asgi(here("plain")),
            asgi(here("plain"), lifespan="off"),
            asgi(here("make_plain"), factory=True, proxy_headers=False),
        ):
            async with serving(loop, spec) as served:
                await served.join()
                async with http(served) as client:
                    assert (await client.get("/")).text == SYSTEM

    run(kind, test)


@ASYNCIO
def test_a_request_that_raises_is_a_500_and_the_node_goes_on(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        async with serving(loop) as served:
            await served.join()
            async with http(served) as client:
                assert (await client.get("/broken")).status_code == 500
                assert (await client.get("/")).status_code == 200

    run(kind, test)


@ASYNCIO
def test_garbage_is_a_400_and_its_connection_is_closed(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        async with serving(loop) as served:
            place = await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(b"\x00\x01garbage\r\n\r\n")
                assert (await heard(sock)).startswith(b"HTTP/1.1 400 ")
            await closed(place, 1)

    run(kind, test)


@ASYNCIO
@pytest.mark.parametrize(
    "sent, part, answer",
    [
        (b"", "", b""),
        (b"GET / HTTP/1.1\r\nHost:", "head", b"HTTP/1.1 408 Request Timeout"),
        (b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", "body", b""),
    ],
    ids=["nothing", "head", "body"],
)
def test_a_request_that_never_finishes_is_cut_off(
    kind: str, sent: bytes, part: str, answer: bytes
) -> None:
    async def test(loop: LoopShim) -> None:
        spec = asgi(here("app"), head_timeout=0.05, body_timeout=0.05)
        async with serving(loop, spec) as served:
            place = await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(sent)
                assert (await heard(sock)).partition(b"\r\n")[0] == answer
            await closed(place, 1)
            told = [fact for fact in served.facts if isinstance(fact, RequestTimedOut)]
            assert told == ([RequestTimedOut("127.0.0.1:0", 1, part, 0.05)] if part else [])

    run(kind, test)


@ASYNCIO
def test_the_head_of_a_later_request_is_limited_too(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        async with serving(loop, asgi(here("app"), head_timeout=0.1, keep_alive=600)) as served:
            await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await anyio.wait_readable(sock)
                assert sock.recv(4096).startswith(b"HTTP/1.1 200")
                sock.sendall(b"GET /second")
                assert (await heard(sock)).startswith(b"HTTP/1.1 408")

    run(kind, test)


@ASYNCIO
def test_a_slow_application_is_not_the_clients_fault(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        spec = asgi(here("app"), head_timeout=0.05, body_timeout=0.05)
        async with serving(loop, spec) as served:
            await served.join()
            async with http(served) as client:
                assert (await client.get("/slow?seconds=0.3")).text == "slow done"

    run(kind, test)


@ASYNCIO
def test_a_head_longer_than_the_limit_is_refused(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        async with serving(loop, asgi(here("app"), max_head=1000)) as served:
            await served.join()
            async with http(served) as client:
                assert (await client.get("/")).status_code == 200
                assert (await client.post("/upload", content=b"x" * 5000)).status_code == 200
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 2000)
                assert (await heard(sock)).startswith(b"HTTP/1.1 431 ")

    run(kind, test)


@ASYNCIO
def test_unix_clients_are_served_too(kind: str, tmp_path: Path) -> None:
    async def test(loop: LoopShim) -> None:
        spec = listen(asgi(here("app")), f"unix:{tmp_path}/s")
        async with Served(spec, loop, SYSTEM) as served:
            place = await served.join()
            transport = httpx.AsyncHTTPTransport(uds=f"{tmp_path}/s")
            async with httpx.AsyncClient(transport=transport, base_url="http://unix") as client:
                assert (await client.get("/")).text == "the system of this node, database open"
            async with unix_connect(f"{tmp_path}/s", uri="ws://unix/ws") as websocket:
                assert await websocket.recv() == SYSTEM
            await closed(place, 2)

    run(kind, test)


@ASYNCIO
def test_an_idle_connection_is_closed_after_keep_alive(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        async with serving(loop, asgi(here("app"), keep_alive=0.05)) as served:
            await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await heard(sock)).startswith(b"HTTP/1.1 200")

    run(kind, test)


@ASYNCIO
def test_a_half_open_websocket_is_given_up_after_its_ping(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        spec = asgi(here("app"), ws_ping_interval=0.05, ws_ping_timeout=0.05)
        async with serving(loop, spec) as served:
            place = await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(
                    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Version: 13\r\n"
                    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
                )
                assert b"keepalive ping timeout" in await heard(sock)
            await closed(place, 1)

    run(kind, test)


@ASYNCIO
def test_draining_ends_idle_connections_at_once_and_busy_ones_with_their_request(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        async with serving(loop) as served, anyio.create_task_group() as group:
            place = await served.join()
            server = place.server
            assert server is not None
            idle = socket.create_connection(("127.0.0.1", served.port))
            answers: list[httpx.Response] = []

            async def ask() -> None:
                async with http(served) as client:
                    answers.append(await client.get("/slow?seconds=0.2"))

            group.start_soon(ask)
            await eventually(lambda: "slow begins" in happened)
            await eventually(lambda: server.open == 2)
            await server.drain(60)
            assert await heard(idle) == b""
            idle.close()
            await eventually(lambda: answers)
            assert answers[0].text == "slow done"
            assert answers[0].headers["connection"] == "close"
            await closed(place, 2)

    run(kind, test)


@ASYNCIO
def test_draining_tells_websockets_to_come_back(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        async with serving(loop) as served:
            place = await served.join()
            assert place.server is not None
            async with connect(f"ws://127.0.0.1:{served.port}/ws", proxy=None) as client:
                await client.recv()
                await place.server.drain(60)
                with pytest.raises(ConnectionClosed) as caught:
                    await client.recv()
                assert caught.value.rcvd is not None
                assert caught.value.rcvd.code == 1012
            assert "chat ends" in happened

    run(kind, test)


@ASYNCIO
def test_what_does_not_end_in_time_is_aborted(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        async with serving(loop) as served:
            place = await served.join()
            assert place.server is not None
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
                await eventually(lambda: "slow begins" in happened)
                await place.server.drain(0.01)
                assert place.server.open == 0
                with contextlib.suppress(ConnectionResetError):
                    assert await heard(sock) == b""
            await closed(place, 1)

    run(kind, test)


@ASYNCIO
def test_a_connection_taken_and_stopped_in_one_breath_is_closed_once(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        async with serving(loop) as served:
            place = await served.join()
            assert place.server is not None
            here_, there = socket.socketpair()
            place.server.take(77, there)
            await place.server.stop()
            assert place.closed == [77]
            assert here_.recv(1) == b""
            here_.close()

    run(kind, test)


@ASYNCIO
@pytest.mark.parametrize(
    "spec, error, message",
    [
        (
            asgi("no.such:app"),
            HandlerNotFound,
            "cannot import handler 'no.such:app': ModuleNotFoundError",
        ),
        (asgi(here("nobody")), HandlerNotFound, "has no attribute 'nobody'"),
        (asgi(here("SYSTEM")), HandlerUnfit, "an ASGI application is callable, got 'the system"),
        (
            asgi(here("make_plain")),
            HandlerUnfit,
            "it takes no argument: did you mean factory=True?",
        ),
        (asgi(here("make_nothing"), factory=True), HandlerUnfit, "the factory returned None"),
        (
            asgi(here("make_trouble"), factory=True),
            HandlerUnfit,
            "the factory raised KeyError: 'settings'",
        ),
        (asgi(here("asgi2")), HandlerUnfit, "takes (scope, receive, send), this one takes (scope"),
        (
            asgi(here("starts_badly")),
            LifespanFailed,
            "startup of 'test_asgi:starts_badly' failed: no database",
        ),
        (asgi(here("bad_starlette")), LifespanFailed, "ValueError: wrong password"),
        (asgi(here("plain"), lifespan="on"), LifespanFailed, "AssertionError"),
        (asgi(here("says_nonsense"), lifespan="on"), LifespanFailed, "unexpected ASGI message"),
    ],
    ids=lambda value: value.app.partition(":")[2] if isinstance(value, Asgi) else "",
)
def test_an_application_that_cannot_serve_is_one_clear_error_at_boot(
    kind: str, spec: Asgi, error: type[Exception], message: str
) -> None:
    async def test(loop: LoopShim) -> None:
        async with serving(loop, spec) as served:
            with pytest.raises(error) as caught:
                await served.join()
            assert message.replace("test_asgi:", f"{__name__}:") in str(caught.value)

    run(kind, test)


@ASYNCIO
def test_an_application_that_fails_in_shutdown_is_told(kind: str) -> None:
    async def test(loop: LoopShim) -> None:
        async with serving(loop, asgi(here("ends_badly"))) as served:
            place = await served.join()
            assert place.server is not None
            with pytest.raises(
                LifespanFailed, match=r"lifespan shutdown of .* failed: RuntimeError"
            ):
                await place.server.stop()

    run(kind, test)


def test_a_trio_node_says_that_asgi_needs_asyncio() -> None:
    async def test(loop: LoopShim) -> None:
        async with serving(loop) as served:
            with pytest.raises(HandlerUnfit, match="needs nodes with backend='asyncio'"):
                await served.join()

    run("trio", test)
