"""A WebSocket whose application sends several messages within one turn of the loop."""

import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_in_a_thread

from actors._base.loop import Loop
from actors.routing import asgi, listen
from tests.routing.serving_nodes import Served, run

APP = "tests.routing.test_websocket_turns:app"
MANY: list[str | bytes] = [
    *(str(number) for number in range(50)),
    "x" * 513,
    b"\x00" * 66_000,
    "é" * 200,
    b"the last",
]
PATIENCE = 10.0

seen = threading.Event()
"""Set by a client that has got what it waits for."""


@pytest.fixture(autouse=True)
def nothing_is_seen() -> Iterator[None]:
    seen.clear()
    yield
    seen.set()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Send what its path says, and never let the loop turn in between."""
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    path = scope["path"]
    if path == "/computes":
        await _say(send, "first")
        _compute()
        await _say(send, "second")
        await _say(send, f"third, {seen.wait(PATIENCE)}")
    elif path == "/large":
        for _ in range(3):
            await _say(send, "x" * 9_000)
        await _say(send, f"fourth, {seen.wait(PATIENCE)}")
    else:
        for message in MANY:
            await _say(send, message)
    if path == "/closes":
        await send({"type": "websocket.close", "code": 4001})


def _compute() -> None:
    time.sleep(0.006)  # longer than messages are kept


async def _say(send: Any, message: str | bytes) -> None:
    kind = "text" if isinstance(message, str) else "bytes"
    await send({"type": "websocket.send", kind: message})


def through_the_router(loop_name: str, test: Callable[[int], Awaitable[None]]) -> None:
    async def main(loop: Loop) -> None:
        async with Served(listen(asgi(APP), "127.0.0.1:0"), loop, "system") as served:
            await served.join()
            with anyio.fail_after(30):
                await test(served.port)

    run(loop_name, main)


async def _read_all(client: ClientConnection, got: list[str | bytes]) -> None:
    while True:
        got.append(await client.recv())


@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("path", ["closes", "returns"])
def test_all_come_whole_and_in_order_before_the_end(
    loop_name: str, compression: str | None, path: str
) -> None:
    async def test(port: int) -> None:
        url = f"ws://127.0.0.1:{port}/{path}"
        got: list[str | bytes] = []
        async with connect(url, compression=compression, proxy=None) as client:
            with pytest.raises(ConnectionClosed) as closed:
                await _read_all(client, got)
        assert got == MANY
        if path == "closes":
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4001

    through_the_router(loop_name, test)


@pytest.mark.parametrize(
    "path,before", [("computes", 2), ("large", 3)], ids=["computes", "much is kept"]
)
def test_a_message_does_not_wait_for_an_application_that_blocks_the_loop(
    path: str, before: int
) -> None:
    def read(port: int) -> str | bytes:
        raw = socket.create_connection(("127.0.0.1", port))
        with connect_in_a_thread(
            f"ws://127.0.0.1:{port}/{path}", sock=raw, compression=None, proxy=None
        ) as client:
            for _ in range(before):
                client.recv(2 * PATIENCE)
            seen.set()
            return client.recv(2 * PATIENCE)

    async def test(port: int) -> None:
        last = await anyio.to_thread.run_sync(read, port)
        assert str(last).endswith(", True")

    through_the_router("uvloop", test)
