"""Behind a proxy with the PROXY protocol: the header is removed, and handlers see the real client."""

import fcntl
import socket
import struct
import termios

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

from actors._base.loop import Loop
from actors.routing import ProxyHeaderMissing, asgi, listen
from actors.routing.serving.proxy_header import take_proxy_header
from actors.routing.sticky.proxy_protocol import ProxyHeader
from tests.routing.apps import ASYNCIO, SYSTEM, heard, here
from tests.routing.certificates import NAME, Certified
from tests.routing.client_bytes import version_2
from tests.routing.serving_nodes import LOOPS, Served, eventually, run

EVERY_LOOP = pytest.mark.parametrize("kind", LOOPS)
V1 = b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n"
V6 = version_2("2001:db8::7", 56324)
LOCAL = version_2("203.0.113.7", 1, command=0x20)
HANDLER = "tests.routing.test_proxied:whoami"
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def whoami(stream: ByteStream) -> None:
    """Answer with the client's address as the stream has it, then with a line that it sent."""
    address = stream.extra(SocketAttribute.remote_address)  # noqa: S610 - anyio's
    port = stream.extra(SocketAttribute.remote_port)  # noqa: S610 - anyio's
    line = b""
    while not line.endswith(b"\n"):
        line += await stream.receive()
    await stream.send(f"{address[0]} {address[1] == port} {line!r}".encode())


def unread(sock: socket.socket) -> int:
    """Return how many bytes are ready to be read from *sock*."""
    count: int = struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))[0]
    return count


async def ended(sock: socket.socket) -> bool:
    """Wait for the end, whether with a reset (there were bytes unread) or not."""
    try:
        return await heard(sock) == b""
    except ConnectionResetError:
        return True


async def sent(served: Served, data: bytes) -> bytes:
    """Send and return the whole answer."""
    with socket.create_connection(("127.0.0.1", served.port)) as sock:
        sock.sendall(data)
        return await heard(sock)


@EVERY_LOOP
@pytest.mark.parametrize("header, host", [(V1, "203.0.113.7"), (V6, "2001:db8::7")])
def test_a_handler_sees_the_client_and_not_a_byte_of_the_header(
    kind: str, header: bytes, host: str
) -> None:
    async def test(loop: Loop) -> None:
        async with Served(listen(HANDLER, "127.0.0.1:0", proxy_protocol=True), loop) as served:
            node = await served.join()
            answer = await sent(served, header + b"hello\n")
            assert answer.decode() == f"{host} True " + repr(b"hello\n")
            await eventually(lambda: node.closed == [1])
            assert served.facts[1:] == []

    run(kind, test)


@EVERY_LOOP
@pytest.mark.parametrize("header", [V1, V6], ids=["1", "2"])
def test_the_header_may_come_in_pieces_and_nothing_behind_it_is_taken(
    kind: str, header: bytes
) -> None:
    async def test(_: Loop) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            async with anyio.create_task_group() as tasks:
                found: list[ProxyHeader | None] = []

                async def take() -> None:
                    found.append(await take_proxy_header(ours, 10))

                tasks.start_soon(take)
                for piece in (header[:1], header[1:14], header[14:-1]):
                    theirs.sendall(piece)
                    await eventually(lambda: unread(ours) == 0)
                    assert not found
                theirs.sendall(header[-1:] + b"hello")
            assert found[0] is not None
            assert found[0].length == len(header)
            assert ours.recv(100) == b"hello"

    run(kind, test)


@EVERY_LOOP
def test_a_proxy_that_ends_or_dawdles_has_sent_no_header(kind: str) -> None:
    async def test(_: Loop) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            theirs.sendall(V1[:10])
            assert await take_proxy_header(ours, 0.01) is None
            theirs.shutdown(socket.SHUT_WR)
            assert await take_proxy_header(ours, 10) is None

    run(kind, test)


@EVERY_LOOP
def test_a_proxy_that_speaks_for_itself_is_its_own_client(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(listen(HANDLER, "127.0.0.1:0", proxy_protocol=True), loop) as served:
            await served.join()
            for header in (LOCAL, b"PROXY UNKNOWN\r\n"):
                assert (await sent(served, header + b"hi\n")).startswith(b"127.0.0.1 True ")

    run(kind, test)


@EVERY_LOOP
def test_a_connection_without_the_header_is_closed_and_the_first_one_is_told(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(listen(HANDLER, "127.0.0.1:0", proxy_protocol=True), loop) as served:
            node = await served.join()
            for _ in range(2):
                with socket.create_connection(("127.0.0.1", served.port)) as sock:
                    sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    assert await ended(sock)
            with socket.create_connection(("127.0.0.1", served.port)):
                pass
            await eventually(lambda: len(node.closed) == 3)
            assert served.facts[1:] == [ProxyHeaderMissing("127.0.0.1:0", 1)]

    run(kind, test)


@EVERY_LOOP
def test_the_header_comes_before_the_handshake(kind: str, certified: Certified) -> None:
    async def test(loop: Loop) -> None:
        listener = listen(HANDLER, "127.0.0.1:0", proxy_protocol=True, **certified.files)
        async with Served(listener, loop) as served:
            await served.join()
            plain = await anyio.connect_tcp("127.0.0.1", served.port)
            await plain.send(V1)
            client = await TLSStream.wrap(
                plain, hostname=NAME, ssl_context=certified.client(), standard_compatible=False
            )
            await client.send(b"hello\n")
            assert (await client.receive()).startswith(b"203.0.113.7 True ")
            await client.aclose()

    run(kind, test)


@ASYNCIO
def test_an_application_sees_the_client_in_its_scope(kind: str) -> None:
    async def test(loop: Loop) -> None:
        listener = listen(asgi(here("whoever")), "127.0.0.1:0", proxy_protocol=True)
        async with Served(listener, loop, SYSTEM) as served:
            await served.join()
            request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            assert b"('203.0.113.7', 56324) http" in await sent(served, V1 + request)
            assert b"('2001:db8::7', 56324) http" in await sent(served, V6 + request)
            assert b"('127.0.0.1', " in await sent(served, LOCAL + request)
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(V1 + UPGRADE)
                data = b""
                while b"('203.0.113.7', 56324) ws" not in data:
                    await anyio.wait_readable(sock)
                    data += sock.recv(4096)

    run(kind, test)


@ASYNCIO
def test_an_application_never_hears_of_a_connection_without_the_header(kind: str) -> None:
    async def test(loop: Loop) -> None:
        listener = listen(asgi(here("whoever")), "127.0.0.1:0", proxy_protocol=True)
        async with Served(listener, loop, SYSTEM) as served:
            node = await served.join()
            for _ in range(2):
                with socket.create_connection(("127.0.0.1", served.port)) as sock:
                    sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    assert await ended(sock)
            await eventually(lambda: len(node.closed) == 2)
            assert served.facts[1:] == [ProxyHeaderMissing("127.0.0.1:0", 1)]

    run(kind, test)


@ASYNCIO
def test_a_proxy_that_says_nothing_is_let_go_when_the_node_drains(kind: str) -> None:
    async def test(loop: Loop) -> None:
        listener = listen(asgi(here("whoever")), "127.0.0.1:0", proxy_protocol=True)
        async with Served(listener, loop, SYSTEM) as served:
            node = await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                await eventually(lambda: served.router.snapshot().nodes[0].open == 1)
                assert node.server is not None
                await node.server.stop()
                assert node.closed == [1]
                assert await heard(sock) == b""

    run(kind, test)
