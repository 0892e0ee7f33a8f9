"""Ids that an application makes bring their clients back: what is learned, when, and for how long."""

import socket
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import connect

from actors._base.errors import ActorsError
from actors._base.loop import Loop
from actors.routing import (
    BadListener,
    Key,
    KeyUnlearned,
    Sticky,
    asgi,
    cookie,
    header,
    ip,
    listen,
    owner,
    query,
)
from actors.routing.serving.learn_keys import new_keys
from actors.routing.sticky.http_keys import Cookie, Header
from tests.routing.apps import ASYNCIO, SYSTEM, Message, Receive, Send, heard
from tests.routing.serving_nodes import Served, ServingNode, eventually, run

SID = cookie("sid")
MCP = header("Mcp-Session-Id")


async def repeats(scope: Message, receive: Receive, send: Send) -> None:
    """Answer with the headers that the query names, as ``name=value`` and so on."""
    text: bytes = scope["query_string"]
    pairs = [part.partition(b"=") for part in text.split(b"&") if part]
    headers = [(name, value.replace(b"+", b" ")) for name, _, value in pairs]
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "headers": headers})
        return
    headers.append((b"content-length", b"2"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def serving(loop: Loop, key: Key, **options: Any) -> Served:
    app = asgi("tests.routing.test_learning:repeats")
    return Served(listen(app, "127.0.0.1:0", policy=Sticky(key, **options)), loop, SYSTEM)


async def two_nodes(served: Served) -> list[ServingNode]:
    return [await served.join(), await served.join()]


def foreign(slot: int, number: int = 0, slots: int = 2) -> str:
    """Return an id that the hash gives to another slot."""
    names = (f"id-{n}" for n in range(1000))
    return [name for name in names if owner(name.encode(), range(slots)) != slot][number]


def totals(served: Served) -> list[int]:
    return [node.total for node in served.router.snapshot().nodes]


async def get(served: Served, target: str, **headers: str) -> bytes:
    """Make a request on a connection of its own; return the response."""
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", served.port)) as sock:
        head = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{''.join(lines)}\r\n"
        sock.sendall(head.encode())
        return await heard(sock)


async def slot_of(served: Served, **headers: str) -> int:
    """Return the slot of the node that gets a connection with these headers."""
    before = totals(served)
    await get(served, "/", **headers)
    return [now - then for now, then in zip(totals(served), before, strict=True)].index(1)


# ---------------------------------------------------------------- what is learned


@pytest.mark.parametrize(
    "source, sent, named, new",
    [
        (SID, "", "sid=a", [b"a"]),
        (SID, "", "sid=a; Path=/; HttpOnly", [b"a"]),
        (SID, "", ' sid = "a" ;Path=/', [b"a"]),
        (SID, "sid=b", "sid=a", [b"a"]),
        (SID, "theme=dark; sid=a", "sid=a", []),
        (SID, "", 'sid=""; Max-Age=0', []),
        (SID, "", "sid=", []),
        (SID, "", "sid", []),
        (SID, "", "Sid=a", []),
        (SID, "", "side=a", []),
        (SID, "", "theme=dark; sid=a", []),
        (SID, "", "=a", []),
    ],
)
def test_a_cookie_is_new_if_the_client_has_not_sent_it(
    source: Cookie, sent: str, named: str, new: list[bytes]
) -> None:
    request = [(b"cookie", sent.encode())] if sent else []
    assert new_keys([source], request, [(b"set-cookie", named.encode())]) == new


def test_of_fifty_cookies_of_a_name_the_client_keeps_the_last() -> None:
    named = [(b"set-cookie", b"sid=%d; Path=/" % number) for number in range(50)]
    assert new_keys([SID], [], named) == [b"49"]
    named.append((b"set-cookie", b"sid=; Path=/old; Max-Age=0"))
    assert new_keys([SID], [], named) == [b"49"]


@pytest.mark.parametrize(
    "sent, named, new",
    [
        ([], [b"a"], [b"a"]),
        ([], [b" a\t"], [b"a"]),
        ([], [b"a", b"b"], [b"b"]),
        ([b"a"], [b"a"], []),
        ([b"b"], [b"a"], [b"a"]),
        ([], [b""], []),
    ],
)
def test_a_header_is_new_if_the_client_has_not_sent_it(
    sent: list[bytes], named: list[bytes], new: list[bytes]
) -> None:
    name = b"mcp-session-id"
    assert (
        new_keys([MCP], [(name, value) for value in sent], [(name, value) for value in named])
        == new
    )


def test_each_source_of_a_key_is_learned_once() -> None:
    sources: list[Cookie | Header] = [SID, MCP]
    named = [(b"set-cookie", b"sid=a"), (b"mcp-session-id", b"b")]
    assert new_keys(sources, [], named) == [b"a", b"b"]
    assert new_keys(sources, [], [(b"set-cookie", b"sid=a"), (b"mcp-session-id", b"a")]) == [b"a"]


@ASYNCIO
@pytest.mark.parametrize(
    "key, target, name, value",
    [
        (SID, "/?Set-Cookie=sid={};+Path=/", "cookie", "sid={}"),
        (MCP | ip(), "/?MCP-Session-Id={}", "mcp_session_id", "{}"),
    ],
)
def test_the_next_connection_comes_to_the_node_that_made_the_id(
    kind: str, key: Key, target: str, name: str, value: str
) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, key) as served:
            await two_nodes(served)
            for number in range(8):
                before = totals(served)
                other = foreign(0, number)
                await get(served, target.format(other), **{name: value.format("x" * 300)})
                made = [now - then for now, then in zip(totals(served), before, strict=True)]
                for _ in range(2):
                    came = await slot_of(served, **{name: value.format(other)})
                    assert made[came] == 1
            stats = served.router.snapshot()
            assert stats.unlearned == 0
            assert stats.learned == sum(len(node.binder.asked) for node in served.nodes)
            assert {ask[1] for node in served.nodes for ask in node.binder.asked} <= {"127.0.0.1"}

    run(kind, test)


@ASYNCIO
def test_nothing_is_sent_for_an_id_that_belongs_here_by_the_hash(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, SID) as served:
            one, two = await two_nodes(served)
            await get(served, f"/?set-cookie=sid={foreign(1)}")  # the first is with slot 0
            assert (one.binder.asked, two.binder.asked) == ([], [])
            await get(served, "/?set-cookie=other=x&x-sid=y")
            assert (one.binder.asked, two.binder.asked) == ([], [])

    run(kind, test)


@ASYNCIO
def test_of_two_nodes_that_make_the_same_id_the_last_has_it(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, SID) as served:
            one, two = await two_nodes(served)
            name = foreign(0)  # slot 1 has it by the hash
            await get(served, f"/?set-cookie=sid={name}")
            assert await slot_of(served, cookie=f"sid={name}") == 0
            await get(served, f"/?set-cookie=sid={name}")  # without a cookie: the turn of slot 1
            assert [len(node.binder.asked) for node in (one, two)] == [1, 1]
            assert await slot_of(served, cookie=f"sid={name}") == 1

    run(kind, test)


@ASYNCIO
def test_an_accepted_websocket_names_its_id_too(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, SID) as served:
            await two_nodes(served)
            url = f"ws://127.0.0.1:{served.port}/?set-cookie=sid={foreign(0)}"
            async with connect(url, proxy=None):
                assert served.router.snapshot().learned == 1
            assert await slot_of(served, cookie=f"sid={foreign(0)}") == 0

    run(kind, test)


@ASYNCIO
@pytest.mark.parametrize("key, options", [(SID, {"learn": 0}), (query("sid"), {})])
def test_nothing_is_learned_where_that_is_off_or_no_response_names_keys(
    kind: str, key: Key, options: dict[str, int]
) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, key, **options) as served:
            assert served.router.bindings_fd is None
            one, _ = await two_nodes(served)
            await get(served, f"/?set-cookie=sid={foreign(0)}")
            assert (one.binder.asked, served.router.snapshot().learned) == ([], 0)

    run(kind, test)


@pytest.mark.parametrize("bad", [-1, 1.5, True, "many", 1 << 25])
def test_a_bad_number_of_keys_is_refused(bad: Any) -> None:
    with pytest.raises(BadListener, match="learn must be a number of keys from 0 to 16,777,216"):
        Sticky(SID, learn=bad)


# ---------------------------------------------------------------- where connections go then


@ASYNCIO
def test_while_its_slot_is_down_the_hash_decides_and_then_the_binding_again(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, SID) as served:
            one, _ = await two_nodes(served)
            name = foreign(0)
            await get(served, f"/?set-cookie=sid={name}")
            served.router.remove_node(one, dead=True)
            await get(served, "/", cookie=f"sid={name}")
            assert totals(served) == [1]  # of slot 1
            served.router.add_node(one)
            assert await slot_of(served, cookie=f"sid={name}") == 0

    run(kind, test)


@ASYNCIO
def test_a_binding_goes_with_its_slot(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, SID) as served:
            await two_nodes(served)
            name = foreign(0)
            await get(served, f"/?set-cookie=sid={name}")
            served.router.keep_slots([1])
            assert served.router.snapshot().learned == 0
            assert await slot_of(served, cookie=f"sid={name}") == 1

    run(kind, test)


@ASYNCIO
def test_a_later_request_of_a_connection_is_judged_by_the_binding(kind: str) -> None:
    def request(name: str) -> bytes:
        return f"GET / HTTP/1.1\r\nHost: x\r\nCookie: sid={name}\r\n\r\n".encode()

    async def test(loop: Loop) -> None:
        async with serving(loop, SID) as served:
            await two_nodes(served)
            bound, hashed = foreign(0), foreign(1)
            await get(served, f"/?set-cookie=sid={bound}")  # slot 0
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(request(hashed) + request(bound) * 2)
                await anyio.wait_readable(sock)
                await eventually(lambda: peeked(sock).count(b"ok") == 3)
                assert b"connection: close" not in peeked(sock)
            other = foreign(0, 1)
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(request(other) + request(bound))  # slot 1, then one that is bound to 0
                assert (await heard(sock)).count(b"connection: close") == 1

    def peeked(sock: socket.socket) -> bytes:
        return sock.recv(65536, socket.MSG_PEEK)

    run(kind, test)


# ---------------------------------------------------------------- when it does not work in time


async def _refuses() -> None:
    raise ActorsError("the link is closed")


@ASYNCIO
@pytest.mark.parametrize("late", [anyio.sleep_forever, _refuses])
def test_a_response_whose_id_cannot_be_bound_is_sent_and_counted(
    kind: str, late: Callable[[], Any]
) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, SID) as served:
            one, _ = await two_nodes(served)
            one.binder.before = late
            started = anyio.current_time()
            assert (await get(served, f"/?set-cookie=sid={foreign(0)}")).endswith(b"ok")
            assert anyio.current_time() - started < 5
            stats = served.router.snapshot()
            assert (stats.learned, stats.unlearned) == (0, 1)
            assert KeyUnlearned(served.spec.name, "web-0") in served.facts

    run(kind, test)


@ASYNCIO
def test_a_response_waits_until_its_id_is_bound(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, SID) as served:
            one, _ = await two_nodes(served)
            asked, bound = anyio.Event(), anyio.Event()

            async def before() -> None:
                asked.set()
                await bound.wait()

            one.binder.before = before
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.setblocking(False)
                sock.send(f"GET /?set-cookie=sid={foreign(0)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                await asked.wait()
                with pytest.raises(BlockingIOError):
                    sock.recv(100)
                bound.set()
                await eventually(lambda: served.router.snapshot().learned == 1)
                await anyio.wait_readable(sock)
                assert sock.recv(12) == b"HTTP/1.1 200"

    run(kind, test)


@ASYNCIO
def test_a_client_that_leaves_meanwhile_breaks_nothing(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, SID) as served:
            one, _ = await two_nodes(served)
            asked = anyio.Event()

            async def before() -> None:
                asked.set()
                await eventually(lambda: one.closed)

            one.binder.before = before
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.send(f"GET /?set-cookie=sid={foreign(0)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                await asked.wait()
            await eventually(lambda: one.closed)
            await get(served, "/", cookie=f"sid={foreign(1)}")
            assert totals(served) == [2, 0]

    run(kind, test)


@ASYNCIO
def test_thousands_of_ids_of_one_client_leave_the_others_theirs(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, SID) as served:
            await two_nodes(served)
            name = foreign(0)
            await get(served, f"/?set-cookie=sid={name}")
            for number in range(5000):
                served.router.bind(1, [b"%014d" % number], "10.9.9.9")
            assert served.router.snapshot().learned == 1 + 65_536 // 16
            served.router.bind(1, [b"too short", b"far too long to be one"], "10.9.9.9")
            assert served.router.snapshot().learned == 1 + 65_536 // 16
            assert await slot_of(served, cookie=f"sid={name}") == 0

    run(kind, test)
