"""ASGI nodes that drain, stop, or never get ready."""

import contextlib
import socket

import anyio
import anyio.to_thread
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from actors._base.loop import Loop
from actors.routing import Asgi, HandlerNotFound, HandlerUnfit, LifespanFailed, asgi
from tests.routing.apps import ASYNCIO, closed, happened, heard, here, http, serving
from tests.routing.serving_nodes import eventually, run


@ASYNCIO
def test_draining_ends_idle_connections_at_once_and_busy_ones_with_their_request(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served, anyio.create_task_group() as group:
            node = await served.join()
            server = node.server
            assert server is not None
            idle = socket.create_connection(("127.0.0.1", served.port))
            idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await anyio.to_thread.run_sync(idle.recv, 4096)
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
            await closed(node, 2)

    run(kind, test)


@ASYNCIO
def test_draining_tells_websockets_to_come_back(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served:
            node = await served.join()
            assert node.server is not None
            async with connect(f"ws://127.0.0.1:{served.port}/ws", proxy=None) as client:
                await client.recv()
                await node.server.drain(60)
                with pytest.raises(ConnectionClosed) as caught:
                    await client.recv()
                assert caught.value.rcvd is not None
                assert caught.value.rcvd.code == 1012
            assert "chat ends" in happened

    run(kind, test)


@ASYNCIO
def test_what_does_not_end_in_time_is_aborted(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served:
            node = await served.join()
            assert node.server is not None
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
                await eventually(lambda: "slow begins" in happened)
                await node.server.drain(0.01)
                assert node.server.open == 0
                with contextlib.suppress(ConnectionResetError):
                    assert await heard(sock) == b""
            await closed(node, 1)

    run(kind, test)


@ASYNCIO
def test_a_connection_taken_and_stopped_in_one_breath_is_closed_once(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served:
            node = await served.join()
            assert node.server is not None
            here_, there = socket.socketpair()
            node.server.take(77, there)
            await node.server.stop()
            assert node.closed == [77]
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
        (asgi(here("NOT_CALLABLE")), HandlerUnfit, "an application is callable, got 'text'"),
        (asgi(here("LONG")), HandlerUnfit, f"an application is callable, got [{'0, ' * 33}..."),
        (asgi(here("TOPOLOGY")), HandlerUnfit, "got a Topology: `actors run` runs it"),
        (
            asgi(here("make_plain")),
            HandlerUnfit,
            "it takes no argument: did you mean factory=True (--factory)?",
        ),
        (asgi(here("make_nothing"), factory=True), HandlerUnfit, "the factory returned None"),
        (
            asgi(here("make_trouble"), factory=True),
            HandlerUnfit,
            "the factory raised KeyError: 'settings'",
        ),
        (asgi(here("asgi2")), HandlerUnfit, "it looks like ASGI 2, which takes (scope) alone"),
        (
            asgi(here("starts_badly")),
            LifespanFailed,
            "startup of 'tests.routing.apps:starts_badly' failed: no database",
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
    async def test(loop: Loop) -> None:
        async with serving(loop, spec) as served:
            with pytest.raises(error) as caught:
                await served.join()
            assert message in str(caught.value)

    run(kind, test)


@ASYNCIO
def test_an_application_that_fails_in_shutdown_is_told(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("ends_badly"))) as served:
            node = await served.join()
            assert node.server is not None
            with pytest.raises(
                LifespanFailed, match=r"lifespan shutdown of .* failed: RuntimeError"
            ):
                await node.server.stop()

    run(kind, test)


def test_a_trio_node_says_that_asgi_needs_asyncio() -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop) as served:
            with pytest.raises(HandlerUnfit, match="needs nodes with backend='asyncio'"):
                await served.join()

    run("trio", test)
