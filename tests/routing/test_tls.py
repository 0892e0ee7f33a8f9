"""TLS in the nodes: real handshakes, files checked at the door, certificates renewed while serving."""

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSAttribute, TLSStream
from websockets.asyncio.client import connect

from actors._base.loop import Loop
from actors.routing import HandlerFailed, Listener, Sticky, TlsReloaded, asgi, ip, listen, sni
from actors.routing.listen.tls import ClientCerts
from tests.routing.apps import ASYNCIO, SYSTEM, happened, heard, here
from tests.routing.certificates import NAME, Certified, authority
from tests.routing.client_bytes import client_hello
from tests.routing.serving_nodes import LOOPS, Served, eventually, run

EVERY_LOOP = pytest.mark.parametrize("kind", LOOPS)


async def shout(stream: ByteStream) -> None:
    """Send the TLS parameters, then echo in capitals, until the client ends."""
    version = stream.extra(TLSAttribute.tls_version)  # noqa: S610 - anyio's
    host = stream.extra(SocketAttribute.remote_address)[0]  # noqa: S610 - anyio's
    await stream.send(f"{version} {host}\n".encode())
    async for data in stream:
        await stream.send(data.upper())
    happened.append("end")


async def fail(stream: ByteStream) -> None:
    """Send something and raise."""
    await stream.send(b"half")
    raise RuntimeError("a handler's own")


def spec(certified: Certified, handler: str = "tests.routing.test_tls:shout") -> Listener:
    return listen(handler, "127.0.0.1:0", **certified.files)


@contextlib.asynccontextmanager
async def secure(served: Served, certified: Certified) -> AsyncIterator[ByteStream]:
    stream = await opened(served, certified.client())
    try:
        yield stream
    finally:
        await anyio.aclose_forcefully(stream)


async def opened(served: Served, context: ssl.SSLContext) -> TLSStream:
    return await anyio.connect_tcp(
        "127.0.0.1", served.port, tls=True, ssl_context=context, tls_hostname=NAME
    )


def https(served: Served, certified: Certified) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{served.port}", verify=certified.client(), trust_env=False
    )


async def serial(served: Served, certified: Certified, greeting: bytes = b"") -> int:
    """Return the serial number of the certificate that a new connection gets."""
    async with secure(served, certified) as stream:
        assert not greeting or (await stream.receive()).startswith(greeting)
        found = stream.extra(TLSAttribute.peer_certificate)  # noqa: S610 - anyio's
    assert found is not None
    return int(str(found["serialNumber"]), 16)


@EVERY_LOOP
def test_a_stream_handler_gets_what_was_inside(kind: str, certified: Certified) -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(certified), loop) as served:
            node = await served.join()
            async with secure(served, certified) as client:
                assert await client.receive() == b"TLSv1.3 127.0.0.1\n"
                await client.send(b"hello" * 10_000)
                data = b""
                while len(data) < 50_000:
                    data += await client.receive()
                assert data == b"HELLO" * 10_000
            await eventually(lambda: node.closed == [1])
            assert happened == ["end"]
            assert served.facts[1:] == []

    run(kind, test)


@EVERY_LOOP
def test_a_handler_that_ends_says_so_and_one_that_fails_cuts_off(
    kind: str, certified: Certified
) -> None:
    async def test(loop: Loop) -> None:
        for handler, whole in (("once", True), ("fail", False)):
            path = f"tests.routing.test_tls:{handler}"
            async with Served(spec(certified, path), loop) as served:
                await served.join()
                async with secure(served, certified) as client:
                    assert await client.receive() == b"half"
                    # anyio reports a truncated stream unless TLS was closed properly.
                    with pytest.raises(anyio.EndOfStream if whole else anyio.BrokenResourceError):
                        await client.receive()
                failures = [fact for fact in served.facts if isinstance(fact, HandlerFailed)]
                assert len(failures) == (not whole)

    run(kind, test)


async def once(stream: ByteStream) -> None:
    """Send something and end."""
    await stream.send(b"half")


SHOUT = "tests.routing.test_tls:shout"
APP = here("app")
BOTH = pytest.mark.parametrize(
    "kind, handler",
    [*[(kind, SHOUT) for kind in LOOPS], ("asyncio", APP), ("uvloop", APP)],
)


def served_by(handler: str, certified: Certified, seconds: float = 30.0) -> Listener:
    what = asgi(handler) if handler == APP else handler
    return listen(what, "127.0.0.1:0", handshake_timeout=seconds, **certified.files)


@BOTH
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
def test_a_client_that_spoils_the_handshake_disturbs_nobody(
    kind: str, certified: Certified, handler: str, sent: bytes
) -> None:
    listener = served_by(handler, certified)

    async def test(loop: Loop) -> None:
        async with Served(listener, loop, SYSTEM) as served:
            node = await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(sent)
                assert await serial(served, certified)
                await eventually(lambda: node.closed)
            await eventually(lambda: sorted(node.closed) == [1, 2])

    run(kind, test)


@BOTH
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01"])
def test_a_handshake_that_takes_too_long_is_given_up(
    kind: str, certified: Certified, handler: str, sent: bytes
) -> None:
    listener = served_by(handler, certified, 0.05)

    async def test(loop: Loop) -> None:
        async with Served(listener, loop, SYSTEM) as served:
            node = await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(sent)
                await eventually(lambda: node.closed == [1])

    run(kind, test)


@pytest.mark.parametrize(
    "client_certs, shows, served_it",
    [
        ("required", True, True),
        ("required", False, False),
        ("optional", True, True),
        ("optional", False, True),
    ],
)
def test_a_client_shows_a_certificate_where_one_is_required(
    client_certs: ClientCerts, shows: bool, served_it: bool, certified: Certified, tmp_path: Path
) -> None:
    async def test(loop: Loop) -> None:
        ca = tmp_path / "ca.pem"
        authority().cert_pem.write_to_path(ca)
        spec = listen(
            asgi(here("app")),
            "127.0.0.1:0",
            client_ca=str(ca),
            client_certs=client_certs,
            **certified.files,
        )
        context = certified.client()
        if shows:
            authority().issue_cert("client@example.org").configure_cert(context)
        async with Served(spec, loop, SYSTEM) as served:
            await served.join()
            url = f"https://127.0.0.1:{served.port}/"
            async with httpx.AsyncClient(verify=context, timeout=20) as client:
                try:
                    answered = (await client.get(url)).status_code == 200
                except httpx.TransportError:
                    answered = False
            assert answered == served_it

    run("asyncio", test)


@ASYNCIO
def test_an_application_is_served_as_https_and_wss(kind: str, certified: Certified) -> None:
    async def test(loop: Loop) -> None:
        listener = listen(asgi(here("whoever")), "127.0.0.1:0", **certified.files)
        async with Served(listener, loop, SYSTEM) as served:
            node = await served.join()
            async with https(served, certified) as client:
                assert (await client.get("/")).text.endswith(" https")
                assert (await client.get("/")).text.startswith("('127.0.0.1', ")
                assert node.server is not None
                assert node.server.open == 1
            url = f"wss://127.0.0.1:{served.port}/"
            async with connect(url, proxy=None, ssl=certified.client()) as websocket:
                assert str(await websocket.recv()).endswith(" wss")
            await eventually(lambda: len(node.closed) == 2)

    run(kind, test)


@ASYNCIO
def test_an_application_over_tls_gets_a_large_body_and_agrees_on_http_1_1(
    kind: str, certified: Certified
) -> None:
    async def test(loop: Loop) -> None:
        body = bytes(range(256)) * 4096
        listener = listen(asgi(here("app")), "127.0.0.1:0", **certified.files)
        async with Served(listener, loop, SYSTEM) as served:
            await served.join()
            async with https(served, certified) as client:
                response = await client.post("/upload", content=body)
                assert response.content == body
            context = certified.client()
            context.set_alpn_protocols(["h2", "http/1.1"])
            stream = await opened(served, context)
            assert stream.extra(TLSAttribute.alpn_protocol) == "http/1.1"  # noqa: S610 - anyio's
            await anyio.aclose_forcefully(stream)

    run(kind, test)


@EVERY_LOOP
def test_renewed_files_are_used_for_new_connections_and_old_ones_live_on(
    kind: str, certified: Certified
) -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(certified), loop) as served:
            node = await served.join()
            first = await serial(served, certified, b"TLS")
            async with secure(served, certified) as old:
                await old.receive()
                certified.renew()
                await looks_again(node.server)
                second = await serial(served, certified, b"TLS")
                assert second != first
                await old.send(b"still here")
                assert await old.receive() == b"STILL HERE"
            assert served.facts[1:] == [TlsReloaded("127.0.0.1:0", str(certified.cert))]

    run(kind, test)


async def looks_again(server: object) -> None:
    """Make the node check its files at the next connection."""
    server._certificate._checked -= 1.0  # type: ignore[attr-defined]


@ASYNCIO
def test_an_application_gets_renewed_files_too(kind: str, certified: Certified) -> None:
    async def test(loop: Loop) -> None:
        listener = listen(asgi(here("app")), "127.0.0.1:0", **certified.files)
        async with Served(listener, loop, SYSTEM) as served:
            node = await served.join()
            first = await serial(served, certified)
            async with https(served, certified) as client:
                await client.get("/")
                certified.renew()
                await looks_again(node.server)
                assert await serial(served, certified) != first
                assert (await client.get("/")).status_code == 200
                assert len(node.closed) <= 2  # the client's first connection is not among them

    run(kind, test)


@EVERY_LOOP
def test_clients_are_kept_apart_by_the_name_they_ask_for(kind: str, certified: Certified) -> None:
    async def test(loop: Loop) -> None:
        policy = Sticky(sni() | ip())
        path = "tests.routing.test_tls:shout"
        listener = listen(path, "127.0.0.1:0", policy=policy, **certified.files)
        async with Served(listener, loop) as served:
            for _ in range(4):
                await served.join()
            for _ in range(5):
                async with secure(served, certified) as client:
                    await client.receive()
            assert sorted(p.total for p in served.router.snapshot().nodes) == [0, 0, 0, 5]

    run(kind, test)


@BOTH
def test_a_client_in_its_handshake_is_let_go_when_the_node_stops(
    kind: str, certified: Certified, handler: str
) -> None:
    listener = served_by(handler, certified)

    async def test(loop: Loop) -> None:
        async with Served(listener, loop, SYSTEM) as served:
            node = await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(client_hello(NAME)[:50])
                await eventually(lambda: served.router.snapshot().nodes[0].open == 1)
                assert node.server is not None
                await node.server.stop()
                assert node.closed == [1]
                with contextlib.suppress(ConnectionResetError):  # there may be bytes unread
                    assert await heard(sock) == b""

    run(kind, test)
