"""Whatever bytes an HTTP/2 client sends, in whatever pieces: no exception leaves the connection."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Coroutine, Mapping
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError

from actors.routing import asgi
from actors.routing.serving.client_timer import Part
from actors.routing.serving.http2_connection import Http2Connection
from actors.routing.serving.response_head import DateHeader
from tests.routing import http2_apps

CASES = int(os.environ.get("HTTP2_CASES", "300"))
PREFACE = 24
REQUESTS = 6
"""Requests among ten steps of a client."""
PATHS = (*http2_apps.PATHS, "*", "/%ff", "/nothing")
SLOW = ("/first", "/second")
"""These need each other."""


class Transport:
    """Takes what is written, and forgets it."""

    def __init__(self) -> None:
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed

    def write(self, _data: bytes) -> None:
        assert not self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        """Do nothing: the test sends what it likes."""

    resume_reading = pause_reading

    def get_extra_info(self, _name: str, default: object = None) -> object:
        return default


class Owner:
    """A server of one connection."""

    spec = asgi("a:b", http2=True)
    listener = "fuzz"
    app = app_state = affinity = forwarded = None
    secure = draining = aborting = False
    notice = 1.0
    limits: Mapping[Part, float] = {"head": 10, "body": 60, "idle": 5, "linger": 1}

    def __init__(self) -> None:
        self.date = DateHeader()
        self.app_state = {"actors": None}
        self.tasks: set[asyncio.Task[None]] = set()
        self.failures: list[BaseException] = []

    def report(self, _record: object) -> None:
        """Forget it."""

    def access_log(self) -> None:
        return None

    def chosen_app(self) -> Any:
        return http2_apps.app

    def start_task(self, answer: Any, run: Coroutine[Any, Any, None], **_: object) -> None:
        answer.task = asyncio.get_running_loop().create_task(run)
        self.tasks.add(answer.task)
        answer.task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)

    def task_ends(self, _answer: object) -> None:
        """Wait for the task itself."""

    def write_later(self, response: Any) -> None:
        asyncio.get_running_loop().call_soon(response.write_held)

    def set_protocol(self, _number: int, _protocol: object) -> None:
        """There is one connection."""

    def ended(self, _number: int) -> None:
        """There is one connection."""


def _ask(client: H2Connection, stream: int, choose: random.Random) -> None:
    method = choose.choice(("GET", "POST", "HEAD"))
    path = choose.choice([path for path in PATHS if path not in SLOW])
    names = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path)]
    client.send_headers(stream, names, end_stream=method != "POST")
    if method == "POST":
        for _ in range(choose.randrange(4)):
            client.send_data(stream, choose.randrange(3000) * b"x")
        if choose.randrange(2):
            client.end_stream(stream)


def _step(client: H2Connection, stream: int, choose: random.Random) -> int:
    """Have a client do something; return the number of its next stream."""
    kind = choose.randrange(10)
    if kind < REQUESTS:
        _ask(client, stream, choose)
        return stream + 2
    if kind == REQUESTS:
        client.ping(b"12345678")
    elif kind == REQUESTS + 1:
        client.update_settings({4: choose.randrange(100_000)})
    elif kind == REQUESTS + 2:
        client.increment_flow_control_window(choose.randrange(1, 100_000))
    elif stream > 1:
        client.reset_stream(choose.randrange(1, stream, 2))
    return stream


def bytes_of_a_client(choose: random.Random) -> bytes:
    """Return what a client sends, in most cases spoilt."""
    client = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    client.initiate_connection()
    stream = 1
    for _ in range(choose.randint(1, 6)):
        try:
            stream = _step(client, stream, choose)
        except ProtocolError:
            continue  # a stream that was reset is reset again
    data = bytearray(client.data_to_send())
    for _ in range(choose.choice((0, 1, 2, 8))):
        at = choose.randrange(PREFACE, len(data))
        change = choose.randrange(4)
        if change < 2:
            data[at] = choose.randrange(256)
        elif change == 2:
            data[at:at] = choose.randbytes(choose.randint(1, 12))
        else:
            del data[at : at + choose.randint(1, 9)]
    return bytes(data)


async def connection_with(choose: random.Random) -> Owner:
    owner, transport = Owner(), Transport()
    http = Http2Connection(owner, 1)  # type: ignore[arg-type] # it has what is asked for
    http.connection_made(transport)  # type: ignore[arg-type] # it has what is asked for
    data = bytes_of_a_client(choose)
    while data and not transport.closed:
        size = choose.randint(1, len(data))
        http.data_received(data[:size])
        data = data[size:]
        await turns(choose.randrange(3))
        if choose.randrange(20) == 0:
            http.pause_writing()
            await turns(1)
            http.resume_writing()
    await turns(10)
    if choose.randrange(3) == 0:
        owner.draining = True
        for end in (http.wind_down, http.hang_up, http.shutdown):
            end()
            await turns(1)
    http.connection_lost(None)
    for task in list(owner.tasks):
        task.cancel()
    if owner.tasks:
        await asyncio.wait(owner.tasks)
    return owner


async def turns(count: int) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(2))
def test_no_exception_leaves_a_connection(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        spoilt: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: spoilt.append(context))
        choose = random.Random(seed)
        for _ in range(CASES // 2):
            owner = await connection_with(choose)
            assert (owner.failures, spoilt) == ([], [])

    caplog.set_level("CRITICAL", "uvicorn.error")
    asyncio.run(test())
