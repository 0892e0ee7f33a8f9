"""The budget in the operations guide: what a client can use up, row by row.

Rule: a row's numbers are read from the page, so that page and code cannot differ.
"""

import inspect
import io
import json
import os
import re
import select
import socket
import struct
import sys
import tempfile
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, cast
from unittest.mock import Mock

import anyio
import pytest

from actors import System
from actors._base import event_log, line_writer
from actors._base.event_log import LogSubscriber
from actors._base.events import event_of
from actors._base.line_writer import LineWriter
from actors._base.loop import Loop
from actors._system.control.server import control_socket
from actors._system.coordinator import Coordinator
from actors._system.system import coordinator_of
from actors.nodes.boot.output import read_output
from actors.routing import Peeked, RequestTimedOut, Sticky, asgi, cookie, ip, listen
from actors.routing.serving import client_warnings
from actors.routing.sticky.bindings import digest_of
from actors.routing.sticky.http_head import HEAD_LIMIT
from actors.routing.sticky.proxy_protocol import proxy_header
from tests.cpu_time import cpu_time
from tests.routing import slow_reader_apps
from tests.routing.apps import SYSTEM, heard, here, serving
from tests.routing.certificates import Certified
from tests.routing.client_bytes import SIGNATURE
from tests.routing.conftest import Rig
from tests.routing.raw_websocket import CLOSE, TEXT, Frame, Raw
from tests.routing.serving_nodes import Served, eventually, totals
from tests.routing.skipping_loop import run_skipping, settle, skip

PAGE: Final = Path(__file__).parents[2] / "docs/guides/operations.md"
TITLE: Final = "## What a client can use up"
UNITS: Final = {"KiB": 1024, "MiB": 1024 * 1024}
HEAD: Final = b"GET / HTTP/1.1\r\nX: "


def rows() -> dict[str, tuple[list[float], list[str]]]:
    """Return the numbers and the options of each row: sizes in bytes, times in seconds."""
    section = PAGE.read_text(encoding="utf-8").partition(TITLE)[2].partition("\n## ")[0]
    found = {}
    for line in section.splitlines():
        if line.startswith("| ") and not line.startswith("| what"):
            what, most, options = (cell.strip() for cell in line.strip("|").split("|"))
            numbers = re.findall(r"(?<![\w-])(\d+(?:\.\d+)?)(?: (KiB|MiB))?", most)
            found[what] = (
                [float(number) * UNITS.get(unit, 1) for number, unit in numbers],
                re.findall(r"`(\w+)`", options),
            )
    return found


def slow_clients(rig: Rig, count: int, sent: bytes) -> None:
    for client in rig.connect(rig.routers[0], count):
        client.sendall(sent)
    rig.loop.until(lambda: rig.routers[0].snapshot().peeking == count)
    rig.loop.settle()


def bytes_looked_at(rig: Rig, numbers: list[float]) -> None:
    seen: list[int] = []

    class Spy(type(cookie("sid"))):  # type: ignore[misc] # the class of the key
        def extract(self, peeked: Peeked) -> object:
            seen.append(len(peeked.head))
            return super().extract(peeked)

    router = rig.router(Sticky(Spy("sid")))
    rig.join(router)
    rig.connect(router)[0].sendall(HEAD + b"a" * 100_000)
    rig.loop.until(lambda: sum(len(node.got) for node in rig.nodes) == 1)
    assert max(seen) == HEAD_LIMIT == numbers[0]
    assert not ip().needs_head


def cpu_of_a_head(_rig: Rig, numbers: list[float]) -> None:
    peeked = Peeked(HEAD + b" " * (int(numbers[0]) - 40) + b"\0\r\n\r\n", None, complete=True)
    walk = cpu_time(lambda: [byte for byte in peeked.head])  # noqa: C416 - the walk is the measure
    assert cpu_time(lambda: cookie("sid").extract(peeked)) < 10 * walk  # see test_linear_time


def looks(rig: Rig, numbers: list[float]) -> None:
    router = rig.router(Sticky(cookie("sid")))
    rig.join(router)
    client = rig.connect(router)[0]
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    most, seconds = numbers
    rig.loop.until(lambda: router.snapshot().peeking == 1)
    for number, byte in enumerate(HEAD + b"a" * 300):
        client.sendall(bytes([byte]))
        rig.loop.poll(10 if number < 32 else 0)  # the first ones are looked at, one by one
        rig.loop.advance(seconds / 300)
    assert 32 <= rig.loop.wakeups <= most
    rig.loop.until(lambda: router.snapshot().peeking == 0)


def peeking(rig: Rig, numbers: list[float]) -> None:
    assert listen("a:b").max_peeking == numbers[0]
    router = rig.router(Sticky(cookie("sid")), max_peeking=3)
    (node,) = rig.join(router)
    slow_clients(rig, 3, b"GET")
    rig.connect(router, 2)
    rig.loop.until(lambda: len(node.got) == 2)
    assert router.snapshot().peeking == 3


def pending(rig: Rig, numbers: list[float]) -> None:
    assert [listen("a:b").max_pending, listen("a:b").backlog] == numbers
    router = rig.router(max_pending=5)
    rig.join(router, auto_ack=False)
    rig.connect(router, 20)
    rig.loop.settle()
    assert router.snapshot().accepted <= 5 + 8  # a batch is given to the node


def memory(rig: Rig, numbers: list[float]) -> None:
    router = rig.router(Sticky(cookie("sid")))
    rig.join(router)
    slow_clients(rig, 1, HEAD)
    count = 200
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for client in rig.connect(router, count):
            client.sendall(HEAD + b"a" * 10_000)
        rig.loop.until(lambda: router.snapshot().peeking == count + 1)
        rig.loop.settle()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < numbers[0] * count


def learned(rig: Rig, numbers: list[float]) -> None:
    most, share, each = map(int, numbers)
    router = rig.router(Sticky(cookie("sid")))
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(most // 8):
        router.bind(1, [digest_of(b"%d" % number)], f"10.0.{number >> 8}.{number & 255}")
    assert tracemalloc.get_traced_memory()[0] - before < each * most // 8
    tracemalloc.stop()
    for number in range(most):
        router.bind(1, [digest_of(b"other %d" % number)], f"{number}")
    assert router.snapshot().learned == most
    router.keep_slots([])
    for number in range(share + 9):
        router.bind(1, [digest_of(b"%d" % number)], "10.9.9.9")
    assert router.snapshot().learned == share


def lines_about_clients(_rig: Rig, numbers: list[float]) -> None:
    assert numbers == [event_log._EVERY] == [client_warnings._EVERY]
    text = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", text)
        log = LogSubscriber(lambda: 0.0)
        for number in range(2000):
            log(event_of(RequestTimedOut("web", number, "head", 10.0), 0.0))
    (line,) = text.getvalue().splitlines()
    assert "request timed out" in line


def lines_that_wait(_rig: Rig, numbers: list[float]) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", pipe)
        writer = LineWriter(json.dumps)
        for _ in range(3000):
            writer.write("x" * 1023)
        assert writer._size <= numbers[0] + 1024 == line_writer._ROOM + 1024
        os.close(reading)  # ends the write, and what waits
        writer.flush()


def a_printed_line(_rig: Rig, numbers: list[float]) -> None:
    class HandLoop:
        def watch_readable(self, _fd: int, call: Callable[[], object]) -> None:
            self.read = call

        def unwatch_readable(self, _fd: int) -> None:
            pass

        def now(self) -> float:
            return 0.0

        def call_later(self, _seconds: float, _call: Callable[[], object]) -> Any:
            return Mock()

    loop = HandLoop()
    reading, writing = os.pipe()
    reader = read_output(cast("Loop", loop), reading, "web/0", remember=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", io.StringIO())
        for _ in range(40):
            os.write(writing, b"x" * 60_000)
            while select.select([reading], [], [], 0)[0]:
                loop.read()
        os.close(writing)
        reader.close()
    lengths = list(map(len, reader.last))
    assert sum(lengths) == 40 * 60_000
    assert max(lengths) == numbers[0]


def waits(sock: socket.socket) -> bool:
    """Whether the other side has neither closed the connection nor sent anything."""
    sock.setblocking(False)
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    return False


async def connected(served: Served, sent: bytes) -> socket.socket:
    """Connect and send; return when the node has got the connection."""
    (before,) = totals(served.router)
    sock = socket.create_connection(("127.0.0.1", served.port))
    sock.sendall(sent)
    await eventually(lambda: totals(served.router) == [before + 1])
    return sock


async def given_up_after(seconds: float, sock: socket.socket) -> bytes:
    """Return what *sock* hears when it is closed, which is after *seconds* of silence and not before."""
    await skip(seconds - 0.1)
    assert waits(sock)
    await skip(0.2)
    return await heard(sock)


def proxy(_rig: Rig, numbers: list[float]) -> None:
    most, seconds = numbers
    assert most == HEAD_LIMIT
    longer = SIGNATURE + b"\x21\x11" + (HEAD_LIMIT - 15).to_bytes(2, "big")
    assert proxy_header(longer) is None

    async def test(loop: Loop) -> None:
        spec = listen("tests.end_to_end.echo_handler:echo", "127.0.0.1:0", proxy_protocol=True)
        async with Served(spec, loop) as served:
            await served.join()
            with await connected(served, b"PROXY TCP4 ") as sock:
                assert await given_up_after(seconds, sock) == b""

    run_skipping(test)


def handshake(_rig: Rig, numbers: list[float]) -> None:
    async def test(loop: Loop) -> None:
        with tempfile.TemporaryDirectory() as folder:
            spec = listen(asgi(here("app")), "127.0.0.1:0", **Certified(Path(folder)).files)
            async with Served(spec, loop, SYSTEM) as served:
                await served.join()
                with await connected(served, b"\x16\x03\x01") as sock:
                    assert await given_up_after(numbers[0], sock) == b""

    run_skipping(test)


def request_head(_rig: Rig, numbers: list[float]) -> None:
    most, seconds = numbers

    async def test(loop: Loop) -> None:
        async with serving(loop) as served:
            await served.join()
            for size, status in ((int(most), b"200"), (int(most) + 1, b"431")):
                head = HEAD.replace(b"X:", b"Host: x\r\nConnection: close\r\nX:")
                with await connected(served, head.ljust(size - 4, b"a") + b"\r\n\r\n") as sock:
                    assert (await heard(sock)).startswith(b"HTTP/1.1 " + status)
            with await connected(served, HEAD) as sock:
                assert (await given_up_after(seconds, sock)).startswith(b"HTTP/1.1 408")

    run_skipping(test)


def request_body(_rig: Rig, numbers: list[float]) -> None:
    async def test(loop: Loop) -> None:
        post = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"
        async with serving(loop) as served:
            await served.join()
            with await connected(served, post) as sock:
                await skip(numbers[0] - 0.1)
                sock.sendall(b"d")
                assert await given_up_after(numbers[0], sock) == b""

    run_skipping(test)


def untaken_response(_rig: Rig, numbers: list[float]) -> None:
    async def test(loop: Loop) -> None:
        served_app = asgi("tests.routing.slow_reader_apps:app", lifespan="off")
        get = b"GET /parts HTTP/1.1\r\nHost: x\r\n\r\n"
        async with serving(loop, served_app) as served:
            node = await served.join()
            with await connected(served, get):
                await eventually(lambda: slow_reader_apps.sent and slow_reader_apps.sent[-1] > 0)
                for _ in range(4):
                    await skip(numbers[0] / 4 - 0.01)
                assert node.closed == []
                while not node.closed:  # the kernels' last exchanges take no time of this loop
                    await skip(numbers[0] / 4)
                    await anyio.sleep(0.02)

    run_skipping(test)


def idle_connection(_rig: Rig, numbers: list[float]) -> None:
    async def test(loop: Loop) -> None:
        get = b"GET /upload HTTP/1.1\r\nHost: x\r\n\r\n"
        async with serving(loop) as served:
            await served.join()
            with await connected(served, get) as sock:
                for _ in range(2):
                    await anyio.wait_readable(sock)
                    assert sock.recv(4096).startswith(b"HTTP/1.1 405")
                    await skip(numbers[0] - 0.1)
                    sock.sendall(get)
                await anyio.wait_readable(sock)
                sock.recv(4096)
                assert await given_up_after(numbers[0], sock) == b""

    run_skipping(test)


def websocket_message(_rig: Rig, numbers: list[float]) -> None:
    most = int(numbers[0])

    async def test(loop: Loop) -> None:
        async with serving(loop) as served:
            await served.join()
            async with await anyio.connect_tcp("127.0.0.1", served.port) as stream:
                client = Raw(stream)
                await client.shake("/ws")
                await client.receive()
                await client.send(Frame(TEXT, b"x" * most))
                assert (await client.receive()).payload == b"X" * most
                await stream.send(b"\x81\xff" + struct.pack("!Q", most + 1) + bytes(4))
                ended = await client.receive()
                assert (ended.opcode, ended.payload[:2]) == (CLOSE, struct.pack("!H", 1009))

    run_skipping(test)


def controlled(test: Callable[[Coordinator, Path], Awaitable[None]]) -> None:
    """Run *test* with a system and the path of its control socket."""

    async def run(_loop: Loop) -> None:
        with tempfile.TemporaryDirectory(prefix="actors-") as folder:
            async with System() as system:
                core = coordinator_of(system)
                async with control_socket(core, Path(folder) / "c") as path:
                    await test(core, path)

    run_skipping(run)


def asked(path: Path, sent: bytes) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    sock.sendall(sent)
    return sock


def control_request(_rig: Rig, numbers: list[float]) -> None:
    most, first_byte, seconds = numbers

    async def test(_core: Coordinator, path: Path) -> None:
        ask = b'{"op": "ps"}'
        with asked(path, ask.ljust(int(most) - 1) + b"\n") as sock:
            assert (await heard(sock)).startswith(b'{"ok": true')
        with asked(path, ask.ljust(int(most) + 1)) as sock:
            assert b"this one has more" in await heard(sock)
        with asked(path, b"") as sock:
            assert await given_up_after(first_byte, sock) == b""
        with asked(path, b"{") as sock:
            assert b"did not arrive within 5 s" in await given_up_after(seconds, sock)

    controlled(test)


def control_connections(_rig: Rig, numbers: list[float]) -> None:
    most, followers, kept = map(int, numbers)

    async def test(core: Coordinator, path: Path) -> None:
        with ExitStack() as held:
            silent = [held.enter_context(asked(path, b"{")) for _ in range(most)]
            await settle()
            late = held.enter_context(asked(path, b'{"op": "ps"}\n'))
            await settle()
            assert waits(late)
            silent[0].close()
            assert (await heard(late)).startswith(b'{"ok": true')
        with ExitStack() as held:
            follow = b'{"op": "events"}\n'
            others = [held.enter_context(asked(path, follow)) for _ in range(followers)]
            for sock in others:
                await anyio.wait_readable(sock)
                assert sock.recv(4096).startswith(b'{"ok": true')
            with asked(path, follow) as refused:
                assert (await heard(refused)).startswith(b'{"ok": false')
            for number in range(kept + 100):
                core.event("flood", {"number": number})
            told = b""
            others[0].setblocking(False)
            while b'"number": %d}' % (kept + 99) not in told:
                await anyio.wait_readable(others[0])
                told += others[0].recv(1 << 20)
            assert told.count(b'"flood"') == kept

    controlled(test)


CHECKS: Final[dict[str, Callable[[Rig, list[float]], None]]] = {
    "bytes of a connection that the system's own process looks at": bytes_looked_at,
    "CPU time for them": cpu_of_a_head,
    "looks at a connection whose bytes come one by one": looks,
    "connections whose key is awaited": peeking,
    "connections that no node has taken yet": pending,
    "session ids of applications that the router notes": learned,
    "memory of the system's own process for a connection that waits": memory,
    "log lines about what clients cause": lines_about_clients,
    "log lines that wait for their reader": lines_that_wait,
    "length of a line that a node prints": a_printed_line,
    "PROXY header": proxy,
    "TLS handshake": handshake,
    "request head": request_head,
    "pause within a request body": request_body,
    "pause in which a client takes nothing of what it is sent": untaken_response,
    "idle connection between two requests": idle_connection,
    "WebSocket message": websocket_message,
    "request to the control socket, by its user only": control_request,
    "connections of the control socket": control_connections,
}


@pytest.mark.parametrize("row", CHECKS)
def test_a_client_can_use_up_no_more_than_the_guide_says(rig: Rig, row: str) -> None:
    numbers, options = rows()[row]
    CHECKS[row](rig, numbers)
    known = {*inspect.signature(listen).parameters, *inspect.signature(asgi).parameters}
    assert known >= set(options)


def test_every_row_of_the_guide_is_checked() -> None:
    assert list(rows()) == list(CHECKS)
