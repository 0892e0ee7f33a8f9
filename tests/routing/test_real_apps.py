"""Applications written for Starlette and FastAPI, served unchanged by process nodes."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.end_to_end.server_process import ServerProcess
from tests.routing.real_apps import PAGE


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The clients are for asyncio; what is tested runs in other processes."""
    return "asyncio"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("apps")
    with ServerProcess("run", "tests.routing.real_apps:topology", folder=folder, env={}) as served:
        yield served
        sys.stderr.writelines(served.lines)
        assert not served.ended


@pytest.fixture(scope="module")
def starlette(served: ServerProcess) -> str:
    return str(served.wait_for("listening", listener="starlette")["address"])


@pytest.fixture(scope="module")
def fastapi(served: ServerProcess) -> str:
    return str(served.wait_for("listening", listener="fastapi")["address"])


@pytest.fixture
async def on_starlette(starlette: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(starlette) as http:
        yield http


@pytest.fixture
async def on_fastapi(fastapi: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(fastapi) as http:
        yield http


def client(address: str) -> httpx.AsyncClient:
    """One connection, kept: what a node remembers is asked of the same node."""
    limits = httpx.Limits(max_connections=1)
    return httpx.AsyncClient(base_url=f"http://{address}", trust_env=False, limits=limits)


async def test_starlette_routes_by_path_and_method_and_knows_its_client(
    on_starlette: httpx.AsyncClient, starlette: str
) -> None:
    answer = await on_starlette.get("/where/7?q=a&q=%C3%A9")
    assert answer.json() == {
        "number": 7,
        "query": ["a", "é"],
        "url": f"http://{starlette}/where/8",
        "client": "127.0.0.1",
        "opened": "by lifespan",
    }
    assert answer.headers["x-passed"] == "/where/7"
    assert (await on_starlette.put("/thing", content=b"12345")).text == "put 5"
    assert (await on_starlette.post("/thing")).status_code == 405
    assert (await on_starlette.get("/old")).headers["location"] == "/thing"
    assert (await on_starlette.get("/inner/where")).text == "/inner"


async def test_starlette_answers_exceptions_with_its_handlers(
    on_starlette: httpx.AsyncClient,
) -> None:
    answers = [await on_starlette.get(path) for path in ("/teapot", "/nowhere")]
    assert [answer.status_code for answer in answers] == [418, 404]
    assert [answer.json() for answer in answers] == [
        {"sorry": "short and stout"},
        {"sorry": "Not Found"},
    ]


async def test_starlette_answers_a_bug_and_goes_on(starlette: str) -> None:
    for _ in range(4):  # a bug ends its connection, as under uvicorn; and no node
        async with client(starlette) as http:
            answer = await http.get("/bug")
        assert (answer.status_code, answer.text) == (500, "our fault: ZeroDivisionError")
    async with client(starlette) as http:
        assert (await http.get("/thing")).text == "got"


async def test_starlette_background_tasks_cookies_and_forms_work(
    on_starlette: httpx.AsyncClient,
) -> None:
    assert (await on_starlette.get("/later")).text == "soon"
    assert "done after the answer" in (await on_starlette.get("/notes")).json()
    assert [(await on_starlette.get("/cookies")).text for _ in range(2)] == ["never", "before"]
    answer = await on_starlette.post(
        "/form", data={"title": "big"}, files={"file": ("x.bin", bytes(300_000))}
    )
    assert answer.json() == ["big", "x.bin", 300_000]


async def test_starlette_streams_compresses_and_sends_files_and_ranges(
    on_starlette: httpx.AsyncClient,
) -> None:
    lines = "".join(f"line {number}\n" for number in range(1000))
    async with on_starlette.stream("GET", "/slowly") as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw).decode() == lines

    source = (PAGE / "link.js").read_bytes()
    whole = await on_starlette.get("/file")
    assert whole.content == source
    part = await on_starlette.get("/file", headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, source[100:200])
    static = await on_starlette.get("/static/style.css")
    unchanged = await on_starlette.get(
        "/static/style.css", headers={"if-none-match": static.headers["etag"]}
    )
    assert (static.status_code, unchanged.status_code, unchanged.content) == (200, 304, b"")
    assert (await on_starlette.get("/static/../real_apps.py")).status_code == 404


async def test_a_starlette_stream_hears_that_its_client_has_gone(
    on_starlette: httpx.AsyncClient, starlette: str
) -> None:
    with anyio.fail_after(20):
        async with client(starlette) as other, other.stream("GET", "/until-gone") as answer:
            assert await anext(answer.aiter_text()) == "beat\n"
        notes: list[str] = []
        while "the client went" not in notes:
            async with client(starlette) as http:  # of two nodes, one has it
                notes = (await http.get("/notes")).json()


async def test_starlette_websockets_have_json_subprotocols_state_and_close_codes(
    starlette: str,
) -> None:
    protocols = [Subprotocol("other"), Subprotocol("json.v1")]
    async with connect(f"ws://{starlette}/json", subprotocols=protocols, proxy=None) as socket:
        assert socket.subprotocol == "json.v1"
        await socket.send('{"a": [1, 2]}')
        assert json.loads(await socket.recv()) == {"echo": {"a": [1, 2]}, "opened": "by lifespan"}
        await socket.send("no json")
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1003
    async with connect(f"ws://{starlette}/closes?code=4001", proxy=None) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "because")
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://{starlette}/closes?code=0", proxy=None)
    assert refused.value.response.status_code == 403


async def test_cors_preflights_are_answered(on_starlette: httpx.AsyncClient) -> None:
    headers = {"origin": "https://example.org", "access-control-request-method": "GET"}
    answer = await on_starlette.options("/thing", headers=headers)
    assert answer.headers["access-control-allow-origin"] == "https://example.org"


async def test_fastapi_validates_converts_and_documents(on_fastapi: httpx.AsyncClient) -> None:
    made = await on_fastapi.post("/items/", json={"name": "pen", "price": "1.5"})
    assert (made.status_code, made.json()) == (201, {"name": "pen", "price": 1.5, "tags": []})
    wrong = await on_fastapi.post("/items/", json={"name": "pen", "price": -1})
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["body", "price"])
    assert (await on_fastapi.get("/items/?limit=3")).json() == [0, 1, 2]
    assert (await on_fastapi.get("/items/?limit=101")).status_code == 422
    token = await on_fastapi.get("/items/5", headers={"x-token": "t"})
    assert token.json() == {"number": 5, "token": "t"}
    assert token.headers["x-shop"] == "open"
    schema = (await on_fastapi.get("/openapi.json")).json()
    assert (schema["info"]["title"], "/items/{number}" in schema["paths"]) == ("A shop", True)
    assert "swagger" in (await on_fastapi.get("/docs")).text


async def test_fastapi_errors_dependencies_and_background_tasks_work(
    on_fastapi: httpx.AsyncClient,
) -> None:
    missing = await on_fastapi.get("/items/100")
    assert (missing.status_code, missing.headers["x-hint"]) == (404, "below 100")
    sold = await on_fastapi.get("/items/13")
    assert (sold.status_code, sold.json()) == (409, {"message": "sold out"})
    await on_fastapi.post("/items/", json={"name": "pen", "price": 2})
    await log_ends(on_fastapi, "session opens", "session closes")
    assert (await on_fastapi.post("/mail")).json() == "will do"
    await log_ends(on_fastapi, "mailed")
    assert (await on_fastapi.get("/me")).status_code == 401
    assert (await on_fastapi.get("/me", auth=("ann", "secret"))).json() == "ann"


async def log_ends(on_fastapi: httpx.AsyncClient, *lines: str) -> None:
    """Wait for what FastAPI does in a thread after the response has been sent."""
    with anyio.fail_after(10):
        while (await on_fastapi.get("/log")).json()[-len(lines) :] != [*lines]:
            pass


async def test_fastapi_uploads_and_sub_applications_work(on_fastapi: httpx.AsyncClient) -> None:
    answer = await on_fastapi.post(
        "/upload", files={"file": ("big.bin", bytes(2_000_000))}, data={"note": "two MB"}
    )
    assert answer.json() == ["big.bin", 2_000_000, "two MB"]
    assert (await on_fastapi.get("/sub/hello")).json() == "/sub"
    assert (await on_fastapi.get("/sub/openapi.json")).json()["info"]["title"] == "Within"


async def test_fastapi_websockets_have_paths_and_dependencies(fastapi: str) -> None:
    async with connect(f"ws://{fastapi}/talk/den?token=t", proxy=None) as socket:
        await socket.send("hi")
        assert json.loads(await socket.recv()) == {"room": "den", "token": "t", "said": "hi"}
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://{fastapi}/talk/den", proxy=None)
    assert refused.value.response.status_code == 403


async def test_a_route_on_any_node_uses_the_one_actor_of_a_name(fastapi: str) -> None:
    counts = []
    for _ in range(6):
        async with client(fastapi) as http:
            counts.append((await http.get("/counted")).json())
    assert counts == list(range(counts[0], counts[0] + 6))


# ---------------------------------------------------------------- curl, which nobody here wrote

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def curl(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", *arguments],  # noqa: S607
        capture_output=True,
        timeout=30,
        check=True,
    )


@needs_curl
def test_curl_sends_chunks_and_waits_for_continue(starlette: str, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(bytes(1_500_000))
    url = f"http://{starlette}/thing"
    for header in ("Transfer-Encoding: chunked", "Expect: 100-continue"):
        done = curl("-v", "-T", str(body), "-H", header, url)
        assert done.stdout == b"put 1500000"
    assert b"HTTP/1.1 100 Continue" in done.stderr


@needs_curl
def test_curl_keeps_its_connection_over_requests_and_closes_when_told(starlette: str) -> None:
    url = f"http://{starlette}/thing"
    kept = curl("-w", "%{num_connects} ", url, url, url)
    assert kept.stdout == b"got1 got0 got0 "
    closed = curl("-H", "Connection: close", "-w", "%{num_connects} ", url, url)
    assert closed.stdout == b"got1 got1 "
    old = curl("--http1.0", "-i", url)
    assert old.stdout.endswith(b"\r\n\r\ngot")


@needs_curl
def test_curl_heads_compresses_follows_and_resumes(starlette: str, tmp_path: Path) -> None:
    head = curl("--head", f"http://{starlette}/file").stdout
    size = len((PAGE / "link.js").read_bytes())
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"content-length: {size}\r\n".encode() in head
    assert head.endswith(b"\r\n\r\n")
    assert len(curl("--compressed", f"http://{starlette}/slowly").stdout.splitlines()) == 1000
    assert curl("--location", f"http://{starlette}/old").stdout == b"got"
    half = tmp_path / "half.js"
    half.write_bytes((PAGE / "link.js").read_bytes()[:500])
    curl("--continue-at", "-", "-o", str(half), f"http://{starlette}/file")
    assert half.read_bytes() == (PAGE / "link.js").read_bytes()


# ---------------------------------------------------------------- ws for Node.js, and wrk


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where Node.js finds the package `ws`."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js or npm is not installed")
    folder = tmp_path_factory.mktemp("node")
    quietly = ("--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=0")
    installed = subprocess.run(
        ["npm", "install", "--prefix", str(folder), *quietly, "ws@8"],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if installed.returncode != 0:
        pytest.skip(f"npm cannot install ws: {installed.stderr.strip()[-200:]}")
    return {**os.environ, "NODE_PATH": str(folder / "node_modules")}


def test_the_ws_client_of_node_js_talks_closes_and_is_refused(
    starlette: str, ws: dict[str, str]
) -> None:
    program = Path(__file__).with_name("ws_client.cjs")
    done = subprocess.run(
        ["node", str(program), f"ws://{starlette}/echo", f"ws://{starlette}/closes"],  # noqa: S607
        env=ws,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == {
        "extensions": "permessage-deflate",
        "text": "grüße, 世界",
        "binary": True,
        "mebibyte": True,
        "fragments": "in three parts",
        "pong": "between",
        "order": True,
        "closed": 4321,
        "cut": [4001, "because"],
        "refused": 403,
    }


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
@pytest.mark.parametrize("header", ["Connection: keep-alive", "Connection: close"])
def test_wrk_sees_no_failure(starlette: str, header: str) -> None:
    done = subprocess.run(
        ["wrk", "-t1", "-c20", "-d1s", "-H", header, f"http://{starlette}/thing"],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert re.search(r"\b[1-9][0-9]* requests in ", done.stdout)
    assert "Non-2xx" not in done.stdout
    assert "Socket errors" not in done.stdout
