"""What HTTP promises to clients, whatever the application does: bodies, heads, half-closed connections."""

import asyncio
import gc
import socket
import weakref

import anyio
import anyio.to_thread
import pytest

from actors._base.loop import Loop
from actors.routing import HandlerUnfit, RequestTimedOut, asgi
from actors.routing.serving.asgi import AsgiServer
from actors.routing.serving.http_connection import HttpConnection
from tests.routing.apps import ASYNCIO, closed, happened, heard, serving
from tests.routing.http_apps import here
from tests.routing.serving_nodes import Served, eventually, reset, run

LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def post(path: str, length: int, *lines: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *lines, "", ""]
    return "\r\n".join(head).encode()


def connect(served: Served) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", served.port), timeout=20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def send_all(sock: socket.socket, data: bytes) -> None:
    await anyio.to_thread.run_sync(sock.sendall, data)


async def exchange(served: Served, *sent: bytes) -> bytes:
    """Send some segments, each when the loop has run, and return all that comes back."""
    with connect(served) as sock:
        for data in sent:
            await send_all(sock, data)
            await anyio.sleep(0.002)
        return await heard(sock)


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


@ASYNCIO
@pytest.mark.parametrize("length", [5, 300_000, 5_000_000])
def test_an_answer_before_the_body_is_read_leaves_the_connection_in_order(
    kind: str, length: int
) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("early"))) as served:
            await served.join()
            answer = await exchange(served, post("/first", length) + b"a" * length + LAST)
            assert statuses(answer) == [200, 200]
            assert b"/first 0" in answer
            assert answer.endswith(b"/last 0")

    run(kind, test)


@ASYNCIO
def test_the_rest_of_a_body_is_waited_for_as_long_as_a_body(kind: str) -> None:
    async def test(loop: Loop) -> None:
        spec = asgi(here("early"), head_timeout=0.1, keep_alive=0.1, body_timeout=20)
        async with serving(loop, spec) as served:
            await served.join()
            with connect(served) as sock:
                await send_all(sock, post("/first", 3))
                assert (await anyio.to_thread.run_sync(sock.recv, 4096)).endswith(b"/first 0")
                for part in (b"a", b"b", b"c"):
                    await anyio.sleep(0.2)  # longer than a head, or an idle client, would be given
                    await send_all(sock, part)
                await send_all(sock, LAST)
                assert (await heard(sock)).endswith(b"/last 0")

    run(kind, test)


@ASYNCIO
def test_the_rest_of_a_body_that_does_not_come_is_given_up(kind: str) -> None:
    async def test(loop: Loop) -> None:
        spec = asgi(here("early"), body_timeout=0.1)
        async with serving(loop, spec) as served:
            node = await served.join()
            with connect(served) as sock:
                await send_all(sock, post("/first", 300_000))
                assert (await heard(sock)).endswith(b"/first 0")
            await closed(node, 1)
            parts = [fact.part for fact in served.facts if isinstance(fact, RequestTimedOut)]
            assert parts == ["body"]

    run(kind, test)


@ASYNCIO
def test_a_client_that_closes_after_the_answer_gets_it_whole_whatever_it_still_sends(
    kind: str,
) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("early"))) as served:
            node = await served.join()
            with connect(served) as sock:
                await send_all(sock, post("/first", 9_000_000, "Connection: close"))
                await send_all(sock, b"a" * 9_000_000)
                answer = await heard(sock)
            assert statuses(answer) == [200]
            assert answer.endswith(b"/first 0")
            await closed(node, 1)

    run(kind, test)


@ASYNCIO
def test_a_body_that_nobody_asked_for_may_not_come(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("early"))) as served:
            await served.join()
            answer = await exchange(served, post("/first", 9, "Expect: 100-continue"))
            assert statuses(answer) == [200]
            assert b"connection: close" in answer
            assert statuses(
                await exchange(served, post("/all", 1, "Expect: 100-continue"), b"a" + LAST)
            ) == [100, 200, 200]

    run(kind, test)


@ASYNCIO
@pytest.mark.parametrize("lines", ["Connection: close\r\n", ""])
def test_a_client_that_ends_its_sending_side_is_answered(kind: str, lines: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("waits"))) as served:
            node = await served.join()
            with connect(served) as sock:
                sock.sendall(
                    f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n{lines}\r\nhey".encode()
                )
                sock.shutdown(socket.SHUT_WR)
                answer = await heard(sock)
            assert statuses(answer) == [200]
            assert answer.endswith(b"4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n")
            assert happened == ["http.request hey", "http.disconnect"]
            await closed(node, 1)

    run(kind, test)


@ASYNCIO
def test_every_pipelined_request_of_a_half_closed_client_is_answered(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("waits"))) as served:
            await served.join()
            with connect(served) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
                sock.shutdown(socket.SHUT_WR)
                assert statuses(await heard(sock)) == [200, 200, 200]

    run(kind, test)


@ASYNCIO
def test_a_response_that_ends_its_connection_does_not_also_say_keep_alive(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("call"), lifespan="off")) as served:
            await served.join()
            head, _, _ = (await exchange(served, LAST)).partition(b"\r\n\r\n")
            assert b"connection: close" in head
            assert b"keep-alive" not in head

    run(kind, test)


@ASYNCIO
def test_http_1_0_gets_no_chunks(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("streams"))) as served:
            await served.join()
            with connect(served) as sock:
                sock.sendall(b"GET /lines HTTP/1.0\r\n\r\n")
                answer = b""
                while answer.count(b"data: x\n\n") < 2:
                    answer += await anyio.to_thread.run_sync(sock.recv, 4096)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert b"connection: close" in head
            assert b"transfer-encoding" not in head
            assert not body.replace(b"data: x\n\n", b"")

    run(kind, test)


@ASYNCIO
@pytest.mark.parametrize(
    "head, status",
    [
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost:\r\nConnection:Upgrade\r\nUpgrade:websocket\r\ncontent-length:4\r\n\r\n", 400),
        ("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: [::1]:8000\r\nConnection: close\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", 200),
        ("GET / HTTP/1.0\r\n\r\n", 200),
    ],
)  # fmt: skip
def test_a_request_has_one_host(kind: str, head: str, status: int) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("early"))) as served:
            await served.join()
            assert statuses(await exchange(served, head.encode())) == [status]

    run(kind, test)


@ASYNCIO
@pytest.mark.parametrize("query", ["a%0d%0aset-cookie:x", "%0d%0a%0d%0a<html>"])
def test_a_header_that_would_be_two_is_a_500(kind: str, query: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("injects"))) as served:
            await served.join()
            answer = await exchange(served, f"GET /?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert statuses(answer) == [500]
            assert answer.endswith(b"Internal Server Error")
            assert b"set-cookie" not in answer

    run(kind, test)


def head_of(size: int) -> bytes:
    head = b"GET /h HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Pad:   %b  \r\n\r\n"
    return head % (b"p" * (size - len(head) + 2))


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\r\n\r\r\n0\r\n\r\n"
)


@ASYNCIO
@pytest.mark.parametrize(
    "before", [b"", LAST.replace(b"close", b"open"), post("/b", 6) + b"\r\n\r\n\r\n", CHUNKED]
)
@pytest.mark.parametrize("pieces", [1, 7, 499, 10_000])
@pytest.mark.parametrize("size, status", [(500, 200), (501, 431)])
def test_the_limit_of_a_head_does_not_depend_on_how_it_was_cut(
    kind: str, before: bytes, pieces: int, size: int, status: int
) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("counts_headers"), max_head=500)) as served:
            node = await served.join()
            ours, theirs = socket.socketpair()
            assert isinstance(node.server, AsgiServer)
            node.server.take(99, theirs)
            protocols = node.server._protocols
            await eventually(lambda: protocols[99])
            protocol = protocols[99]
            assert isinstance(protocol, HttpConnection)
            if before:
                protocol.data_received(before)  # answered before the head below is complete
                await eventually(lambda: protocol.cycle is None or protocol.cycle.response_complete)
            for piece in cut(head_of(size), pieces):
                protocol.data_received(piece)
            assert statuses(await heard(ours))[-1] == status
            ours.close()

    run(kind, test)


@ASYNCIO
@pytest.mark.parametrize("trailer", ["X: " + "a" * 2000, "X: y\r\n" * 500])
@pytest.mark.parametrize("size", [100, 100_000])
def test_what_follows_the_chunks_of_a_body_is_limited_as_a_head_and_is_no_header(
    kind: str, trailer: str, size: int
) -> None:
    async def test(loop: Loop) -> None:
        head = (
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        )
        async with serving(loop, asgi(here("counts_headers"), max_head=1000)) as served:
            await served.join()
            chunk = f"{head}{50_000:x}\r\n{'b' * 50_000}\r\n0\r\n"
            short = await exchange(served, f"{chunk}Authorization: me\r\n\r\n".encode())
            assert statuses(short) == [200]
            assert b"authorization" not in short
            long = await exchange(served, chunk.encode(), *cut(trailer.encode(), size))
            assert b"authorization" not in long
            assert 200 not in statuses(long)

    run(kind, test)


@ASYNCIO
def test_an_error_after_a_pipelined_request_does_not_spoil_its_answer(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("early"))) as served:
            await served.join()
            answer = await exchange(served, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\x00garbage\r\n\r\n")
            # The error has an answer of its own where the first one was complete before it was read.
            assert statuses(answer) in ([200], [200, 400])
            assert answer.partition(b"HTTP/1.1 400")[0].endswith(b"/ 0")

    run(kind, test)


@ASYNCIO
def test_a_connection_that_is_reset_after_an_answer_is_freed_at_once(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("early"), keep_alive=3600)) as served:
            node = await served.join()
            assert isinstance(node.server, AsgiServer)
            sock = connect(served)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await anyio.to_thread.run_sync(sock.recv, 4096)
            (one,) = node.server._protocols.values()
            protocol = weakref.ref(one)
            del one
            reset(sock)
            await closed(node, 1)
            await asyncio.sleep(0)
            gc.collect()
            assert protocol() is None

    run(kind, test)


@ASYNCIO
def test_an_async_factory_is_refused_by_name(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("make_app"), factory=True)) as served:
            with pytest.raises(HandlerUnfit, match="the factory is async"):
                await served.join()
            gc.collect()

    run(kind, test)


@ASYNCIO
@pytest.mark.parametrize("event", ["keep-alive is over", "the node ends", "the head is late"])
def test_what_the_client_has_sent_is_read_before_it_counts_as_late_or_idle(
    kind: str, event: str
) -> None:
    async def test(loop: Loop) -> None:
        spec = asgi(here("early"), head_timeout=0.1, keep_alive=20)
        async with serving(loop, spec) as served:
            node = await served.join()
            assert isinstance(node.server, AsgiServer)
            with connect(served) as sock:
                await send_all(sock, b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await anyio.to_thread.run_sync(sock.recv, 4096)).endswith(b"/first 0")
                (protocol,) = node.server._protocols.values()
                assert isinstance(protocol, HttpConnection)
                if event == "the head is late":
                    sock.sendall(LAST[:9])
                    await eventually(lambda: protocol._head_size == 9)
                    sock.sendall(LAST[9:])
                    protocol._late("head")  # as if the process had stood still meanwhile
                else:
                    sock.sendall(LAST)
                    if event == "the node ends":
                        protocol.shutdown()
                    else:
                        protocol._late("idle")
                assert (await heard(sock)).endswith(b"/last 0")

    run(kind, test)


@ASYNCIO
def test_a_client_that_has_closed_is_not_waited_for_when_keep_alive_is_over(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("early"), keep_alive=0.05)) as served:
            node = await served.join()
            sock = connect(served)
            await send_all(sock, b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await anyio.to_thread.run_sync(sock.recv, 4096)).endswith(b"/first 0")
            assert await heard(sock) == b""
            await closed(node, 1)
            sock.close()

    run(kind, test)


@ASYNCIO
def test_an_idle_connection_keeps_nothing_of_its_last_request(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("early"))) as served:
            node = await served.join()
            assert isinstance(node.server, AsgiServer)
            with connect(served) as sock:
                await send_all(sock, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert await anyio.to_thread.run_sync(sock.recv, 4096)
                (protocol,) = node.server._protocols.values()
                assert isinstance(protocol, HttpConnection)
                assert protocol.cycle is None
                await send_all(sock, LAST)
                assert (await heard(sock)).endswith(b"/last 0")

    run(kind, test)
