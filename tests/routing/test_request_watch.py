"""Requests that run for long are reported with their stacks, and ended where there is a limit."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
import pytest
from httpx import RemoteProtocolError

from actors._base.loop import Loop
from actors.routing import RequestEnded, RequestSlow, asgi
from actors.routing.serving.http_cycle import Cycle
from actors.routing.serving.request_watch import RequestWatch
from tests.routing.apps import ASYNCIO, happened, heard, http, serving
from tests.routing.serving_nodes import eventually, run
from tests.routing.virtual_loop import VirtualLoop

Message = MutableMapping[str, Any]
PATHS = "tests.routing.test_request_watch:app"


async def app(scope: Message, _receive: object, send: Callable[[Message], Awaitable[None]]) -> None:
    """Begin a response if the path has one, then wait for ever."""
    begun = {"/begun": b"text/plain", "/events": b"text/event-stream"}.get(scope["path"])
    if begun is not None:
        headers = [(b"content-type", begun)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
    try:
        await waits_for_ever()
    finally:
        happened.append(f"{scope['path']} ended")


async def waits_for_ever() -> None:
    await asyncio.Event().wait()


@ASYNCIO
def test_a_request_that_takes_too_long_is_answered_504_and_cancelled(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(PATHS, slow=0.05, timeout=0.2)) as served:
            await served.join()
            async with http(served) as client:
                response = await client.get("/plain?" + 300 * "x")
                assert (response.status_code, response.headers["connection"]) == (504, "close")
                await eventually(lambda: happened)
                assert happened == ["/plain ended"]
                with pytest.raises(RemoteProtocolError):
                    await client.get("/begun")
        slow = [fact for fact in served.facts if isinstance(fact, RequestSlow)]
        ended = [fact for fact in served.facts if isinstance(fact, RequestEnded)]
        assert [fact.path[:7] for fact in slow] == ["/plain?", "/begun"]
        assert [fact.path[:7] for fact in ended] == ["/plain?", "/begun"]
        assert len(slow[0].path) == 200
        for stack in [fact.stack for fact in slow] + [fact.stack for fact in ended]:
            lines = stack.splitlines()
            assert [line.rpartition(" in ")[2] for line in lines[::2]][:2] == [
                "app",
                "waits_for_ever",
            ]
            assert lines[3].strip() == "await asyncio.Event().wait()"

    run(kind, test)


def test_event_streams_have_no_limit() -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(PATHS, slow=0.02, timeout=0.02)) as served:
            await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
                await anyio.wait_readable(sock)
                async with http(served) as client:
                    assert (await client.get("/plain")).status_code == 504  # ten looks later
                assert "/events ended" not in happened
                assert sock.recv(65536).endswith(b"4\r\npart\r\n")
        assert [fact.path for fact in served.facts if isinstance(fact, RequestSlow)] == ["/plain"]

    run("asyncio", test)


def test_without_limits_nothing_is_looked_at() -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(PATHS)) as served:
            await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(b"GET /plain HTTP/1.1\r\nHost: x\r\n\r\n")
                with anyio.move_on_after(0.2) as waited:
                    await heard(sock)
                assert waited.cancelled_caught
        assert [fact for fact in served.facts if isinstance(fact, RequestSlow | RequestEnded)] == []

    run("asyncio", test)


class Waiting(Cycle):
    """A request that never ends by itself."""

    def __init__(self) -> None:
        self.scope = {"client": None, "method": "GET", "path": "/", "query_string": b""}
        self.task = None
        self.disconnected = False
        self._event_stream = False

    def time_out(self) -> None:
        self.disconnected = True


class Clock(VirtualLoop):
    """The loop as asyncio calls it."""

    def time(self) -> float:
        return self.now()


def test_many_slow_requests_are_few_reports_at_once_and_all_are_ended() -> None:
    facts: list[object] = []
    loop = Clock()
    watch = RequestWatch(asgi(PATHS, slow=1.0, timeout=4.0), "web", facts.append)
    answers = [Waiting() for _ in range(35)]
    watch.running.update(answers)
    watch.start(loop)  # type: ignore[arg-type] # it is asked for the time and for timers
    loop.advance(1.2)
    assert [type(fact) for fact in facts] == 10 * [RequestSlow]
    loop.advance(2.7)
    assert [type(fact) for fact in facts] == 35 * [RequestSlow]
    loop.advance(1.0)
    assert [type(fact) for fact in facts[35:]] == 10 * [RequestEnded]
    assert all(answer.disconnected for answer in answers)
    watch.stop()
