"""An ASGI node that leaves while others stay: clients are told to reconnect before anything is closed."""

import socket

import anyio
import anyio.to_thread
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from actors._base.loop import Loop
from actors.routing.serving.asgi import AsgiServer
from tests.routing.apps import ASYNCIO, closed, happened, heard, serving
from tests.routing.serving_nodes import eventually, run

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LONG = 60.0


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
def test_what_still_idles_when_patience_ends_is_closed_and_websockets_are_told(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served, anyio.create_task_group() as group:
            node = await served.join()
            server = node.server
            assert isinstance(server, AsgiServer)
            idle = socket.create_connection(("127.0.0.1", served.port), timeout=10)
            async with connect(f"ws://127.0.0.1:{served.port}/ws", proxy=None) as client:
                await client.recv()
                group.start_soon(server.drain, LONG, 0.3)
                await eventually(lambda: server.draining)
                await client.send("still there")
                assert await client.recv() == "STILL THERE"
                with pytest.raises(ConnectionClosed) as caught:
                    await client.recv()
                assert caught.value.rcvd is not None
                assert caught.value.rcvd.code == 1012
            assert await heard(idle) == b""
            idle.close()

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
