"""An ASGI node that leaves while others stay: clients are told to reconnect before anything is closed."""

import socket

import anyio
import anyio.to_thread
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from actors._base.loop import Loop
from actors.routing import asgi
from actors.routing.events import RequestTimedOut
from actors.routing.serving import http_connection, protocol_choice
from actors.routing.serving.asgi import AsgiServer
from tests.routing.apps import ASYNCIO, closed, happened, heard, here as app, serving
from tests.routing.http_apps import here as http_app
from tests.routing.serving_nodes import Served, eventually, reset, run

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LONG = 60.0


async def joined(served: Served) -> AsgiServer:
    """Have one node serve."""
    node = await served.join()
    assert isinstance(node.server, AsgiServer)
    return node.server


async def answer(sock: socket.socket) -> bytes:
    """Send a request over a keep-alive connection, and return the whole response."""
    sock.sendall(GET)
    said = b""
    while not said.endswith(b"database open"):
        said += await anyio.to_thread.run_sync(sock.recv, 4096)
    return said


@ASYNCIO
def test_an_idle_client_may_ask_once_more_and_is_told_to_come_again(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served, anyio.create_task_group() as group:
            node = await served.join()
            server = node.server
            assert isinstance(server, AsgiServer)
            idle = socket.create_connection(("127.0.0.1", served.port), timeout=10)
            fresh = socket.create_connection(("127.0.0.1", served.port), timeout=10)
            assert b"connection: close" not in await answer(idle)
            await eventually(lambda: server.open == 2)
            group.start_soon(server.drain, LONG, LONG)
            await eventually(lambda: server.draining)
            for client in (idle, fresh):
                said = await answer(client)
                assert said.startswith(b"HTTP/1.1 200 OK")
                assert b"connection: close" in said
                assert await heard(client) == b""
                client.close()
            await closed(node, 2)

    run(kind, test)


@ASYNCIO
def test_a_request_under_way_is_finished_and_its_connection_closed(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served, anyio.create_task_group() as group:
            node = await served.join()
            server = node.server
            assert isinstance(server, AsgiServer)
            slow = socket.create_connection(("127.0.0.1", served.port), timeout=10)
            slow.sendall(b"GET /slow?seconds=0.2 HTTP/1.1\r\nHost: x\r\n\r\n")
            await eventually(lambda: "slow begins" in happened)
            group.start_soon(server.drain, LONG, LONG)
            said = await heard(slow)
            assert b"connection: close" in said
            assert said.endswith(b"slow done")
            slow.close()
            await closed(node, 1)

    run(kind, test)


@ASYNCIO
def test_what_still_idles_when_patience_ends_is_closed(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served, anyio.create_task_group() as group:
            server = await joined(served)
            idle = socket.create_connection(("127.0.0.1", served.port), timeout=10)
            await eventually(lambda: server.open == 1)
            group.start_soon(server.drain, LONG, 0.3)
            assert await heard(idle) == b""
            idle.close()

    run(kind, test)


@ASYNCIO
def test_websockets_are_told_when_draining_begins(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served, anyio.create_task_group() as group:
            server = await joined(served)
            fresh = socket.create_connection(("127.0.0.1", served.port), timeout=10)
            address = f"ws://127.0.0.1:{served.port}/ws"
            async with connect(address, proxy=None) as client:
                await client.recv()
                group.start_soon(server.drain, LONG, LONG)
                with pytest.raises(ConnectionClosed) as caught:
                    await client.recv()
            async with connect(address, proxy=None, sock=fresh) as late:
                with pytest.raises(ConnectionClosed) as caught_late:
                    await late.recv()
            for error in (caught.value, caught_late.value):
                assert error.rcvd is not None
                assert error.rcvd.code == 1012

    run(kind, test)


@ASYNCIO
def test_an_application_that_sends_when_the_node_has_closed_its_websocket_makes_no_mistake(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(http_app("last_word"), lifespan="off")) as served:
            server = await joined(served)
            async with connect(f"ws://127.0.0.1:{served.port}/", proxy=None) as client:
                await server.drain(LONG)
                with pytest.raises(ConnectionClosed):
                    await client.recv()
            assert happened == ["websocket.disconnect", "this server has closed the connection"]
            assert caplog.messages == []

    run(kind, test)


@ASYNCIO
@pytest.mark.parametrize(
    "app, path, begun",
    [
        ("streams", "/events", "text/event-stream begins"),
        ("streams", "/idle", "text/event-stream begins"),
        ("raw_events", "/", "raw begins"),
    ],
)
def test_event_streams_end_whole_when_draining_begins(
    kind: str, app: str, path: str, begun: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(http_app(app))) as served, anyio.create_task_group() as group:
            server = await joined(served)
            clients = [
                socket.create_connection(("127.0.0.1", served.port), timeout=10) for _ in "12"
            ]
            clients[0].sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await eventually(lambda: begun in happened and server.open == 2)
            group.start_soon(server.drain, LONG, LONG)
            await eventually(lambda: server.draining)
            clients[1].sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            for client in clients:
                said = await heard(client)
                assert b"transfer-encoding: chunked" in said
                assert said.endswith(b"0\r\n\r\n")
                client.close()
            assert b"data: x" not in said
            assert caplog.messages == []
            if app == "raw_events":
                assert happened.count("raw ends") >= 1

    run(kind, test)


@ASYNCIO
def test_an_event_stream_that_answers_a_post_is_finished(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(http_app("call"), lifespan="off")) as served:
            server = await joined(served)
            with socket.create_connection(("127.0.0.1", served.port), timeout=10) as client:
                client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
                await eventually(lambda: "call begins" in happened)
                await server.drain(LONG)
                assert b"data: done" in await heard(client)
            assert happened == ["call begins"]

    run(kind, test)


@ASYNCIO
def test_other_responses_run_on_and_hear_of_it_shortly_before_the_end(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(http_app("long_poll"), lifespan="off")) as served:
            server = await joined(served)
            with socket.create_connection(("127.0.0.1", served.port), timeout=10) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await eventually(lambda: "poll begins" in happened)
                await server.drain(0.5)
                said = await heard(client)
            assert happened == ["poll begins", "http.disconnect"]
            assert said.endswith(b"\r\n\r\ndone")
            assert caplog.messages == []

    run(kind, test)


@ASYNCIO
@pytest.mark.parametrize("path", ["/slow", "/ws"])
def test_what_this_server_cancels_is_no_error_of_the_application(
    kind: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served:
            server = await joined(served)
            if path == "/ws":
                async with connect(f"ws://127.0.0.1:{served.port}/ws?deaf", proxy=None) as client:
                    await client.recv()
                    await server.drain(0.01)
            else:
                with socket.create_connection(("127.0.0.1", served.port), timeout=10) as sock:
                    sock.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
                    await eventually(lambda: "slow begins" in happened)
                    await server.drain(0.01)
            assert caplog.messages == []
            assert server.open == 0

    run(kind, test)


@ASYNCIO
def test_a_client_that_leaves_is_no_error_of_a_streaming_application(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(http_app("streams"))) as served:
            server = await joined(served)
            client = socket.create_connection(("127.0.0.1", served.port), timeout=10)
            client.sendall(b"GET /lines HTTP/1.1\r\nHost: x\r\n\r\n")
            await eventually(lambda: "text/plain begins" in happened)
            reset(client)
            await eventually(lambda: server.open == 0 and not server.busy)
            assert caplog.messages == []

    run(kind, test)


@ASYNCIO
def test_new_connections_are_refused_for_the_router_to_give_to_another(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served, anyio.create_task_group() as group:
            node = await served.join()
            server = node.server
            assert isinstance(server, AsgiServer)
            held = socket.create_connection(("127.0.0.1", served.port), timeout=10)
            await eventually(lambda: server.open == 1)
            group.start_soon(server.drain, LONG, LONG)
            await eventually(lambda: server.draining)
            here, there = socket.socketpair()
            server.take(4711, there)
            assert await heard(here) == b""
            assert server.open == 1
            held.close()
            here.close()

    run(kind, test)


@ASYNCIO
@pytest.mark.parametrize("begun", [b"", GET[:20]], ids=["nothing sent", "half a head"])
@pytest.mark.parametrize("http2", [False, True], ids=["http/1 alone", "either"])
def test_who_has_just_connected_is_served_by_a_node_that_ends(
    kind: str, begun: bytes, *, http2: bool
) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(app("app"), http2=http2)) as served:
            server = await joined(served)
            fresh = socket.create_connection(("127.0.0.1", served.port), timeout=10)
            fresh.sendall(begun)
            await eventually(lambda: server.open == 1)
            await anyio.sleep(0.05)  # its bytes are read
            async with anyio.create_task_group() as group:
                group.start_soon(server.drain, LONG)
                await eventually(lambda: server.draining)
                await anyio.sleep(0.1)  # as long as a request takes over a continent
                fresh.sendall(GET[len(begun) :])
                said = await heard(fresh)
            fresh.close()
            assert said.startswith(b"HTTP/1.1 200 OK")
            assert b"connection: close" in said

    run(kind, test)


@ASYNCIO
@pytest.mark.parametrize("begun", [b"", GET[:20]], ids=["nothing sent", "half a head"])
@pytest.mark.parametrize("http2", [False, True], ids=["http/1 alone", "either"])
def test_who_has_connected_and_sends_no_more_keeps_a_node_for_a_while_only(
    kind: str, begun: bytes, monkeypatch: pytest.MonkeyPatch, *, http2: bool
) -> None:
    for module in (http_connection, protocol_choice):
        monkeypatch.setattr(module, "LAST_HEAD", 0.2)

    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(app("app"), http2=http2)) as served:
            server = await joined(served)
            silent = socket.create_connection(("127.0.0.1", served.port), timeout=10)
            silent.sendall(begun)
            await eventually(lambda: server.open == 1)
            with anyio.fail_after(5):
                await server.drain(LONG)
            assert (await heard(silent)).startswith(b"HTTP/1.1 408" if begun else b"")
            silent.close()
            assert not any(isinstance(fact, RequestTimedOut) for fact in served.facts)

    run(kind, test)
