"""The budget in the operations guide: what a client can use up, row by row.

Rule: a row's numbers are read from the page, so that page and code cannot differ.
"""

import inspect
import io
import json
import os
import re
import socket
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import pytest

from actors._base import event_log, events, line_writer
from actors._base.event_log import LogSubscriber
from actors._base.events import event_of
from actors._base.line_writer import LineWriter
from actors._base.loop import Loop
from actors.cli.server import control, event_followers
from actors.nodes.boot.output import LinesReader
from actors.routing import Peeked, RequestTimedOut, Sticky, asgi, cookie, ip, listen
from actors.routing.serving import client_warnings, proxy_header as proxy_reader
from actors.routing.sticky.http_head import HEAD_LIMIT
from actors.routing.sticky.proxy_protocol import proxy_header
from tests.cpu_time import cpu_time
from tests.routing.client_bytes import SIGNATURE
from tests.routing.conftest import Rig

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

    loop, lines = HandLoop(), list[str]()
    reading, writing = os.pipe()
    reader = LinesReader(cast("Loop", loop), reading, lines.append)
    for _ in range(40):
        os.write(writing, b"x" * 60_000)
        loop.read()
    os.close(writing)
    reader.close()
    assert len(lines) == 3
    assert max(map(len, lines)) <= numbers[0] + 65_536


def proxy(_rig: Rig, numbers: list[float]) -> None:
    assert numbers == [HEAD_LIMIT, proxy_reader._TIMEOUT]
    longer = SIGNATURE + b"\x21\x11" + (HEAD_LIMIT - 15).to_bytes(2, "big")
    assert proxy_header(longer) is None


def control_request(_rig: Rig, numbers: list[float]) -> None:
    limit = inspect.signature(control.control_socket).parameters["time_limit"].default
    assert numbers == [control._LONGEST_REQUEST, control._FIRST_BYTE, limit]


def control_connections(_rig: Rig, numbers: list[float]) -> None:
    followers = event_followers._MOST_FOLLOWERS
    assert numbers == [control._MOST_CONNECTIONS, followers, events._BOUND]


def handshake(_rig: Rig, numbers: list[float]) -> None:
    assert numbers == [inspect.signature(listen).parameters["handshake_timeout"].default]


def of_asgi(*names: str) -> Callable[[Rig, list[float]], None]:
    """The defaults of options whose effect `test_asgi.py` and `test_asgi_ends.py` test."""

    def check(_rig: Rig, numbers: list[float]) -> None:
        assert numbers == [getattr(asgi("a:b"), name) for name in names]

    return check


CHECKS: Final[dict[str, Callable[[Rig, list[float]], None]]] = {
    "bytes of a connection that the system's own process looks at": bytes_looked_at,
    "CPU time for them": cpu_of_a_head,
    "looks at a connection whose bytes come one by one": looks,
    "connections whose key is awaited": peeking,
    "connections that no node has taken yet": pending,
    "memory of the system's own process for a connection that waits": memory,
    "log lines about what clients cause": lines_about_clients,
    "log lines that wait for their reader": lines_that_wait,
    "length of a line that a node prints": a_printed_line,
    "PROXY header": proxy,
    "TLS handshake": handshake,
    "request head": of_asgi("max_head", "head_timeout"),
    "pause within a request body": of_asgi("body_timeout"),
    "idle connection between two requests": of_asgi("keep_alive"),
    "WebSocket message": of_asgi("ws_max_size"),
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
