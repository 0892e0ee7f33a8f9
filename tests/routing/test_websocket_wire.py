"""WebSockets through the router, bit by bit: what RFC 6455 and RFC 7692 ask of a server.

The Autobahn test suite does not run on Python 3; these are checks of the same kinds, in our words.
"""

import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from actors._base.loop import Loop
from actors.routing import asgi, listen
from tests.routing.raw_websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    Raw,
    close,
)
from tests.routing.serving_nodes import Served, run

ECHO = "tests.routing.real_apps:starlette_app"
MAX = 2 * 1024 * 1024


def through_the_router(test: Callable[[int], Awaitable[None]]) -> None:
    """Run *test* with the port of a router in front of the echo."""

    async def main(loop: Loop) -> None:
        spec = listen(asgi(ECHO, ws_max_size=MAX), "127.0.0.1:0")
        async with Served(spec, loop, "system") as served:
            await served.join()
            await test(served.port)

    run("uvloop", main)


@asynccontextmanager
async def raw(port: int) -> AsyncIterator[Raw]:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        client = Raw(stream)
        assert (await client.shake("/echo")).startswith("HTTP/1.1 101 ")
        yield client


def code_of(frame: Frame) -> int:
    assert frame.opcode == CLOSE
    return int(struct.unpack("!H", frame.payload[:2])[0])


LENGTHS = [0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 1 << 20]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_messages_of_every_kind_of_length_come_back_whole(opcode: int) -> None:
    async def test(port: int) -> None:
        async with raw(port) as client:
            for size in LENGTHS:
                payload = b"*" * size if opcode == TEXT else os.urandom(size)
                await client.send(Frame(opcode, payload), chop=997 if size < 1 << 17 else None)
                got = await client.receive()
                assert (got.opcode, got.fin, got.masked) == (opcode, True, False)
                assert got.payload == payload

    through_the_router(test)


def test_a_message_may_come_byte_by_byte() -> None:
    async def test(port: int) -> None:
        async with raw(port) as client:
            await client.send(Frame(TEXT, "hé 🚲".encode() * 20), chop=1)
            assert (await client.receive()).payload == "hé 🚲".encode() * 20

    through_the_router(test)


def test_pings_are_answered_in_order_and_pongs_ignored() -> None:
    async def test(port: int) -> None:
        async with raw(port) as client:
            payloads = [b"", b"x", bytes(range(125)), b"\xff\xfe"]
            await client.send(*(Frame(PING, payload) for payload in payloads))
            answers = [await client.receive() for _ in payloads]
            assert [(answer.opcode, answer.payload) for answer in answers] == [
                (PONG, payload) for payload in payloads
            ]
            await client.send(Frame(PONG, b"nobody asked"), Frame(TEXT, b"still here"))
            assert (await client.receive()).payload == b"still here"

    through_the_router(test)


def test_a_fragmented_message_is_one_and_lets_pings_in_between() -> None:
    async def test(port: int) -> None:
        async with raw(port) as client:
            bicycle = "🚲".encode()
            await client.send(
                Frame(TEXT, bicycle[:1], fin=False),
                Frame(PING, b"between"),
                Frame(CONTINUATION, b"", fin=False),
                Frame(CONTINUATION, bicycle[1:3], fin=False),
                Frame(CONTINUATION, bicycle[3:]),
            )
            assert (await client.receive()).opcode == PONG
            got = [await client.receive()]
            while not got[-1].fin:
                got.append(await client.receive())
            assert b"".join(frame.payload for frame in got) == bicycle
            parts = [Frame(CONTINUATION, b"x" * 16384, fin=False) for _ in range(64)]
            await client.send(Frame(BINARY, b"", fin=False), *parts, Frame(CONTINUATION))
            assert (await client.receive()).payload == b"x" * (1 << 20)

    through_the_router(test)


WRONG = {
    "an unmasked frame": [Frame(TEXT, b"x", masked=False)],
    "reserved bit 1": [Frame(TEXT, b"x", rsv=4)],
    "reserved bit 2": [Frame(TEXT, b"x", rsv=2)],
    "reserved bit 3 of a ping": [Frame(PING, b"x", rsv=1)],
    **{f"opcode {opcode}": [Frame(opcode, b"x")] for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "a ping over 125 bytes": [Frame(PING, bytes(126))],
    "a fragmented ping": [Frame(PING, b"x", fin=False), Frame(CONTINUATION, b"y")],
    "a continuation of nothing": [Frame(CONTINUATION, b"x")],
    "a continuation after the end": [
        Frame(TEXT, b"x", fin=False),
        Frame(CONTINUATION, b"y"),
        Frame(CONTINUATION, b"z"),
    ],
    "a message within a message": [Frame(TEXT, b"x", fin=False), Frame(TEXT, b"y")],
    "a close of one byte": [Frame(CLOSE, b"\x03")],
    "a close over 125 bytes": [Frame(CLOSE, b"\x03\xe8" + b"x" * 124)],
    **{f"close code {code}": [close(code)] for code in (0, 999, 1004, 1005, 1006, 1015, 5000)},
}


@pytest.mark.parametrize("frames", WRONG.values(), ids=WRONG)
def test_a_breach_of_the_protocol_ends_the_connection_with_1002(frames: list[Frame]) -> None:
    async def test(port: int) -> None:
        async with raw(port) as client:
            await client.send(*frames)
            *before, last = await client.end()
            assert code_of(last) == 1002
            assert {frame.opcode for frame in before} <= {TEXT}

    through_the_router(test)


NO_TEXT = {
    "a byte of no text": [b"\xff"],
    "a lone continuation byte": [b"abc\x80"],
    "an overlong slash": [b"\xc0\xaf"],
    "half a surrogate pair": [b"\xed\xa0\x80"],
    "beyond the last character": [b"\xf4\x90\x80\x80"],
    "a character cut off at the end": [b"\xe2\x82"],
    "bad in the second fragment": [b"fine", b"\xf0\x28\x8c\x28"],
}


@pytest.mark.parametrize("parts", NO_TEXT.values(), ids=NO_TEXT)
def test_text_that_is_no_utf_8_ends_the_connection_with_1007(parts: list[bytes]) -> None:
    async def test(port: int) -> None:
        async with raw(port) as client:
            kinds = [TEXT] + [CONTINUATION] * (len(parts) - 1)
            last = len(parts) - 1
            await client.send(
                *(
                    Frame(k, p, fin=i == last)
                    for i, (k, p) in enumerate(zip(kinds, parts, strict=True))
                )
            )
            assert [code_of(frame) for frame in await client.end()] == [1007]

    through_the_router(test)


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 3000, 3999, 4000, 4999])
def test_a_close_is_answered_with_its_code_and_then_the_connection_ends(code: int) -> None:
    async def test(port: int) -> None:
        async with raw(port) as client:
            await client.send(close(code, b"bye"), Frame(TEXT, b"after the end"))
            assert [code_of(frame) for frame in await client.end()] == [code]

    through_the_router(test)


def test_a_close_without_a_code_is_answered() -> None:
    async def test(port: int) -> None:
        async with raw(port) as client:
            await client.send(close())
            (closed,) = await client.end()
            assert closed.opcode == CLOSE
            assert closed.payload in (b"", b"\x03\xe8")

    through_the_router(test)


@pytest.mark.parametrize("fragmented", [False, True])
def test_a_message_over_the_limit_ends_the_connection_with_1009(fragmented: bool) -> None:
    async def test(port: int) -> None:
        async with raw(port) as client:
            size = MAX // 4 + 1
            parts = [Frame(CONTINUATION, bytes(size), fin=False)] * 3
            whole = [Frame(BINARY, bytes(MAX + 1))]
            try:
                await client.send(
                    *([Frame(BINARY, bytes(size), fin=False), *parts] if fragmented else whole)
                )
            except anyio.BrokenResourceError:
                return  # ended while we were still sending
            found = await client.end()
            assert [code_of(frame) for frame in found] in ([1009], [])

    through_the_router(test)


@pytest.mark.parametrize(
    "wrong,status",
    [
        ({"drop": "Sec-WebSocket-Key"}, "400"),
        ({"Sec_WebSocket_Key": "short"}, "400"),
        ({"Sec_WebSocket_Version": "8"}, "400"),
        ({"drop": "Sec-WebSocket-Version"}, "400"),
    ],
    ids=str,
)
def test_a_bad_handshake_is_refused(wrong: dict[str, str], status: str) -> None:
    async def test(port: int) -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            answer = await Raw(stream).shake("/echo", **wrong)
            assert answer.split()[1] == status

    through_the_router(test)


def test_the_handshake_proves_that_it_was_read() -> None:
    async def test(port: int) -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            answer = await Raw(stream).shake("/echo", Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==")
            # The key and the answer of RFC 6455, section 1.3.
            lines = answer.lower().splitlines()
            assert "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in lines

    through_the_router(test)


@pytest.mark.parametrize("take_over", [True, False], ids=["shared window", "window per message"])
def test_compressed_messages_come_back_whole(take_over: bool) -> None:
    async def test(port: int) -> None:
        deflate = ClientPerMessageDeflateFactory(
            server_no_context_takeover=not take_over, client_no_context_takeover=not take_over
        )
        async with connect(
            f"ws://127.0.0.1:{port}/echo",
            extensions=[deflate],
            compression=None,
            proxy=None,
            max_size=None,
        ) as socket:
            assert [extension.name for extension in socket.protocol.extensions] == [
                "permessage-deflate"
            ]
            for text in ("hello" * 50, "hello" * 50, "", "é🚲" * 10_000, "x" * (1 << 20)):
                await socket.send(text)
                assert await socket.recv() == text
            await socket.send(noise := os.urandom(1 << 20))
            assert await socket.recv() == noise

    through_the_router(test)


def test_the_websockets_client_fragments_pings_closes_and_sends_a_mebibyte() -> None:
    async def test(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/echo", proxy=None, max_size=None) as socket:
            assert await (await socket.ping(b"mine")) >= 0
            await socket.send(["frag", "men", "ted"])
            assert await socket.recv() == "fragmented"
            body = os.urandom(1 << 20)
            await socket.send([body[:1000], body[1000:]])
            assert await socket.recv() == body
            await socket.close(4321, "enough")
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4321, "enough")

    through_the_router(test)


def test_a_compressed_bomb_is_refused() -> None:
    async def test(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/echo", proxy=None, max_size=None) as socket:
            await socket.send(bytes(8 * MAX))  # some kilobytes on the way
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009

    through_the_router(test)
