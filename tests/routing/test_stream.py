"""`async def handle(stream)` on every loop: from a client's connect to the node's `closed`."""

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute, SocketStream

from actors._base.loop import Loop
from actors.routing import (
    HandedOver,
    HandlerFailed,
    HandlerNotFound,
    HandlerUnfit,
    Sticky,
    listen,
    query,
)
from tests.routing.serving_nodes import LOOPS, Served, eventually, fds, reset, run

pytestmark = pytest.mark.parametrize("kind", LOOPS)


async def echo(stream: ByteStream) -> None:
    async for data in stream:
        await stream.send(data)


async def who(stream: SocketStream) -> None:
    peer = stream.extra(SocketAttribute.remote_address)  # noqa: S610 - no Django here
    await stream.send(repr(peer).encode())


async def crash(stream: ByteStream) -> None:
    if await stream.receive() == b"crash":
        raise RuntimeError("as asked")
    await stream.send(b"fine")


async def forever(stream: ByteStream) -> None:
    await stream.send(b"hello")
    await anyio.sleep_forever()


async def receive_all(stream: ByteStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += await stream.receive()
    return data


async def all_closed(served: Served, count: int) -> None:
    await eventually(lambda: sum(len(node.closed) for node in served.nodes) == count)


def not_async(stream: ByteStream) -> None:
    """A handler that cannot serve."""


def test_an_echo_over_two_nodes_answers_everybody_and_leaves_nothing_open(kind: str) -> None:
    async def client(port: int, number: int) -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            text = f"hello {number} ".encode() * 1000
            await stream.send(text)
            assert await receive_all(stream, len(text)) == text

    async def test(loop: Loop) -> None:
        async with Served(listen(echo, "127.0.0.1:0"), loop) as served:
            await served.join()
            await served.join()
            before = 0
            for turn in (1, 2):
                async with anyio.create_task_group() as group:
                    for number in range(20):
                        group.start_soon(client, served.port, number)
                await all_closed(served, 20 * turn)
                before = before or fds()  # after the first turn: a loop keeps one spare of its own
            stats = served.router.snapshot()
            assert [(node.total, node.open) for node in stats.nodes] == [(20, 0), (20, 0)]
            assert all(max(Counter(node.closed).values()) == 1 for node in served.nodes)
            assert served.facts[1:] == []
            await eventually(lambda: fds() == before)

    run(kind, test)


def test_a_handler_knows_its_client(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(listen(who, "127.0.0.1:0"), loop) as served:
            await served.join()
            async with await anyio.connect_tcp("127.0.0.1", served.port) as stream:
                local = stream.extra(SocketAttribute.local_address)  # noqa: S610 - no Django here
                assert await stream.receive() == repr(local).encode()

    run(kind, test)


def test_unix_clients_are_served_too(kind: str, tmp_path: Path) -> None:
    async def test(loop: Loop) -> None:
        async with Served(listen(echo, f"unix:{tmp_path}/s"), loop) as served:
            await served.join()
            async with await anyio.connect_unix(f"{tmp_path}/s") as stream:
                await stream.send(b"hi")
                assert await stream.receive() == b"hi"

    run(kind, test)
    assert list(tmp_path.iterdir()) == []


def test_what_a_handler_raises_ends_its_own_connection_only(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(listen(crash, "127.0.0.1:0"), loop) as served:
            (node,) = [await served.join()]
            good = await anyio.connect_tcp("127.0.0.1", served.port)
            bad = await anyio.connect_tcp("127.0.0.1", served.port)
            await bad.send(b"crash")
            with pytest.raises(anyio.EndOfStream):
                await bad.receive()
            await good.send(b"go on")
            assert await good.receive() == b"fine"
            await good.aclose()
            await bad.aclose()
            await eventually(lambda: len(node.closed) == 2)
            (fact,) = [fact for fact in served.facts if isinstance(fact, HandlerFailed)]
            assert (fact.listener, repr(fact.error)) == ("127.0.0.1:0", "RuntimeError('as asked')")

    run(kind, test)


@pytest.mark.parametrize("way", ["end", "reset"])
def test_a_client_that_goes_away_is_no_failure_of_the_handler(kind: str, way: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(listen(crash, "127.0.0.1:0"), loop) as served:
            node = await served.join()
            client = socket.create_connection(("127.0.0.1", served.port))
            await eventually(lambda: served.router.snapshot().nodes[0].open == 1)
            if way == "reset":
                reset(client)
            client.close()
            await eventually(lambda: len(node.closed) == 1)
            assert not [fact for fact in served.facts if isinstance(fact, HandlerFailed)]

    run(kind, test)


def test_a_client_that_reset_before_it_was_handed_over_is_closed(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(listen(echo, "127.0.0.1:0"), loop) as served:
            reset(socket.create_connection(("127.0.0.1", served.port)))
            node = await served.join()
            await eventually(lambda: len(node.closed) == 1)

    run(kind, test)


def test_draining_lets_handlers_end_in_time_and_then_cancels_them(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(listen(forever, "127.0.0.1:0"), loop) as served:
            node = await served.join()
            assert node.server is not None
            stream = await anyio.connect_tcp("127.0.0.1", served.port)
            assert await stream.receive() == b"hello"
            served.router.remove_node(node, dead=False)
            await node.server.drain(0.01)
            assert (node.server.open, node.closed) == (0, [1])
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()
            await stream.aclose()

    run(kind, test)


def test_draining_ends_as_soon_as_the_last_handler_does(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(listen(echo, "127.0.0.1:0"), loop) as served:
            node = await served.join()
            server = node.server
            assert server is not None
            stream = await anyio.connect_tcp("127.0.0.1", served.port)
            await stream.send(b"a")
            assert await stream.receive() == b"a"
            async with anyio.create_task_group() as group:
                group.start_soon(server.drain, 3600)
                await stream.send(b"b")
                assert await stream.receive() == b"b"
                await stream.aclose()
            assert server.open == 0

    run(kind, test)


def test_a_draining_server_refuses_and_the_client_is_served_by_another(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(listen(echo, "127.0.0.1:0"), loop) as served:
            leaving = await served.join()
            await served.join()
            assert leaving.server is not None
            await leaving.server.drain(0)  # the router has not heard yet
            async with await anyio.connect_tcp("127.0.0.1", served.port) as stream:
                await stream.send(b"hi")
                assert await stream.receive() == b"hi"
            assert leaving.refused == [1]

    run(kind, test)


def test_a_connection_taken_and_stopped_in_one_breath_is_closed_once(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(listen(echo, "127.0.0.1:0"), loop) as served:
            node = await served.join()
            assert node.server is not None
            here, there = socket.socketpair()
            node.server.take(77, there)
            await node.server.stop()
            assert node.closed == [77]
            assert here.recv(1) == b""
            here.close()

    run(kind, test)


@pytest.mark.parametrize(
    "path, error, message",
    [
        (
            "no.such.module:handle",
            HandlerNotFound,
            "cannot import handler 'no.such.module:handle': ",
        ),
        (f"{__name__}:nobody", HandlerNotFound, "has no attribute 'nobody'"),
        (
            f"{__name__}:not_async",
            HandlerUnfit,
            "it must be async def handle(stream), got <function",
        ),
        (f"{__name__}:LOOPS", HandlerUnfit, "it must be async def handle(stream), got ('asyncio'"),
    ],
)
def test_a_handler_that_cannot_serve_is_one_clear_error_at_boot(
    kind: str, path: str, error: type[Exception], message: str
) -> None:
    async def test(loop: Loop) -> None:
        async with Served(listen(path, "127.0.0.1:0"), loop) as served:
            with pytest.raises(error) as caught:
                await served.join()
            assert message in str(caught.value)

    run(kind, test)


@pytest.mark.parametrize(
    "error, hint", [("ValueError", "$"), ("SystemExit", "; what runs a program belongs under `if")]
)
def test_a_module_that_raises_on_import_says_what(
    kind: str, error: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"broken_{kind}.py").write_text(f"raise {error}('at import')")
    monkeypatch.syspath_prepend(tmp_path)

    async def test(loop: Loop) -> None:
        async with Served(listen(f"broken_{kind}:handle", "127.0.0.1:0"), loop) as served:
            with pytest.raises(HandlerNotFound, match=f"{error}: at import{hint}"):
                await served.join()

    run(kind, test)


def test_sticky_clients_are_routed_by_a_head_in_three_pieces(kind: str) -> None:
    async def test(loop: Loop) -> None:
        policy = Sticky(query("room"))
        async with Served(listen(echo, "127.0.0.1:0", policy=policy), loop) as served:
            await served.join()
            await served.join()
            for turn in range(1, 9):
                async with await anyio.connect_tcp("127.0.0.1", served.port) as stream:
                    for piece in (b"GET /?ro", b"om=one HT", b"TP/1.1\r\n"):
                        await stream.send(piece)
                        await anyio.sleep(0.002)
                    head = b"GET /?room=one HTTP/1.1\r\n"
                    assert await receive_all(stream, len(head)) == head
                await all_closed(served, turn)
            assert sorted(len(node.closed) for node in served.nodes) == [0, 8]

    run(kind, test)


def test_slow_sticky_clients_are_handed_over_when_the_router_closes_or_they_end(kind: str) -> None:
    async def test(loop: Loop) -> None:
        policy = Sticky(query("room"))
        async with Served(listen(echo, "127.0.0.1:0", policy=policy), loop) as served:
            await served.join()
            ending = socket.create_connection(("127.0.0.1", served.port))
            with socket.create_connection(("127.0.0.1", served.port)):
                await eventually(lambda: served.router.snapshot().peeking == 2)
                ending.close()
                await all_closed(served, 1)
                assert served.router.snapshot().peeking == 1
                served.router.close()
                assert served.router.snapshot().peeking == 0

    run(kind, test)


HOLD = """
import signal, socket, sys
link = socket.socket(fileno=int(sys.argv[1]))
socket.recv_fds(link, 1, 1)
link.send(b"k")
signal.pause()
"""


class HoldingPlace:
    """Sends descriptors to a process that never acknowledges."""

    name = "web-9"
    slot = 9

    def __init__(self, link: socket.socket) -> None:
        self.link = link

    def hand_over(self, handed: Sequence[HandedOver], listener: str) -> None:
        for one in handed:
            socket.send_fds(self.link, [f"{one.number} {listener}"[:1].encode()], [one.fd])


def test_a_killed_process_node_loses_no_unacknowledged_connection(kind: str) -> None:
    ours, theirs = socket.socketpair()
    with (
        ours,
        theirs,
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(theirs.fileno())], pass_fds=[theirs.fileno()]
        ) as child,
    ):

        async def test(loop: Loop) -> None:
            async with Served(listen(echo, "127.0.0.1:0"), loop) as served:
                node = HoldingPlace(ours)
                served.router.add_node(node)
                async with await anyio.connect_tcp("127.0.0.1", served.port) as stream:
                    await stream.send(b"still here")
                    await anyio.wait_readable(ours)
                    await served.join()
                    child.kill()
                    served.router.remove_node(node, dead=True)
                    assert await stream.receive() == b"still here"

        try:
            run(kind, test)
        finally:
            child.kill()
