"""The keep-alive rule and the cookie that is set: requests over one connection, and where they belong."""

import re
import socket

import anyio
import pytest
from websockets.asyncio.client import connect

from actors._base.loop import Loop
from actors.routing import (
    Key,
    Policy,
    RoundRobin,
    Sticky,
    asgi,
    cookie,
    header,
    ip,
    key,
    listen,
    node_policy,
    owner,
    path,
    query,
)
from actors.routing.serving.affinity import Affinity
from tests.routing.apps import ASYNCIO, SYSTEM, heard, here, http
from tests.routing.serving_nodes import Served, run

CLIENT = ("10.1.2.3", 5000)


def affinity(source: Key, slot: int = 0, live: int = 4) -> Affinity:
    policy = node_policy(Sticky(source))
    assert isinstance(policy, Sticky)
    made = Affinity(policy.key)
    made.slots_changed(slot, range(live), range(live))
    return made


def request(sid: str = "", target: str = "/") -> bytes:
    line = f"Cookie: sid={sid}\r\n" if sid else ""
    return f"GET {target} HTTP/1.1\r\nHost: x\r\n{line}\r\n".encode()


def session(slot: int, slots: int = 2) -> str:
    """Return a session that belongs to *slot*."""
    return next(str(n) for n in range(1000) if owner(str(n).encode(), range(slots)) == slot)


def test_a_request_belongs_where_the_router_would_take_it() -> None:
    for slot in range(4):
        here_ = affinity(cookie("sid") | ip(), slot)
        for number in range(100):
            home = owner(str(number).encode(), range(4))
            head = request(str(number))
            assert here_.belongs_elsewhere(head, CLIENT, None) == (home != slot)
        assert here_.belongs_elsewhere(request(), CLIENT, None) == (
            owner(b"10.1.2.3", range(4)) != slot
        )


def test_a_request_without_a_key_belongs_anywhere() -> None:
    assert not any(
        affinity(cookie("sid"), n).belongs_elsewhere(request(), CLIENT, None) for n in range(4)
    )


@pytest.mark.parametrize(
    "source", [ip(), key(lambda *_: None) | cookie("sid"), cookie("sid") | key(lambda *_: b"x")]
)
def test_nobody_is_sent_away_by_what_a_node_cannot_ask_or_what_never_changes(source: Key) -> None:
    assert not affinity(source).per_request


def test_a_node_that_is_alone_or_has_no_slot_sends_nobody_away() -> None:
    assert not affinity(cookie("sid"), live=1).per_request
    assert not affinity(cookie("sid"), slot=7).per_request
    assert not Affinity(cookie("sid")).per_request
    assert affinity(cookie("sid")).per_request


def test_a_new_cookie_belongs_to_the_node_that_sets_it() -> None:
    for slot in range(5):
        here_ = affinity(cookie("sid", set=True), slot, 5)
        made = {here_.new_cookie_value() for _ in range(20)}
        assert len(made) == 20
        assert {owner(value.encode(), range(5)) for value in made} == {slot}
    assert len(Affinity(cookie("sid", set=True)).new_cookie_value()) >= 20


def test_only_what_a_node_needs_is_told() -> None:
    assert node_policy(RoundRobin()) == RoundRobin()
    assert node_policy(Sticky(query("room"), fallback=RoundRobin())) == Sticky(query("room"))
    kept = node_policy(Sticky(key(lambda *_: None) | cookie("sid", set=True)))
    assert str(kept) == "sticky=opaque|cookie:sid:set"


def serving(loop: Loop, policy: Policy, app: str = "app") -> Served:
    return Served(listen(asgi(here(app)), "127.0.0.1:0", policy=policy), loop, SYSTEM)


async def answer(sock: socket.socket) -> bytes:
    """Receive one answer whose body ends with a known word."""
    data = b""
    while not data.endswith(b"open"):
        await anyio.wait_readable(sock)
        part = sock.recv(65536)
        assert part
        data += part
    return data


@ASYNCIO
def test_a_later_request_of_another_session_is_served_and_the_connection_closed(
    kind: str,
) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, Sticky(cookie("sid"))) as served:
            nodes = [await served.join(), await served.join()]
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.setblocking(False)
                for _ in range(2):
                    sock.send(request(session(1)))
                    assert b"connection: close" not in await answer(sock)
                sock.send(request())  # no session at all is no reason
                assert b"connection: close" not in await answer(sock)
                sock.send(request(session(0)))
                last = await heard(sock)
            assert last.startswith(b"HTTP/1.1 200 OK")
            assert b"connection: close" in last
            assert last.endswith(b"database open")
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.setblocking(False)
                sock.send(request(session(0)))
                await answer(sock)
                assert [len(node.closed) for node in nodes] == [0, 1]
                assert [node.open for node in served.router.snapshot().nodes] == [1, 0]

    run(kind, test)


@ASYNCIO
def test_the_first_request_is_where_the_router_wanted_it(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, Sticky(cookie("sid"))) as served:
            node, _ = await served.join(), await served.join()
            sock, theirs = socket.socketpair()
            with sock:
                sock.setblocking(False)
                assert node.server is not None
                node.server.take(77, theirs)  # as while the node it belongs to is full
                for closes in (False, True):
                    sock.send(request(session(1)))
                    assert (b"connection: close" in await answer(sock)) == closes

    run(kind, test)


@ASYNCIO
@pytest.mark.parametrize(
    "source, head",
    [
        (query("room"), "GET /?room={} HTTP/1.1\r\nHost: x\r\n\r\n"),
        (path(1), "GET /{}/x HTTP/1.1\r\nHost: x\r\n\r\n"),
        (header("x-room"), "GET / HTTP/1.1\r\nHost: x\r\nX-Room: {}\r\n\r\n"),
    ],
)
def test_the_rule_holds_for_every_key_of_a_request(kind: str, source: Key, head: str) -> None:
    def of(home: int) -> bytes:
        return head.format(session(home)).encode()

    async def test(loop: Loop) -> None:
        async with serving(loop, Sticky(source)) as served:
            await served.join()
            await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(of(0) + of(0) + of(1))
                said = await heard(sock)
            assert said.count(b"HTTP/1.1 ") == 3
            assert said.count(b"connection: close") == 1

    run(kind, test)


@ASYNCIO
def test_three_requests_of_two_sessions_with_a_large_body_arrive_whole(kind: str) -> None:
    body = bytes(range(256)) * 4096

    async def test(loop: Loop) -> None:
        async with serving(loop, Sticky(cookie("sid"))) as served, http(served) as client:
            nodes = [await served.join(), await served.join()]
            for home in (0, 1, 1):
                response = await client.post(
                    "/upload", content=body, headers={"cookie": f"sid={session(home)}"}
                )
                assert response.content == body
            # The second came over the first one's connection, which was closed behind it.
            assert [len(node.closed) for node in nodes] == [1, 0]
            assert [node.total for node in served.router.snapshot().nodes] == [1, 1]

    run(kind, test)


@ASYNCIO
def test_a_client_without_the_cookie_gets_one_that_brings_it_back(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, Sticky(cookie("sid", set=True))) as served:
            for _ in range(3):
                await served.join()
            jars = []
            for _ in range(6):
                async with http(served) as client:
                    response = await client.get("/")
                    given = response.headers["set-cookie"]
                    assert re.fullmatch(
                        r"sid=[\w-]{22}; Path=/; HttpOnly; SameSite=Lax", given, re.ASCII
                    )
                    jars.append(given.partition(";")[0])
                    assert "set-cookie" not in (await client.get("/")).headers
            assert len(set(jars)) == 6
            before = {node.slot: node.total for node in served.router.snapshot().nodes}
            assert before == {0: 2, 1: 2, 2: 2}
            home = owner(jars[0].partition("=")[2].encode(), range(3))
            for _ in range(4):
                async with http(served) as client:
                    await client.get("/", headers={"cookie": jars[0]})
            after = {node.slot: node.total for node in served.router.snapshot().nodes}
            assert after == {slot: count + 4 * (slot == home) for slot, count in before.items()}

    run(kind, test)


@ASYNCIO
def test_behind_a_proxy_that_ends_tls_the_cookie_is_for_tls_only(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, Sticky(cookie("sid", set=True))) as served:
            await served.join()
            async with http(served) as client:
                response = await client.get("/", headers={"x-forwarded-proto": "https"})
                assert response.headers["set-cookie"].endswith("; SameSite=Lax; Secure")
            url = f"ws://127.0.0.1:{served.port}/ws"
            headers = {"X-Forwarded-Proto": "https"}
            async with connect(url, proxy=None, additional_headers=headers) as websocket:
                assert websocket.response is not None
                assert websocket.response.headers["set-cookie"].endswith("; Secure")

    run(kind, test)


@ASYNCIO
def test_accepting_a_websocket_sets_the_cookie_too(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, Sticky(cookie("sid", set=True))) as served:
            await served.join()
            url = f"ws://127.0.0.1:{served.port}/ws"
            async with connect(url, proxy=None) as client:
                assert client.response is not None
                assert client.response.headers["set-cookie"].startswith("sid=")
            headers = {"Cookie": "sid=x"}
            async with connect(url, proxy=None, additional_headers=headers) as client:
                assert client.response is not None
                assert "set-cookie" not in client.response.headers

    run(kind, test)


@ASYNCIO
def test_the_applications_own_cookie_goes_before(kind: str) -> None:
    async def test(loop: Loop) -> None:
        policy = Sticky(cookie("sid", set=True) | cookie("other", set=True))
        async with serving(loop, policy, "sets_sid") as served, http(served) as client:
            await served.join()
            given = (await client.get("/")).headers.get_list("set-cookie")
            assert given[0] == "sid=mine"
            assert [line.partition("=")[0] for line in given] == ["sid", "other"]

    run(kind, test)
