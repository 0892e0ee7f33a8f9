"""`wsgi("pkg:app")`: an application in threads, behind the same connections."""

import json
import socket
from typing import Any

import anyio
import pytest

from actors._base.loop import Loop
from actors.routing import Asgi, BadListener, HandlerUnfit, RequestEnded, RequestSlow, asgi, wsgi
from tests.routing import wsgi_apps
from tests.routing.apps import SYSTEM, happened, http, serving
from tests.routing.serving_nodes import eventually, run

UPLOAD = b"first\nsecond\nthird\n" + b"x" * 300_000


WRAPPER = "async def asgi3(scope, receive, send): await asgi2(scope)(receive, send)"


def app(name: str, **options: Any) -> Asgi:
    return wsgi(f"tests.routing.wsgi_apps:{name}", **options)


def test_an_application_sees_the_request_as_pep_3333_says() -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, app("shows", root_path="/shop")) as served:
            await served.join()
            headers = [
                ("Cookie", "a=1"),
                ("Cookie", "b=2"),
                ("X-Two", "one"),
                ("X-Two", "two"),
                ("X_Two", "spoofed"),
                ("Proxy", "http://evil"),
                ("Content-Type", "text/plain"),
            ]
            async with http(served) as client:
                url = "/caf%C3%A9%2Fbar?q=%C3%A9"
                response = await client.post(url, headers=headers, content=b"body")
                seen = json.loads(response.text)
            expected = {
                "REQUEST_METHOD": "POST",
                "SCRIPT_NAME": "/shop",
                "PATH_INFO": "/café/bar".encode().decode("latin-1"),
                "QUERY_STRING": "q=%C3%A9",
                "CONTENT_TYPE": "text/plain",
                "CONTENT_LENGTH": "4",
                "SERVER_NAME": "127.0.0.1",
                "SERVER_PORT": str(served.port),
                "SERVER_PROTOCOL": "HTTP/1.1",
                "REMOTE_ADDR": "127.0.0.1",
                "HTTP_COOKIE": "a=1; b=2",
                "HTTP_X_TWO": "one,two",
                "wsgi.url_scheme": "http",
                "wsgi.version": [1, 0],
                "wsgi.multithread": True,
                "actors.system": SYSTEM,
            }
            assert {key: seen.get(key) for key in expected} == expected
            assert "HTTP_PROXY" not in seen

    run("asyncio", test)


def test_a_body_is_read_by_lines_by_sizes_and_to_its_end() -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, app("reads")) as served:
            await served.join()
            async with http(served) as client:

                async def parts() -> Any:
                    for at in range(0, len(UPLOAD), 10_000):
                        yield UPLOAD[at : at + 10_000]

                for content in (UPLOAD, parts()):
                    text = (await client.post("/", content=content)).text
                    lines = b"[b'ond\\n', b'third\\n']".decode()
                    assert text == f"b'first\\n' b'sec' {lines} 300000"

    run("asyncio", test)


def test_what_the_standard_library_checks_is_kept() -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, app("strict", threads=1)) as served:
            await served.join()
            async with http(served) as client:
                for _ in range(2):
                    assert (await client.post("/a?b=c", content=b"1234")).text == "read 4"

    run("asyncio", test)


@pytest.mark.parametrize(
    "path, status, text",
    [
        ("/parts", 200, "ab"),
        ("/writes", 200, "one two three"),
        ("/replaced", 503, "three"),
        ("/raises", 500, "Internal Server Error"),
        ("/silent", 500, "Internal Server Error"),
        ("/twice", 500, "Internal Server Error"),
    ],
)
def test_responses_are_those_of_the_application(path: str, status: int, text: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, app("odd")) as served:
            await served.join()
            async with http(served) as client:
                response = await client.get(path)
                assert (response.status_code, response.text) == (status, text)

    run("asyncio", test)


def test_a_client_that_leaves_gives_its_thread_back() -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, app("endless", threads=1)) as served:
            await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                sock.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
                await anyio.wait_readable(sock)
                assert sock.recv(100).startswith(b"HTTP/1.1 200")
            async with http(served) as client:
                assert (await client.get("/short")).text == "short"
            assert happened == ["closed in wsgi"]

    run("asyncio", test)


def test_a_body_that_was_cut_off_is_not_taken_for_a_whole_one() -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, app("cut_off")) as served:
            await served.join()
            with socket.create_connection(("127.0.0.1", served.port)) as sock:
                head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
                sock.sendall(head + b"abc")
            await eventually(lambda: happened)
            assert happened == ["the client is gone"]

    run("asyncio", test)


def test_a_request_that_takes_too_long_is_answered_504_and_its_stack_reported() -> None:
    async def test(loop: Loop) -> None:
        wsgi_apps.released.clear()
        spec = app("blocks", threads=2, timeout=0.4, slow=0.1)
        async with serving(loop, spec) as served:
            await served.join()
            async with http(served) as client:
                response = await client.get("/long?x=1")
                assert response.status_code == 504
                assert (await client.get("/short")).text == "short"
            wsgi_apps.released.set()
        [slow] = [fact for fact in served.facts if isinstance(fact, RequestSlow)]
        [ended] = [fact for fact in served.facts if isinstance(fact, RequestEnded)]
        for fact, seconds in ((slow, 0.1), (ended, 0.4)):
            assert (fact.method, fact.path, fact.seconds) == ("GET", "/long?x=1", seconds)
            assert "in blocks\n    released.wait()" in fact.stack

    run("asyncio", test)


def spec_of(name: str, **options: Any) -> Asgi:
    return Asgi(app=f"tests.routing.{name}", **options)


@pytest.mark.parametrize(
    "spec, text",
    [
        (spec_of("wsgi_apps:odd", interface="auto"), "ab"),
        (spec_of("apps:plain", interface="auto"), None),
    ],
)
def test_auto_asks_the_signature(spec: Asgi, text: str | None) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, spec) as served:
            await served.join()
            async with http(served) as client:
                response = await client.get("/parts")
                assert response.status_code == 200
                assert text is None or response.text == text

    run("asyncio", test)


@pytest.mark.parametrize(
    "spec, why",
    [
        (
            asgi("tests.routing.wsgi_apps:odd"),
            "as WSGI does: did you mean wsgi('tests.routing.wsgi_apps:odd') (--interface wsgi)?",
        ),
        (asgi("tests.routing.apps:asgi2"), f"serve this instead: {WRAPPER}"),
        (wsgi("tests.routing.apps:plain"), "a WSGI application takes (environ, start_response)"),
    ],
)
def test_an_application_of_another_kind_is_refused_with_what_helps(spec: Asgi, why: str) -> None:
    async def test(loop: Loop) -> None:
        async with serving(loop, spec) as served:
            with pytest.raises(HandlerUnfit) as refused:
                await served.join()
            assert why in str(refused.value)

    run("asyncio", test)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"threads": 0}, "threads must be a whole number from 1 up, got 0"),
        ({"timeout": 0}, "timeout must be more than 0, got 0"),
        ({"slow": -1}, "slow must be more than 0, got -1"),
        ({"thread": 3}, "wsgi() has no option 'thread'"),
    ],
)
def test_options_that_can_never_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadListener, match=message.replace("(", r"\(").replace(")", r"\)")):
        wsgi("p:a", **options)
