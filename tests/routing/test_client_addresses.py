"""Who the client is: IPv4 on dual-stack sockets, and behind proxies over TCP and Unix sockets."""

import os
import socket
import stat
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from anyio.abc import SocketAttribute
from websockets.asyncio.client import connect

from actors._base.loop import Loop
from actors.routing import (
    BadListener,
    ListenFailed,
    Peeked,
    Reply,
    Sticky,
    asgi,
    ip,
    key,
    listen,
    probe,
    proxy,
)
from actors.routing.listen.bind import bind, release
from tests.routing.apps import ASYNCIO, here, http
from tests.routing.serving_nodes import LOOPS, Served, run
from tests.routing.socket_nodes import SocketCluster

ANY = pytest.mark.parametrize("kind", LOOPS)
FORWARDED = {"x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "https"}


async def tells(stream: Any) -> None:
    """Answer with both addresses of the connection."""
    both = SocketAttribute.remote_address, SocketAttribute.local_address
    hosts = [stream.extra_attributes[attribute]()[0] for attribute in both]
    await stream.send(" ".join(hosts).encode())


async def datagram(_: bytes, reply: Reply) -> None:
    await reply(repr(reply.client[0]).encode())


@ASYNCIO
def test_an_ipv4_client_of_a_dual_stack_listener_is_one_to_applications(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(listen(asgi(here("whoever")), "[::]:0"), loop) as served:
            await served.join()
            async with http(served) as client:
                assert (await client.get("/")).text.startswith("('127.0.0.1', ")
                trusted = await client.get("/", headers=FORWARDED)
                assert trusted.text == "('1.2.3.4', 0) https"
            address = f"ws://127.0.0.1:{served.port}/"
            async with connect(address, proxy=None, additional_headers=FORWARDED) as websocket:
                assert await websocket.recv() == "('1.2.3.4', 0) wss"
            async with httpx.AsyncClient(trust_env=False) as client6:
                url = f"http://[::1]:{served.port}/"
                assert (await client6.get(url)).text.startswith("('::1', ")

    run(kind, test)


@ASYNCIO
@pytest.mark.parametrize(
    "allowed, forwarded, client",
    [
        ("127.0.0.1", "::ffff:1.2.3.4", "('1.2.3.4', 0)"),
        ("::ffff:127.0.0.1", "1.2.3.4", "('1.2.3.4', 0)"),
        ("127.0.0.1,10.0.0.7", "1.2.3.4, ::FFFF:10.0.0.7", "('1.2.3.4', 0)"),
        ("127.0.0.0/8", "2001:db8::1", "('2001:db8::1', 0)"),
        ("10.0.0.7", "1.2.3.4", "('127.0.0.1', "),
        ("*", "1.2.3.4, 5.6.7.8", "('1.2.3.4', 0)"),
    ],
)
def test_ipv4_is_ipv4_in_what_proxies_say_too(
    kind: str, allowed: str, forwarded: str, client: str
) -> None:
    async def test(loop: Loop) -> None:
        spec = asgi(here("whoever"), forwarded_allow_ips=allowed)
        async with Served(listen(spec, "[::]:0"), loop) as served:
            await served.join()
            async with http(served) as asking:
                said = (await asking.get("/", headers={"x-forwarded-for": forwarded})).text
            assert said.startswith(client)

    run(kind, test)


@ANY
def test_an_ipv4_client_of_a_dual_stack_listener_is_one_to_handlers(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(listen(tells, "[::]:0"), loop) as served:
            await served.join()
            async with await anyio.connect_tcp("127.0.0.1", served.port) as stream:
                assert await stream.receive() == b"127.0.0.1 127.0.0.1"
            async with await anyio.connect_tcp("::1", served.port) as stream:
                assert await stream.receive() == b"::1 ::1"

    run(kind, test)


@ANY
def test_an_ipv4_sender_of_a_dual_stack_listener_is_one_to_handlers(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with SocketCluster(listen(datagram, "udp://[::]:0"), loop) as cluster:
            await cluster.join()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(20)
                client.sendto(b"?", ("127.0.0.1", cluster.router.port))
                said = await anyio.to_thread.run_sync(client.recv, 100)
            assert said == b"'127.0.0.1'"

    run(kind, test)


@ASYNCIO
def test_a_sticky_key_sees_an_ipv4_client_on_a_dual_stack_listener(kind: str) -> None:
    async def test(loop: Loop) -> None:
        seen: list[object] = []

        def note(_: bytes, peer: object) -> bytes:
            seen.append(peer)
            return b"k"

        spec = listen(asgi(here("whoever")), "[::]:0", policy=Sticky(key(note)))
        async with Served(spec, loop) as served:
            await served.join()
            async with http(served) as client:
                await client.get("/")
        assert {peer[0] for peer in seen if isinstance(peer, tuple)} == {"127.0.0.1"}
        assert all(len(peer) == 2 for peer in seen if isinstance(peer, tuple))

    run(kind, test)


def test_the_keys_of_a_client_are_the_same_however_its_address_is_written() -> None:
    lines = [
        b"PROXY TCP4 10.1.2.3 10.0.0.1 1 2\r\n",
        b"PROXY TCP6 ::ffff:10.1.2.3 ::1 1 2\r\n",
        b"PROXY TCP6 ::FFFF:10.1.2.3 ::1 1 2\r\n",
    ]
    assert {proxy().extract(Peeked(line, None, complete=True)) for line in lines} == {b"10.1.2.3"}
    for client in (("10.1.2.3", 1), ("::ffff:10.1.2.3", 1, 0, 0), ("::FFFF:10.1.2.3", 1, 0, 0)):
        assert ip().extract(Peeked(b"", client, complete=True)) == b"10.1.2.3"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_every_user_may_connect_to_a_unix_socket_unless_its_mode_is_given(
    tmp_path: Path, umask: int
) -> None:
    path, before = tmp_path / "s", os.umask(umask)
    try:
        for wanted, found in [(None, 0o666), (0o660, 0o660), (0o600, 0o600)]:
            spec = listen("a:b", f"unix:{path}", uds_permissions=wanted)
            made = bind(spec)
            assert mode(path) == found
            release(made, spec)
    finally:
        os.umask(before)


def test_the_mode_of_a_socket_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "s"
    spec = listen("a:b", f"unix:{path}")
    bind(spec).close()  # as if the process had been killed
    path.chmod(0o640)
    probe(spec)  # before nodes boot
    made = bind(spec)
    assert mode(path) == 0o640
    with pytest.raises(ListenFailed, match="EADDRINUSE"):
        probe(spec)
    release(made, spec)
    assert not path.exists()


@pytest.mark.parametrize("bad", ["660", 0o1777, -1, True])
def test_the_mode_is_checked(bad: object) -> None:
    with pytest.raises(BadListener, match="uds_permissions must be a mode such as 0o660, got"):
        listen("a:b", "unix:/s", uds_permissions=bad)  # type: ignore[arg-type]
    with pytest.raises(BadListener, match="uds_permissions are for a Unix address, got '127"):
        listen("a:b", "127.0.0.1:0", uds_permissions=0o600)
    with pytest.raises(BadListener, match="forwarded_allow_ips must be text such as"):
        asgi("a:b", forwarded_allow_ips=["127.0.0.1"])  # type: ignore[arg-type]


@ASYNCIO
@pytest.mark.parametrize(
    "permissions, allowed, variable, believed",
    [
        (None, None, None, False),
        (None, None, "127.0.0.1", False),
        (None, None, "unix", True),
        (None, None, "*", True),
        (None, "10.0.0.1, unix", "127.0.0.1", True),
        (None, "*", None, True),
        (None, "10.0.0.1", "*", False),
        (0o660, None, None, True),
        (0o662, None, None, False),
    ],
)
def test_headers_of_a_proxy_are_believed_over_a_unix_socket_that_not_everybody_may_write_to(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    permissions: int | None,
    allowed: str | None,
    variable: str | None,
    believed: bool,
) -> None:
    if variable is None:
        monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    else:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", variable)

    async def test(loop: Loop) -> None:
        spec = listen(
            asgi(here("whoever"), forwarded_allow_ips=allowed),
            f"unix:{tmp_path}/s",
            uds_permissions=permissions,
        )
        async with Served(spec, loop) as served:
            await served.join()
            transport = httpx.AsyncHTTPTransport(uds=f"{tmp_path}/s")
            async with httpx.AsyncClient(transport=transport, base_url="http://unix") as client:
                said = (await client.get("/", headers=FORWARDED)).text
        assert said == ("('1.2.3.4', 0) https" if believed else "None http")

    run(kind, test)


@ASYNCIO
def test_the_variable_is_read_for_tcp_too(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.9.9.9")

    async def test(loop: Loop) -> None:
        async with Served(listen(asgi(here("whoever")), "127.0.0.1:0"), loop) as served:
            await served.join()
            async with http(served) as client:
                said = (await client.get("/", headers=FORWARDED)).text
            assert said.startswith("('127.0.0.1', ")

    run(kind, test)
