"""`actors bench`: load on a server, and what its clients wait for."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from actors.cli import main
from actors.cli.bench.http_connection import BadResponse, HttpConnection
from actors.cli.bench.load import Load, Outcome
from actors.cli.bench.report import as_facts, as_text
from actors.cli.bench.target import Target
from tests.cli.running_command import running

pytestmark = pytest.mark.within(30)

Serve = Callable[[socket.socket], None]


@contextmanager
def server(serve: Serve) -> Iterator[str]:
    """Serve each connection in a thread by *serve*; yield the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=_served, args=(connection,), daemon=True).start()

        def _served(connection: socket.socket) -> None:
            with connection:
                try:
                    serve(connection)
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        listening.shutdown(socket.SHUT_RDWR)


def answering(*answers: bytes) -> Serve:
    """Answer requests by *answers* in turn, again and again."""

    def serve(connection: socket.socket) -> None:
        number = 0
        while connection.recv(65536):
            connection.sendall(answers[number % len(answers)])
            number += 1

    return serve


def figures(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main(["bench", "--json", *arguments]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_each_request_is_answered_once_and_counted_by_its_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    busy = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"
    with server(answering(OK, busy)) as url:
        found = figures(capsys, url, "--rate", "100", "--seconds", "0.2", "--connections", "1")
    assert found["answered"] == 20
    assert found["statuses"] == {"200": 10, "503": 10}
    assert found["failures"] == {}


def test_a_stall_is_charged_to_all_requests_that_were_due_meanwhile(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def serve(connection: socket.socket) -> None:
        number = 0
        while connection.recv(65536):
            if number == 1:
                time.sleep(0.5)
            connection.sendall(OK)
            number += 1

    with server(serve) as url:
        found = figures(capsys, url, "--rate", "100", "--seconds", "1", "--connections", "1")
    latency = found["latency"]
    # A client that waited for its answer would have seen one slow request of about 50.
    assert latency["p90"] > 0.2


def test_requests_that_never_got_a_connection_are_said_and_count_as_waiting(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def serve(connection: socket.socket) -> None:
        while connection.recv(65536):
            time.sleep(0.3)
            connection.sendall(OK)

    with server(serve) as url:
        found = figures(capsys, url, "--rate", "100", "--seconds", "0.5", "--connections", "1")
    assert found["answered"] == 2
    assert found["unsent"] == 48


@pytest.mark.parametrize(
    "answer, why",
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "answered something that is not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "a chunk has no size"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000, "headers of more than 64 KiB"),
    ],
)
def test_what_is_no_answer_is_a_failure_with_its_reason(
    capsys: pytest.CaptureFixture[str], answer: bytes, why: str
) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with server(serve) as url:
        found = figures(
            capsys, url, "--rate", "10", "--seconds", "0.1", "--connections", "1", code=1
        )
    assert found["failures"] == {why: 1}


def test_no_answer_in_time_and_no_server_are_failures(capsys: pytest.CaptureFixture[str]) -> None:
    silent = threading.Event()

    def serve(_: socket.socket) -> None:
        silent.wait(20)

    with server(serve) as url:
        options = ["--rate", "10", "--seconds", "0.1", "--timeout", "0.2"]
        found = figures(capsys, url, *options, code=1)
        assert found["failures"] == {"no answer within 0.2 s": 1}
        silent.set()
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    found = figures(capsys, url, "--seconds", "0.05", "--connections", "1", code=1)
    assert found["answered"] == 0
    assert list(found["failures"]) == [f"Connect call failed ('127.0.0.1', {port})"]


def test_a_connection_of_its_own_for_each_request(capsys: pytest.CaptureFixture[str]) -> None:
    connections: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        connections.append(connection.recv(65536))
        connection.sendall(OK)

    with server(serve) as url:
        options = ["--rate", "50", "--seconds", "0.1", "--closing", "--data", "ab\udcff"]
        found = figures(capsys, url, *options, "--header", "X-Key: 1")
    assert found["answered"] == 5
    assert len(connections) == 5
    assert connections[0].startswith(b"POST / HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-Key: 1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nab\xff" in connections[0]


@pytest.mark.parametrize(
    "arguments, why",
    [
        (["127.0.0.1:80"], "a URL begins with http://, https://, ws:// or wss:// and a host"),
        (["http://h:99999/"], "'http://h:99999/' is no URL: Port out of range"),
        (["http://h/a b"], "a path has no blanks and only ASCII, got '/a b'"),
        (["http://h/", "--rate", "fast"], "--rate is a number above 0, got 'fast'"),
        (["http://h/", "--seconds", "0"], "--seconds is a number above 0, got '0'"),
        (["http://h/", "--connections", "0"], "--connections is a whole number from 1 to 10,000"),
        (["http://h/", "--header", "key"], "--header is 'NAME: VALUE', got 'key'"),
        (["http://h/", "--method", "G ET"], "--method is a word such as PUT, got 'G ET'"),
        (["ws://h/", "--closing"], "messages over WebSockets have no --method and no --closing"),
        (
            ["ws://h/", "--data", "\udcff"],
            "a message over WebSockets is UTF-8, got --data '\\udcff'",
        ),
        (["http://h/", "--rate", "1e9", "--seconds", "60"], "--rate times --seconds is at most"),
    ],
)
def test_a_wrong_option_is_a_usage_mistake(
    capsys: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    assert main(["bench", *arguments]) == 2
    assert why in capsys.readouterr().err


# -- responses ---------------------------------------------------------------------------------------

CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n10;name=value\r\n0123456789abcdef\r\n0\r\nX-Trailer: 1\r\n\r\n"
)
BY_LENGTH = (
    b"HTTP/1.1 404 Not Found\r\nConnection: keep-alive\r\nCONTENT-LENGTH:  11 \r\n\r\nhello world"
)
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


@given(st.sampled_from([CHUNKED, BY_LENGTH, EMPTY]), st.lists(st.integers(1, 200), max_size=8))
def test_a_response_is_read_however_it_is_cut(response: bytes, cuts: list[int]) -> None:
    async def read() -> int:
        connection = HttpConnection(Target.of("http://h/"))
        connection._answer = asyncio.get_running_loop().create_future()
        edges = [0, *sorted({cut for cut in cuts if cut < len(response)}), len(response)]
        for begin, end in pairwise(edges):
            assert not connection._answer.done()
            connection.data_received(response[begin:end])
        assert not connection._buffer
        return await asyncio.wait_for(connection._answer, 1)

    assert asyncio.run(read()) == {CHUNKED: 200, BY_LENGTH: 404, EMPTY: 204}[response]


@given(st.binary(max_size=300))
def test_no_bytes_of_a_server_end_the_program(data: bytes) -> None:
    async def read() -> None:
        connection = HttpConnection(Target.of("http://h/"))
        connection._answer = asyncio.get_running_loop().create_future()
        connection.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + data)
        connection.connection_lost(None)
        if connection._answer.done() and connection._answer.exception() is None:
            assert connection._answer.result() == 200
        else:
            with pytest.raises(BadResponse):
                await connection._answer

    asyncio.run(read())


# -- the report ---------------------------------------------------------------------------------------


def test_percentiles_are_values_that_were_seen() -> None:
    outcome = Outcome(seconds=1.0, busy=0.95)
    outcome.waited.extend(number / 1000 for number in range(1, 101))
    outcome.statuses[200] = 100
    outcome.failures["refused"] = 3
    facts = as_facts(outcome, None)
    assert facts["latency"] == {"p50": 0.05, "p90": 0.09, "p99": 0.099, "p99.9": 0.1, "max": 0.1}
    text = as_text(facts, "http://h/", 5)
    assert "answered  100  (100 with 200)" in text
    assert "failed    3\n          3: refused" in text
    assert "rate      100 answers a second" in text
    assert "p50 50 ms  p90 90 ms  p99 99 ms" in text
    assert "for those, give a --rate" in text
    assert "This program computed 95% of the time" in text


def test_the_number_of_reasons_is_bounded() -> None:
    class Failing:
        count = 0

        async def ask(self) -> int:
            Failing.count += 1
            raise BadResponse(f"reason {Failing.count}")

        def close(self) -> None:
            pass

    load = Load(Failing, connections=1, seconds=0.5, rate=200, timeout=1)
    outcome = asyncio.run(load.run())
    assert len(outcome.failures) == 21
    assert outcome.failures.total() == Failing.count


# -- against the server of this package ------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    words = ["serve", "tests.cli.bench_app:app", "--bind", "127.0.0.1:0", "--nodes", "1"]
    with running(tmp_path_factory.mktemp("bench"), *words) as shop:
        yield shop.event("listening")["address"]


@pytest.mark.parametrize("scheme, status", [("http", "200"), ("ws", "101")])
def test_a_server_is_asked_at_the_rate(
    capsys: pytest.CaptureFixture[str], address: str, scheme: str, status: str
) -> None:
    options = ["--rate", "100", "--seconds", "0.5", "--connections", "4"]
    found = figures(capsys, f"{scheme}://{address}/", *options, "--data", "hi" * (scheme == "ws"))
    assert found["failures"] == {}
    assert found["statuses"] == {status: 50}


def test_without_a_rate_each_connection_asks_again_at_once(
    capsys: pytest.CaptureFixture[str], address: str
) -> None:
    assert main(["bench", f"http://{address}/", "--seconds", "0.3", "--connections", "2"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"as many requests as there are answers to http://{address}/ for 0.")
    assert "failed    0\n" in printed
    assert "for those, give a --rate" in printed


def test_what_refuses_websockets_is_a_failure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with server(answering(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")) as url:
        found = figures(
            capsys, url.replace("http", "ws"), "--rate", "10", "--seconds", "0.1", code=1
        )
    assert found["failures"] == {"InvalidStatus: server rejected WebSocket connection: HTTP 404": 1}
