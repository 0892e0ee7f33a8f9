"""Clients that take nothing of what they are sent cost bounded memory and time; slow ones are served."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from h2.events import DataReceived, StreamReset
from websockets.asyncio.client import connect

from actors._base.loop import Loop
from actors.routing import BadListener, Listener, RequestTimedOut, asgi, listen
from tests.routing import slow_reader_apps as apps
from tests.routing.apps import ASYNCIO, SYSTEM
from tests.routing.certificates import Certified
from tests.routing.serving_nodes import Served, ServingNode, eventually, run
from tests.routing.test_http2 import Raw

APP = "tests.routing.slow_reader_apps:app"
SIZE = len(apps.PART) * apps.PARTS


@pytest.fixture(autouse=True)
def _nothing_was_sent() -> Iterator[None]:
    yield
    apps.sent.clear()
    apps.ended.clear()


def spec(limit: float = 0.2, *, http2: bool = False, **more: Any) -> Listener:
    served = asgi(APP, lifespan="off", send_timeout=limit, keep_alive=0.1, http2=http2)
    return listen(served, "127.0.0.1:0", **more)


def reader(served: Served, path: str) -> socket.socket:
    """A client that asks, and reads nothing by itself; its kernel keeps little for it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", served.port))
    sock.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
    return sock


def timed_out(served: Served) -> list[object]:
    return [fact for fact in served.facts if isinstance(fact, RequestTimedOut)]


async def given_up(served: Served, node: ServingNode) -> None:
    """Wait until the node has ended its one connection, and said why."""
    await eventually(lambda: node.closed)
    assert node.server is not None
    assert node.server.open == 0
    (fact,) = timed_out(served)
    assert isinstance(fact, RequestTimedOut)
    assert (fact.part, fact.seconds) == ("response", 0.2)


@ASYNCIO
@pytest.mark.parametrize("path", ["/parts", "/one", "/events"])
def test_who_takes_nothing_of_a_response_is_disconnected(kind: str, path: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(), loop, SYSTEM) as served:
            node = await served.join()
            with reader(served, path):
                await given_up(served, node)
            if path != "/one":
                await eventually(lambda: apps.ended)
                assert apps.ended == ["ClientDisconnected"]
                # What the kernel and the transport keep; the application waited behind it.
                assert apps.sent[-1] < apps.PARTS

    run(kind, test)


@ASYNCIO
def test_who_takes_nothing_over_tls_is_disconnected(kind: str, certified: Certified) -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(**certified.files), loop, SYSTEM) as served:
            node = await served.join()
            plain = socket.socket()
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.connect(("127.0.0.1", served.port))

            def ask() -> ssl.SSLSocket:
                context = certified.client()
                context.check_hostname = False
                sock = context.wrap_socket(plain)
                sock.sendall(b"GET /parts HTTP/1.1\r\nHost: x\r\n\r\n")
                return sock

            with await anyio.to_thread.run_sync(ask):
                await given_up(served, node)

    run(kind, test)


@ASYNCIO
def test_who_takes_no_message_of_a_websocket_is_disconnected(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(), loop, SYSTEM) as served:
            node = await served.join()
            url = f"ws://127.0.0.1:{served.port}/"
            async with connect(url, proxy=None, max_queue=1, close_timeout=0.1, compression=None):
                await given_up(served, node)
            await eventually(lambda: apps.ended)

    run(kind, test)


@ASYNCIO
def test_a_slow_reader_gets_all_of_it_however_long_that_takes(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(0.4), loop, SYSTEM) as served:
            await served.join()
            with reader(
                served, "/one"
            ) as sock:  # of which the kernel has a lot before this process goes on
                sock.setblocking(False)
                got, began = 0, loop.now()
                while got < SIZE:
                    await anyio.wait_readable(sock)
                    data = sock.recv(1 << 20 if loop.now() - began > 2 else 32768)
                    assert data
                    got += len(data)
                    await anyio.sleep(0 if loop.now() - began > 2 else 0.02)
            assert timed_out(served) == []

    run(kind, test)


@ASYNCIO
def test_a_client_that_asks_nothing_more_or_waits_for_an_event_is_not_timed_out(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(0.05), loop, SYSTEM) as served:
            node = await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n")
                sock.setblocking(False)
                while not node.closed:
                    with anyio.move_on_after(0.02):
                        await anyio.wait_readable(sock)
                        sock.recv(1 << 20)
            assert timed_out(served) == []  # `keep_alive` has ended it

    run(kind, test)


@ASYNCIO
def test_http2_a_stream_whose_window_stays_closed_is_ended_and_the_others_go_on(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(http2=True), loop, SYSTEM) as served:
            node = await served.join()
            client = Raw(served, window=1000)
            client.get(1, "/parts")
            reset = await client.until(StreamReset)
            assert reset.stream_id == 1
            taken = [one for one in client.events if isinstance(one, DataReceived)]
            assert sum(len(one.data) for one in taken) == 1000
            assert timed_out(served)
            assert node.closed == []
            client.get(3, "/parts")
            await client.until(DataReceived, stream_id=3)
            client.sock.close()

    run(kind, test)


@ASYNCIO
def test_http2_who_reads_nothing_is_disconnected(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(http2=True), loop, SYSTEM) as served:
            node = await served.join()
            client = Raw(served, window=2**30)
            client.h2.increment_flow_control_window(2**30)
            client.get(1, "/parts")
            await client.flush()
            await given_up(served, node)
            client.sock.close()

    run(kind, test)


@pytest.mark.parametrize("bad", [0, -1, True, "5", math.nan])
def test_the_limit_is_checked(bad: object) -> None:
    with pytest.raises(BadListener, match="send_timeout must be more than 0, got"):
        asgi(APP, send_timeout=bad)  # type: ignore[arg-type]


@ASYNCIO
def test_without_a_limit_it_is_waited_for(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(math.inf), loop, SYSTEM) as served:
            node = await served.join()
            with reader(served, "/parts"):
                await eventually(lambda: apps.sent and apps.sent[-1] > 0)
                await anyio.sleep(0.5)
                assert node.closed == []

    run(kind, test)
