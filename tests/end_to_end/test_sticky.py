"""Sticky sessions over real nodes: bodies whole, sessions kept together, through death and scaling."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import anyio
import pytest

from actors import Sticky, System, Topology, asgi, keys, listen, nodes
from actors._base.events import Event
from actors._system.system import coordinator_of
from actors.routing import owner
from actors.testing import running_system

PATIENCE = 40.0
BODY = bytes(range(256)) * 4096

pytestmark = pytest.mark.usefixtures("no_leaks")


@asynccontextmanager
async def running(key: keys.Key, **options: Any) -> AsyncIterator[System]:
    listener = listen(asgi("tests.end_to_end.session_app:app"), "127.0.0.1:0", policy=Sticky(key))
    with anyio.fail_after(PATIENCE):
        async with running_system(
            Topology(nodes=[nodes("web", count=2, **options)], listeners=[listener])
        ) as system:
            yield system


def session(slot: int, *counts: int) -> str:
    """Return a session that belongs to *slot* of so many nodes."""
    return next(
        str(number)
        for number in range(10_000)
        if all(owner(str(number).encode(), range(count)) == slot for count in counts or (2,))
    )


class Browser:
    """One keep-alive connection, byte by byte as the test wants it."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream = stream
        self._closing = False

    @classmethod
    async def to(cls, system: System) -> Self:
        router = coordinator_of(system).listeners[0].router
        assert router is not None
        return cls(await anyio.connect_tcp("127.0.0.1", router.port))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stream.aclose()

    async def send(self, *pieces: bytes) -> None:
        sock = self._stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 - anyio's
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            await self._stream.send(piece)

    async def answer(self, body_sent: bytes = b"") -> tuple[str, bytes]:
        """Return the node that answered, and its headers; note whether it will close."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += await self._stream.receive()
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = next(
            int(line[15:]) for line in head.split(b"\r\n") if line[:15] == b"content-length:"
        )
        while len(body) < length:
            body += await self._stream.receive()
        self._closing = b"connection: close" in head
        node, _, digest = body.decode().split(" ")
        assert digest == hashlib.sha256(body_sent).hexdigest()
        return node, head

    async def get(self, sid: str) -> str:
        await self.send(f"GET / HTTP/1.1\r\nHost: x\r\nCookie: sid={sid}\r\n\r\n".encode())
        return (await self.answer())[0]

    def closes(self) -> bool:
        """Whether the last answer said that the connection ends with it."""
        return self._closing

    async def ends(self) -> None:
        with pytest.raises(anyio.EndOfStream):
            await self._stream.receive()


async def asked(system: System, sid: str) -> str:
    """Return which node answers a session on a connection of its own."""
    async with await Browser.to(system) as browser:
        return await browser.get(sid)


async def test_a_head_in_three_pieces_and_a_large_body_in_two_reach_their_node_whole() -> None:
    async with running(keys.cookie("sid")) as system:
        for slot in (0, 1):
            head = (
                f"POST / HTTP/1.1\r\nHost: x\r\nCookie: theme=dark; sid={session(slot)}\r\n"
                f"Content-Length: {len(BODY)}\r\n\r\n"
            ).encode()
            async with await Browser.to(system) as browser:
                await browser.send(head[:20], head[20:60], head[60:], BODY[:300_000])
                await browser.send(BODY[300_000:])
                node, answered = await browser.answer(BODY)
            assert node == f"web/{slot}"
            assert b"connection: close" not in answered


async def test_three_requests_of_two_sessions_over_one_connection() -> None:
    async with running(keys.cookie("sid")) as system:
        async with await Browser.to(system) as browser:
            assert await browser.get(session(1)) == "web/1"
            assert not browser.closes()
            assert await browser.get(session(1)) == "web/1"
            assert not browser.closes()
            assert await browser.get(session(0)) == "web/1"  # served where it came
            assert browser.closes()
            await browser.ends()
        assert await asked(system, session(0)) == "web/0"


async def test_while_a_node_is_away_its_sessions_stay_with_another_and_then_go_home(
    tmp_path: Path,
) -> None:
    hold = tmp_path / "hold"
    async with running(keys.cookie("sid"), env={"HOLD": str(hold)}) as system:
        home = session(0)
        assert await asked(system, home) == "web/0"
        events = system.events()
        hold.touch()
        next(node for node in system.nodes if node.name == "web/0").kill()
        await heard(events, "node_died")
        async with await Browser.to(system) as browser:
            for _ in range(3):
                assert await browser.get(home) == "web/1"
                assert not browser.closes()  # the stand-in sends nobody away
            hold.unlink()
            await heard(events, "node_ready")
            while not browser.closes():  # until word of it has reached the node
                assert await browser.get(home) == "web/1"
            await browser.ends()
        assert await asked(system, home) == "web/0"


async def heard(events: AsyncIterator[Event], kind: str) -> None:
    async for event in events:
        if event.kind == kind:
            return


async def test_a_session_that_a_new_node_takes_over_is_brought_there_by_its_next_request() -> None:
    async with running(keys.cookie("sid")) as system:
        moves = next(
            str(n)
            for n in range(10_000)
            if owner(str(n).encode(), range(2)) == 0 and owner(str(n).encode(), range(3)) == 2
        )
        stays = session(0, 2, 3)
        async with await Browser.to(system) as one, await Browser.to(system) as other:
            assert [await one.get(moves), await other.get(stays)] == ["web/0", "web/0"]
            assert not one.closes()
            await system.scale("web", 3)
            assert [await one.get(moves), await other.get(stays)] == ["web/0", "web/0"]
            assert (one.closes(), other.closes()) == (True, False)
        assert await asked(system, moves) == "web/2"


async def test_a_cookie_that_was_set_brings_the_client_back() -> None:
    async with running(keys.cookie("sid", set=True)) as system:
        seen = set()
        for _ in range(4):
            async with await Browser.to(system) as browser:
                await browser.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                node, head = await browser.answer()
            given = next(
                line for line in head.split(b"\r\n") if line.startswith(b"set-cookie: sid=")
            )
            sid = given.removeprefix(b"set-cookie: sid=").partition(b";")[0].decode()
            seen.add(node)
            assert {await asked(system, sid) for _ in range(3)} == {node}
        assert seen == {"web/0", "web/1"}
