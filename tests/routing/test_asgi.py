"""`asgi("pkg:app")` with real clients: HTTP, WebSocket, lifespan, the slow and the broken."""

import contextlib
import logging
import socket
from pathlib import Path

import anyio
import httpx
import pytest
from websockets.asyncio.client import connect, unix_connect

from actors._base.loop import Loop
from actors.routing import RequestTimedOut, asgi, listen
from tests.routing.apps import ASYNCIO, SYSTEM, closed, happened, heard, here, http, serving
from tests.routing.serving_nodes import Served, eventually, fds, reset, run


@ASYNCIO
def test_http_is_served_with_the_system_in_its_state_and_one_lifespan(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served:
            node = await served.join()
            async with http(served) as client:
                for _ in range(3):
                    response = await client.get("/")
                    assert response.text == "the system of this node, database open"
                assert "date" in response.headers
                assert (await client.get("/stream")).text == "01234"
                assert (await client.get("/missing")).status_code == 404
            await closed(node, 1)
            assert happened == ["startup"]
        assert happened == ["startup", "shutdown"]
        assert served.facts[1:] == []

    run(kind, test)


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@ASYNCIO
def test_the_access_log_that_an_application_has_set_up_is_written(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, log = Lines(), logging.getLogger("uvicorn.access")
    monkeypatch.setattr(log, "handlers", [handler])
    monkeypatch.setattr(log, "level", logging.INFO)

    async def test(loop: Loop) -> None:
        async with serving(loop) as served:
            await served.join()
            async with http(served) as client:
                assert (await client.get("/")).status_code == 200

    run(kind, test)
    assert log.handlers == [handler]
    (line,) = handler.lines
    assert '"GET / HTTP/1.1" 200' in line


@ASYNCIO
def test_a_body_of_1_mib_arrives_whole(kind: str) -> None:
    async def test(loop: Loop) -> None:
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
    async def test(loop: Loop) -> None:
        async with serving(loop) as served:
            node = await served.join()
            async with connect(f"ws://127.0.0.1:{served.port}/ws", proxy=None) as client:
                assert await client.recv() == SYSTEM
                await client.send("hello")
                assert await client.recv() == "HELLO"
                assert served.router.snapshot().nodes[0].open == 1
            await closed(node, 1)
            await eventually(lambda: "chat ends" in happened)

    run(kind, test)


@ASYNCIO
def test_connections_leave_no_descriptor_behind(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served:
            node = await served.join()
            before = 0
            for turn in range(1, 4):
                async with http(served) as client:
                    await client.get("/")
                async with connect(f"ws://127.0.0.1:{served.port}/ws", proxy=None) as client2:
                    await client2.recv()
                reset(socket.create_connection(("127.0.0.1", served.port)))
                await closed(node, 3 * turn)
                await eventually(lambda: not before or fds() == before)  # noqa: B023 - awaited here
                before = before or fds()

    run(kind, test)


@ASYNCIO
def test_an_application_without_lifespan_has_the_system_too(kind: str) -> None:
    async def test(loop: Loop) -> None:
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
    async def test(loop: Loop) -> None:
        async with serving(loop) as served:
            await served.join()
            async with http(served) as client:
                assert (await client.get("/broken")).status_code == 500
                assert (await client.get("/")).status_code == 200

    run(kind, test)


@ASYNCIO
def test_garbage_is_a_400_and_its_connection_is_closed(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served:
            node = await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(b"\x00\x01garbage\r\n\r\n")
                assert (await heard(sock)).startswith(b"HTTP/1.1 400 ")
            await closed(node, 1)

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
    async def test(loop: Loop) -> None:
        spec = asgi(here("app"), head_timeout=0.05, body_timeout=0.05)
        async with serving(loop, spec) as served:
            node = await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(sent)
                assert (await heard(sock)).partition(b"\r\n")[0] == answer
            await closed(node, 1)
            reported = [fact for fact in served.facts if isinstance(fact, RequestTimedOut)]
            assert reported == ([RequestTimedOut("127.0.0.1:0", 1, part, 0.05)] if part else [])

    run(kind, test)


@ASYNCIO
def test_the_head_of_a_later_request_is_limited_too(kind: str) -> None:
    async def test(loop: Loop) -> None:
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
    async def test(loop: Loop) -> None:
        spec = asgi(here("app"), head_timeout=0.05, body_timeout=0.05)
        async with serving(loop, spec) as served:
            await served.join()
            async with http(served) as client:
                assert (await client.get("/slow?seconds=0.3")).text == "slow done"

    run(kind, test)


@ASYNCIO
def test_a_head_longer_than_the_limit_is_refused(kind: str) -> None:
    async def test(loop: Loop) -> None:
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
    async def test(loop: Loop) -> None:
        spec = listen(asgi(here("app")), f"unix:{tmp_path}/s")
        async with Served(spec, loop, SYSTEM) as served:
            node = await served.join()
            transport = httpx.AsyncHTTPTransport(uds=f"{tmp_path}/s")
            async with httpx.AsyncClient(transport=transport, base_url="http://unix") as client:
                assert (await client.get("/")).text == "the system of this node, database open"
            async with unix_connect(f"{tmp_path}/s", uri="ws://unix/ws") as websocket:
                assert await websocket.recv() == SYSTEM
            await closed(node, 2)

    run(kind, test)


@ASYNCIO
def test_an_idle_connection_is_closed_after_keep_alive(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("app"), keep_alive=0.05)) as served:
            await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await heard(sock)).startswith(b"HTTP/1.1 200")

    run(kind, test)


@ASYNCIO
def test_a_half_open_websocket_is_given_up_after_its_ping(kind: str) -> None:
    async def test(loop: Loop) -> None:
        spec = asgi(here("app"), ws_ping_interval=0.05, ws_ping_timeout=0.05)
        async with serving(loop, spec) as served:
            node = await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(
                    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Version: 13\r\n"
                    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
                )
                assert b"keepalive ping timeout" in await heard(sock)
            await closed(node, 1)

    run(kind, test)


def upgrade(target: str = "/ws", *lines: str) -> bytes:
    head = [
        f"GET {target} HTTP/1.1",
        "Host: x",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode()


@ASYNCIO
@pytest.mark.parametrize(
    "head, status",
    [
        (upgrade("/ws?" + "x" * 9000), "414 URI Too Long"),
        (upgrade("/ws?" + "x" * (8192 - 18)), "414 URI Too Long"),
        (upgrade("/ws", "X-Big: " + "x" * 9000), "431 Request Header Fields Too Large"),
        (upgrade("/ws", *["X: y"] * 130), "431 Request Header Fields Too Large"),
        (upgrade("/ws", "Content-Length: 5") + b"hello", "400 Bad Request"),
    ],
    ids=["target", "target by one", "header", "headers", "body"],
)
def test_a_websocket_head_that_the_library_would_not_read_is_answered(
    kind: str, head: bytes, status: str
) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served:
            node = await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(head)
                answer = await heard(sock)
            assert answer.partition(b"\r\n")[0] == f"HTTP/1.1 {status}".encode()
            await closed(node, 1)

    run(kind, test)


@ASYNCIO
def test_long_heads_are_fine_where_they_can_be_read(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served:
            await served.join()
            async with http(served) as client:
                assert (await client.get("/?" + "x" * 30_000)).status_code == 200
                response = await client.get("/", headers={"x-big": "x" * 30_000})
                assert response.status_code == 200
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(upgrade("/ws?" + "x" * (8192 - 19)))
                await anyio.wait_readable(sock)
                assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")

    run(kind, test)


@ASYNCIO
def test_fifty_clients_with_slow_heads_delay_nobody(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served, contextlib.AsyncExitStack() as stack:
            node = await served.join()
            slow = [
                stack.enter_context(socket.create_connection(("127.0.0.1", served.port)))
                for _ in range(50)
            ]
            for sock in slow:
                sock.sendall(b"GET / HTTP/1.1\r\nX: ")
            async with http(served) as client:
                for _ in range(5):
                    assert (await client.get("/")).status_code == 200
                    for sock in slow:
                        sock.sendall(b"x")
            await eventually(lambda: len(node.closed) == 1)
            assert node.server is not None
            assert node.server.open == 50

    run(kind, test)
