"""HTTP/2: streams beside each other, windows both ways, what a client may not do, and the end of a node."""

import asyncio
import shutil
import socket
from collections.abc import Iterable
from typing import Any, Self

import anyio
import httpx
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import SettingCodes

from actors._base.loop import Loop
from actors.routing import BadListener, Listener, RequestEnded, Sticky, asgi, cookie, listen
from actors.routing.serving.http2_limits import Tokens
from tests.routing import http2_apps
from tests.routing.apps import ASYNCIO, SYSTEM, happened
from tests.routing.certificates import Certified
from tests.routing.serving_nodes import Served, eventually, run

CURL = shutil.which("curl")


def spec(**options: Any) -> Listener:
    app = asgi("tests.routing.http2_apps:app", http2=True, lifespan="off", **options)
    return listen(app, "127.0.0.1:0")


def client_of(served: Served) -> httpx.AsyncClient:
    """A client that begins with HTTP/2."""
    url = f"http://127.0.0.1:{served.port}"
    return httpx.AsyncClient(base_url=url, http1=False, http2=True, timeout=20)


class Raw:
    """A client that sends frames of its own."""

    def __init__(self, served: Served, window: int | None = None) -> None:
        self.sock = socket.create_connection(("127.0.0.1", served.port))
        self.sock.setblocking(False)
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.events: list[Event] = []
        self.h2.initiate_connection()
        if window is not None:
            self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.over = False

    def get(self, stream: int, path: str, method: str = "GET", *, end: bool = True) -> None:
        names = ((":method", method), (":scheme", "http"), (":authority", "x"), (":path", path))
        self.h2.send_headers(stream, names, end_stream=end)

    async def flush(self) -> None:
        data = self.h2.data_to_send()
        try:
            await asyncio.get_running_loop().sock_sendall(self.sock, data)
        except OSError:
            self.over = True

    async def read(self) -> None:
        """Read once; take notice of the end."""
        await self.flush()
        try:
            data = await asyncio.get_running_loop().sock_recv(self.sock, 65536)
        except OSError:
            data = b""
        if not data:
            self.over = True
            return
        self.events += self.h2.receive_data(data)
        await self.flush()

    async def until(self, kind: type[Event], **facts: Any) -> Any:
        """Read until there is such an event; return it."""
        seen = 0
        while True:
            for event in self.events[seen:]:
                seen += 1
                if isinstance(event, kind) and facts.items() <= vars_of(event, facts).items():
                    return event
            assert not self.over, self.events
            await self.read()

    def data(self, stream: int) -> bytes:
        found = [e for e in self.events if isinstance(e, DataReceived) and e.stream_id == stream]
        return b"".join(event.data or b"" for event in found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


def vars_of(event: Event, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(event, name, None) for name in names}


@ASYNCIO
def test_a_request_is_seen_as_one_of_http_2_and_answered(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(root_path="/api"), loop, SYSTEM) as served:
            await served.join()
            async with client_of(served) as client:
                cookies = [("cookie", "a=1"), ("cookie", "b=2")]
                response = await client.post(
                    "/caf%C3%A9%20x?q=1", content=b"x" * 300_000, headers=cookies
                )
                assert (response.http_version, response.status_code) == ("HTTP/2", 200)
                assert response.headers["x-odd"] == "yes"
                assert "connection" not in response.headers
                assert int(response.headers["content-length"]) == len(response.content)
                seen = response.json()
            address = f"127.0.0.1:{served.port}"
        headers = dict(seen.pop("headers"))
        assert (headers["cookie"], headers["host"]) == ("a=1; b=2", address)
        assert seen == {
            "http_version": "2",
            "method": "POST",
            "scheme": "http",
            "path": "/api/caf\u00e9 x",
            "root_path": "/api",
            "raw_path": "/api/caf%C3%A9%20x",
            "query_string": "q=1",
            "size": 300_000,
        }

    run(kind, test)


@ASYNCIO
def test_responses_of_every_kind_arrive_whole(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(), loop, SYSTEM) as served:
            await served.join()
            async with client_of(served) as client:
                assert (await client.get("/large")).content == http2_apps.LARGE
                assert (await client.get("/file")).content == http2_apps.FILE.read_bytes()
                assert (await client.get("/hints")).text == "hinted"
                assert (await client.get("/empty")).status_code == 204
                head = await client.head("/file")
                size = str(http2_apps.FILE.stat().st_size)
                assert (head.headers["content-length"], head.content) == (size, b"")
                assert (await client.get("/raises")).status_code == 500
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.get("/breaks")
                assert (await client.get("/trailers")).text == "before "

    run(kind, test)


def test_requests_of_one_connection_run_beside_each_other() -> None:
    async def test(loop: Loop) -> None:
        http2_apps.together = asyncio.Event()
        async with Served(spec(), loop, SYSTEM) as served:
            node = await served.join()
            with Raw(served) as raw:
                raw.get(1, "/first")
                raw.get(3, "/second")
                await raw.until(StreamEnded, stream_id=1)
                assert (raw.data(1), raw.data(3)) == (b"first", b"second")
            await eventually(lambda: node.closed == [1])

    run("asyncio", test)


def test_an_application_waits_for_the_window_of_its_client_and_trailers_come_behind() -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(), loop, SYSTEM) as served:
            await served.join()
            with Raw(served, window=1000) as raw:
                raw.get(1, "/large")
                raw.get(3, "/empty")
                await raw.until(StreamEnded, stream_id=3)
                while len(raw.data(1)) < 1000:
                    await raw.read()
                assert (len(raw.data(1)), happened) == (1000, [])
                raw.h2.increment_flow_control_window(2_000_000)
                raw.h2.increment_flow_control_window(2_000_000, 1)
                await raw.until(StreamEnded, stream_id=1)
                assert raw.data(1) == http2_apps.LARGE
                assert happened == ["sent"]
            with Raw(served, window=3) as raw:
                raw.get(1, "/trailers")
                await raw.until(DataReceived, stream_id=1)
                raw.h2.increment_flow_control_window(100, 1)
                found = await raw.until(TrailersReceived, stream_id=1)
                assert (raw.data(1), found.headers) == (b"before ", [("x-sum", "7")])

    run("asyncio", test)


def test_a_body_that_nobody_waits_for_is_stopped_behind_the_answer() -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(), loop, SYSTEM) as served:
            await served.join()
            with Raw(served) as raw:
                raw.get(1, "/empty", "POST", end=False)
                reset = await raw.until(StreamReset, stream_id=1)
                assert reset.error_code == ErrorCodes.NO_ERROR
                assert isinstance(raw.events[-2], StreamEnded)

    run("asyncio", test)


def test_a_client_that_resets_a_stream_or_leaves_is_told_to_its_application() -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(), loop, SYSTEM) as served:
            node = await served.join()
            with Raw(served) as raw:
                raw.get(1, "/waits")
                raw.get(3, "/waits")
                raw.get(5, "/empty")
                await raw.until(StreamEnded, stream_id=5)
                raw.h2.reset_stream(1, ErrorCodes.CANCEL)
                await raw.flush()
                await eventually(lambda: happened == ["left"])
            await eventually(lambda: happened == ["left", "left"])
            await eventually(lambda: node.closed == [1])

    run("asyncio", test)


def _resets(raw: Raw, number: int) -> None:
    raw.get(2 * number + 1, "/waits")
    raw.h2.reset_stream(2 * number + 1, ErrorCodes.CANCEL)


def _pings(raw: Raw, number: int) -> None:
    raw.h2.ping(number.to_bytes(8, "big"))


def _settings(raw: Raw, number: int) -> None:
    raw.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000 + number})


def _empty_frames(raw: Raw, number: int) -> None:
    if number == 0:
        raw.get(1, "/shows", "POST", end=False)
    raw.h2.send_data(1, b"")


@pytest.mark.parametrize("flood", [_resets, _pings, _settings, _empty_frames])
def test_a_client_that_floods_is_told_to_calm_down_and_disconnected(flood: Any) -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(), loop, SYSTEM) as served:
            node = await served.join()
            with Raw(served) as raw:
                for number in range(1300):
                    flood(raw, number)
                    if number % 50 == 0:
                        await raw.flush()
                while not raw.over:
                    await raw.read()
                # What it has sent and nobody has read resets the connection, perhaps before it reads this.
                ends = [e for e in raw.events if isinstance(e, ConnectionTerminated)]
                assert [end.error_code for end in ends] in ([], [ErrorCodes.ENHANCE_YOUR_CALM])
            await eventually(lambda: node.closed == [1])

    run("asyncio", test)


def test_heads_are_limited_and_so_are_frames_that_continue_them() -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(max_head=4096), loop, SYSTEM) as served:
            await served.join()
            for size, ends in ((3000, False), (5000, True)):
                with Raw(served) as raw:
                    fields = [(":method", "GET"), (":scheme", "http"), (":path", "/shows")]
                    fields += [(":authority", "x"), ("x-long", size * "x")]
                    raw.h2.send_headers(1, fields, end_stream=True)
                    await raw.until(ConnectionTerminated if ends else StreamEnded)
            with Raw(served) as raw:
                await raw.flush()
                frame = bytes((0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82))  # HEADERS without an end
                more = bytes((0, 0, 1, 9, 0, 0, 0, 0, 1, 0x84))  # CONTINUATION without an end
                await asyncio.get_running_loop().sock_sendall(raw.sock, frame + 100 * more)
                await raw.until(ConnectionTerminated)

    run("asyncio", test)


def test_at_its_end_a_node_says_so_and_serves_what_has_begun() -> None:
    async def test(loop: Loop) -> None:
        http2_apps.together = asyncio.Event()
        async with Served(spec(), loop, SYSTEM) as served:
            node = await served.join()
            assert node.server is not None
            with Raw(served) as raw, Raw(served) as idle:
                await idle.until(Event)
                raw.get(1, "/first")
                await raw.read()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(node.server.drain, 10.0, 0.3)
                    data = await asyncio.get_running_loop().sock_recv(raw.sock, 65536)
                    assert bytes((7, 0, 0, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF)) in data  # GOAWAY
                    raw.get(3, "/second")
                    await raw.flush()
                    received = b""
                    while chunk := await asyncio.get_running_loop().sock_recv(raw.sock, 65536):
                        received += chunk
                assert b"first" in received
                assert b"second" in received
                assert received[-17:-8] == bytes((0, 0, 8, 7, 0, 0, 0, 0, 0))
                assert received[-8:-4] == bytes((0, 0, 0, 3))  # the last stream that was served

    run("asyncio", test)


def test_idle_connections_are_closed_and_requests_that_take_too_long_ended() -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(keep_alive=0.1, timeout=0.1), loop, SYSTEM) as served:
            node = await served.join()
            with Raw(served) as raw:
                raw.get(1, "/waits")
                response = await raw.until(ResponseReceived, stream_id=1)
                assert (":status", "504") in response.headers
                await raw.until(ConnectionTerminated)
            await eventually(lambda: node.closed == [1])
        assert len([fact for fact in served.facts if isinstance(fact, RequestEnded)]) == 1

    run("asyncio", test)


def test_a_client_without_http_2_is_served_at_the_same_port(certified: Certified) -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(), loop, SYSTEM) as served:
            await served.join()
            async with httpx.AsyncClient(timeout=20) as client:
                response = await client.get(f"http://127.0.0.1:{served.port}/second")
                assert (response.http_version, response.text) == ("HTTP/1.1", "second")
        secured = listen(spec().handler, "127.0.0.1:0", **certified.files)
        async with Served(secured, loop, SYSTEM) as served:
            await served.join()
            for http2, version in ((True, "HTTP/2"), (False, "HTTP/1.1")):
                context = certified.client()
                async with httpx.AsyncClient(verify=context, http2=http2, timeout=20) as client:
                    response = await client.get(f"https://127.0.0.1:{served.port}/second")
                    assert (response.http_version, response.text) == (version, "second")

    run("asyncio", test)


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
def test_curl_is_served() -> None:
    async def test(loop: Loop) -> None:
        async with Served(spec(), loop, SYSTEM) as served:
            await served.join()
            url = f"http://127.0.0.1:{served.port}/large"
            command = [
                str(CURL),
                "-sS",
                "--http2-prior-knowledge",
                url,
                "-w",
                "%{http_version}",
            ]
            done = await anyio.run_process(command)
            assert done.stdout == http2_apps.LARGE + b"2"

    run("asyncio", test)


def test_keys_that_http_2_hides_from_the_router_are_refused() -> None:
    app = asgi("p:a", http2=True)
    with pytest.raises(BadListener, match="is compressed by HTTP/2, so the router cannot read it"):
        listen(app, policy=Sticky(cookie("sid")))


def test_tokens_come_back_with_time_and_with_requests() -> None:
    tokens = Tokens(0.0)
    assert all(tokens.take(0.0) for _ in range(1000))
    assert not tokens.take(0.0)
    assert tokens.take(1.0, 40)
    assert not tokens.take(1.0, 40)
    assert tokens.take(1.0, -40)
    assert tokens.take(10_000.0, 1000)
    assert not tokens.take(10_000.0)
