"""How a response is written: in one piece, with a length where one is known, and whole or not at all."""

import json
import logging
import os
import socket
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from actors._base.loop import Loop
from actors.routing import BadListener, asgi
from tests.routing.apps import ASYNCIO, happened, heard, serving
from tests.routing.raw_websocket import TEXT, Frame
from tests.routing.response_apps import FILE, here
from tests.routing.serving_nodes import Served, eventually, run


def get(path: str, *lines: str, version: str = "1.1") -> bytes:
    head = [f"GET {path} HTTP/{version}", "Host: x", "Connection: close", *lines, "", ""]
    return "\r\n".join(head).encode()


async def answer_to(served: Served, request: bytes) -> tuple[bytes, bytes]:
    """Return the head and the body of what a request gets."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as sock:
        sock.sendall(request)
        head, _, body = (await heard(sock)).partition(b"\r\n\r\n")
        return head.lower(), body


def answered(kind: str, request: bytes) -> tuple[bytes, bytes]:
    """Serve one request, and return the head and the body of its response."""
    answers = []

    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("app"), lifespan="off")) as served:
            await served.join()
            answers.append(await answer_to(served, request))

    run(kind, test)
    return answers[0]


@ASYNCIO
def test_a_body_sent_in_one_part_has_a_length_if_the_application_gives_none(kind: str) -> None:
    head, body = answered(kind, get("/whole"))
    assert b"content-length: 5" in head
    assert b"transfer-encoding" not in head
    assert body == b"whole"


@ASYNCIO
def test_head_and_body_come_in_one_piece(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("app"), lifespan="off")) as served:
            await served.join()
            with socket.create_connection(("127.0.0.1", served.port), timeout=20) as sock:
                sock.sendall(get("/whole"))
                first = await anyio.to_thread.run_sync(sock.recv, 65536)
                assert first.endswith(b"\r\n\r\nwhole")

    run(kind, test)


@ASYNCIO
def test_a_head_does_not_wait_for_a_body_that_comes_later(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("app"), lifespan="off")) as served:
            await served.join()
            with socket.create_connection(("127.0.0.1", served.port), timeout=20) as sock:
                sock.sendall(get("/late"))
                first = await anyio.to_thread.run_sync(sock.recv, 65536)
                assert first.startswith(b"HTTP/1.1 200 OK\r\n")
                assert b"transfer-encoding: chunked" in first
                assert b"late" not in first
                assert (await heard(sock)) == b"4\r\nlate\r\n0\r\n\r\n"

    run(kind, test)


@ASYNCIO
def test_early_hints_come_before_the_response_but_not_to_http_1_0(kind: str) -> None:
    head, rest = answered(kind, get("/hint"))
    assert head == (b"http/1.1 103 early hints\r\nlink: </style.css>; rel=preload; as=style")
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
    assert rest.endswith(b"\r\n\r\nhinted")
    head, body = answered(kind, get("/hint", version="1.0"))
    assert head.startswith(b"http/1.1 200 ok")
    assert body == b"hinted"


@ASYNCIO
def test_a_header_may_be_made_of_bytearrays(kind: str) -> None:
    head, body = answered(kind, get("/mutable"))
    assert b"\r\nx-count: 1\r\ncontent-type: text/plain\r\n" in head + b"\r\n"
    assert body == b"mutable"


@ASYNCIO
@pytest.mark.parametrize("size", [0, 1, 50_000, 3_000_000])
def test_a_file_is_sent_whole_with_its_length(kind: str, size: int, tmp_path: Path) -> None:
    FILE.append(tmp_path / "picture.png")
    FILE[-1].write_bytes(content := os.urandom(size))
    head, body = answered(kind, get("/file"))
    assert b"content-length: %d" % size in head
    assert body == content


@ASYNCIO
def test_a_file_that_is_not_there_is_a_500(kind: str, tmp_path: Path) -> None:
    FILE.append(tmp_path / "gone.png")
    head, _ = answered(kind, get("/file"))
    assert head.startswith(b"http/1.1 500 ")
    assert b"image/png" not in head


@ASYNCIO
def test_trailers_follow_a_body_in_chunks(kind: str) -> None:
    _, body = answered(kind, get("/trailers", "TE: trailers"))
    assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\nx-sum: 6\r\n\r\n"


@ASYNCIO
def test_http_1_0_gets_a_body_without_chunks_and_without_trailers(kind: str) -> None:
    head, body = answered(kind, get("/trailers", version="1.0"))
    assert b"transfer-encoding" not in head
    assert body == b"onetwo"


@ASYNCIO
@pytest.mark.parametrize(
    "path, why",
    [
        ("/longer", "Response content longer than Content-Length"),
        ("/shorter", "Response content shorter than Content-Length"),
        ("/text", "a body is bytes, got text: encode it; it begins 'hello'"),
        ("/changes_its_mind", "no"),
        ("/bad_status", "the status of a response is 200 to 599, got '200 OK'"),
    ],
)
def test_a_response_that_goes_wrong_before_its_first_byte_is_a_500(
    kind: str, path: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    head, body = answered(kind, get(path))
    assert head.startswith(b"http/1.1 500 internal server error")
    assert b"x-secret" not in head
    assert body == b"Internal Server Error"
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [str(record.exc_info and record.exc_info[1]) for record in errors] == [why]


@ASYNCIO
def test_a_response_without_a_body_is_an_error_and_ends_the_connection(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    head, _ = answered(kind, get("/without_body"))
    assert head.startswith(b"http/1.1 200 ok")
    assert "ASGI callable returned without completing response." in caplog.messages


@ASYNCIO
@pytest.mark.parametrize("target", ["http://x/whole", "/whole?a=b", "/whole#part"])
def test_every_form_of_a_target_finds_its_path(kind: str, target: str) -> None:
    _, body = answered(kind, get(target))
    assert body == b"whole"


@ASYNCIO
def test_a_request_for_an_upgrade_that_is_not_known_is_answered(kind: str) -> None:
    request = (
        b"GET /whole HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n"
    )
    head, body = answered(kind, request)
    assert head.startswith(b"http/1.1 200 ok")
    assert body == b"whole"


SHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@ASYNCIO
def test_what_a_client_sends_right_behind_its_handshake_is_read(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("app"), lifespan="off")) as served:
            await served.join()
            with socket.create_connection(("127.0.0.1", served.port), timeout=20) as sock:
                sock.sendall(SHAKE + Frame(TEXT, b"early").encoded())
                answer = b""
                while not answer.endswith(b"\x81\x05early"):
                    answer += await anyio.to_thread.run_sync(sock.recv, 65536)
                assert answer.startswith(b"HTTP/1.1 101 ")

    run(kind, test)


@ASYNCIO
def test_an_application_that_fails_while_it_denies_a_websocket_is_a_500(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("app"), lifespan="off")) as served:
            await served.join()
            with socket.create_connection(("127.0.0.1", served.port), timeout=20) as sock:
                sock.sendall(SHAKE.replace(b"/ws", b"/denied"))
                assert (await heard(sock)).startswith(b"HTTP/1.1 500 ")

    run(kind, test)


@ASYNCIO
def test_a_websocket_that_begins_before_the_last_response_is_refused_after_it(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, asgi(here("app"), lifespan="off")) as served:
            await served.join()
            with socket.create_connection(("127.0.0.1", served.port), timeout=20) as sock:
                sock.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
                await eventually(lambda: "slow begins" in happened)
                sock.sendall(SHAKE)
                answer = await heard(sock)
                assert answer.count(b"HTTP/1.1 ") == 1
                assert answer.startswith(b"HTTP/1.1 200 OK")
                assert answer.endswith(b"slow")

    run(kind, test)


@ASYNCIO
def test_an_access_log_has_an_event_for_each_response(
    kind: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTORS_LOG_FORMAT", "json")

    async def test(loop: Loop) -> None:
        spec = asgi(here("app"), lifespan="off", access_log=True)
        async with serving(loop, spec) as served:
            await served.join()
            await answer_to(served, get("/whole?a=b"))

    run(kind, test)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if '"request"' in line]
    assert '"method": "GET", "path": "/whole?a=b", "status": 200' in line
    assert 0 < json.loads(line)["seconds"] < 60


def test_headers_of_the_listener_are_in_every_response_and_the_date_can_be_left_out() -> None:
    async def test(loop: Loop) -> None:
        spec = asgi(here("app"), lifespan="off", headers=[("X-Frame", "DENY")], date_header=False)
        async with serving(loop, spec) as served:
            await served.join()
            for _ in range(2):
                head, _ = await answer_to(served, get("/known"))
                assert b"\r\nx-frame: deny\r\n" in head
                assert b"\r\ndate:" not in head

    run("asyncio", test)


@pytest.mark.parametrize("header", [("a b", "c"), ("a", "b\r\nc: d"), ("a",), "a: b"])
def test_a_header_that_no_response_can_have_is_refused(header: object) -> None:
    with pytest.raises(BadListener, match="headers must be pairs such as"):
        asgi("p:a", headers=[header])  # type: ignore[list-item]
