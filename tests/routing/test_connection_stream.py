"""The stream that handlers get on asyncio keeps the promises of anyio's."""

import socket
from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio.abc import SocketAttribute

from actors._base.loop import Loop
from actors.routing.serving.connection_stream import ConnectionStream, open_connection_stream
from actors.transport.attachments.anyio_streams import (
    check_stream,
    finish_stream_move,
    is_stream,
    take_stream,
)
from actors.transport.errors import StillViewed
from tests.routing.serving_nodes import run

LOOPS = pytest.mark.parametrize("kind", ["asyncio", "uvloop"])


def with_stream(
    kind: str,
    test: Callable[[ConnectionStream, socket.socket], Awaitable[None]],
    first: bytes = b"",
) -> None:
    """Run *test* with a stream and its client."""

    async def main(_: Loop) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname())
            served, _address = listening.accept()
        served.setblocking(False)
        with client:
            async with await open_connection_stream(served, first) as stream:
                await test(stream, client)

    run(kind, main)


async def received(stream: ConnectionStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await stream.receive(1000)
    return data


@LOOPS
def test_what_was_read_before_comes_first_and_in_the_pieces_asked_for(kind: str) -> None:
    async def test(stream: ConnectionStream, client: socket.socket) -> None:
        assert await stream.receive(3) == b"fir"
        assert await stream.receive() == b"st"
        client.sendall(b"second")
        assert await stream.receive() == b"second"
        client.shutdown(socket.SHUT_WR)
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        await stream.send(b"still")
        assert client.recv(10) == b"still"
        assert stream.extra(SocketAttribute.remote_address) == client.getsockname()  # noqa: S610 - not Django's

    with_stream(kind, test, b"first")


@LOOPS
def test_a_client_is_read_no_further_than_64_kib_ahead(kind: str) -> None:
    async def test(stream: ConnectionStream, client: socket.socket) -> None:
        client.setblocking(False)
        sent, stuck = 0, 0
        while stuck < 20:
            try:
                sent += client.send(bytes(1 << 16))
                stuck = 0
            except BlockingIOError:
                stuck += 1
            await anyio.sleep(0.005)  # the kernel and the loop have to stand still
        held = sum(map(len, stream._protocol.read_queue))
        assert 65536 < held < 512 * 1024
        assert len(await received(stream, sent)) == sent

    with_stream(kind, test)


@LOOPS
def test_a_send_waits_for_a_client_that_does_not_read_and_can_be_cancelled(kind: str) -> None:
    async def test(stream: ConnectionStream, client: socket.socket) -> None:
        with anyio.move_on_after(0.2) as scope:
            while True:
                await stream.send(bytes(1 << 20))
        assert scope.cancelled_caught
        client.setblocking(True)
        assert client.recv(100) == bytes(100)

    with_stream(kind, test)


@LOOPS
def test_a_handler_that_only_sends_lets_others_run(kind: str) -> None:
    async def test(stream: ConnectionStream, client: socket.socket) -> None:
        with anyio.fail_after(10), anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel, scope)
                while True:
                    await stream.send(b"x")
                    client.recv(10)

    with_stream(kind, test)


async def _cancel(scope: anyio.CancelScope) -> None:
    scope.cancel()


@LOOPS
def test_a_closed_stream_and_a_client_that_is_gone_are_errors_of_anyio(kind: str) -> None:
    async def test(stream: ConnectionStream, client: socket.socket) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(_ends_by_close, stream)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(anyio.BusyResourceError):
                await stream.receive()
            await stream.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await stream.send(b"x")
        assert client.recv(10) == b""

    with_stream(kind, test)


async def _ends_by_close(stream: ConnectionStream) -> None:
    with pytest.raises(anyio.ClosedResourceError):
        await stream.receive()


@LOOPS
def test_it_moves_with_the_bytes_that_nobody_has_received(kind: str) -> None:
    async def test(stream: ConnectionStream, client: socket.socket) -> None:
        assert await stream.receive(3) == b"fir"
        assert is_stream(stream)
        check_stream(stream)
        taken = take_stream(stream)
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive()
        finish_stream_move(stream)
        async with taken:
            client.sendall(b" and more")
            assert await taken.receive(2) == b"st"
            assert await taken.receive() == b" and more"

    with_stream(kind, test, b"first")


@LOOPS
def test_it_does_not_move_while_a_task_receives(kind: str) -> None:
    async def test(stream: ConnectionStream, client: socket.socket) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(stream.receive)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(StillViewed):
                check_stream(stream)
            client.sendall(b"x")

    with_stream(kind, test)
