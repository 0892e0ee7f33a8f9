"""Applications of other people's frameworks on two nodes, each stopped under load: nothing may be lost.

Their packages are installed from PyPI into a temporary environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.end_to_end.server_process import ServerProcess
from tests.soak.load import (
    ANSWERED,
    HARMLESS,
    RESET,
    Conversation,
    Load,
    Request,
    message,
)

ROOT: Final = Path(__file__).parents[2]
APPLICATIONS: Final = Path(__file__).parent / "applications"
SECONDS: Final = float(os.environ.get("LOAD_SECONDS", "5"))
COPIES: Final = 2
"""How many clients do each thing at once."""
OWN: Final = ("anyio", "httptools", "msgpack", "structlog", "uvloop", "websockets")
NEEDED: Final = [
    *("aiosqlite", "channels", "datasette", "django", "fastapi", "flask", "litestar", "mcp"),
    *("quart", "sqlalchemy[asyncio]", "sse-starlette", "starlette", "strawberry-graphql"),
]

pytestmark = [pytest.mark.soak, pytest.mark.timeout(2400)]


@dataclass(frozen=True)
class Application:
    """What is served, and what is asked of it."""

    target: str
    work: tuple[Request | Conversation, ...]
    flags: tuple[str, ...] = ()
    own_traceback: str | None = None
    """What its framework itself says with a traceback, under any server, when a client has gone."""


JSON: Final = {"Content-Type": "application/json"}
TOOL: Final = {"name": "double", "arguments": {"number": 21}}
QUERY: Final = {"query": "subscription { count(target: 3) }"}
SUBSCRIBE: Final = message(id="1", type="subscribe", payload=QUERY)
WSGI: Final = ("--interface", "wsgi")
PAGES: Final = (Request("/blocking", b"visits: 1"), Request("/admin/login/", b'name="password"'))
STREAMS: Final = (Request("/stream", b"part end"), Request("/echo", b"x" * 100_000, b"x" * 100_000))
TABLE: Final = {
    "fastapi": Application("fastapi_app:app", (Request("/21", b'{"double":42}'),)),
    "django": Application("django_app:app", (*PAGES, Request("/later", b"later"))),
    "channels": Application("channels_app:app", (Conversation("/echo", (("a", "a"), ("b", "b"))),)),
    "strawberry": Application(
        "strawberry_app:app",
        (
            Request("/", b'"hello"', b'{"query": "{ hello }"}', JSON),
            Conversation(
                "/",
                (
                    (message(type="connection_init"), "connection_ack"),
                    (SUBSCRIBE, '"count":0'),
                    (None, '"count":1'),
                    (None, '"count":2'),
                    (None, "complete"),
                ),
                "graphql-transport-ws",
            ),
        ),
        own_traceback="Exception in worker task\n",
    ),
    "sse-starlette": Application("sse_app:app", (Request("/", b"event: end", events=True),)),
    "litestar": Application(
        "litestar_app:app",
        (
            Request("/21", b'{"double":42}'),
            Request("/length", b'{"length":4}', b'{"text":"long"}', JSON, ok=201),
        ),
    ),
    "quart": Application("quart_app:app", STREAMS),
    "datasette": Application(
        "datasette_app:app", (Request("/_memory.json?sql=select+42&_shape=arrays", b"42"),)
    ),
    "mcp": Application(
        "mcp_app:app",
        (
            Request(
                "/mcp",
                b"42",
                message(jsonrpc="2.0", id=1, method="tools/call", params=TOOL).encode(),
                {**JSON, "Accept": "application/json, text/event-stream"},
            ),
        ),
    ),
    "flask, wsgi": Application("flask_app:app", STREAMS, WSGI),
    "django, wsgi": Application("django_app:wsgi", PAGES, WSGI),
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment with everything that the applications need."""
    folder = tmp_path_factory.mktemp("env")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=300)
    python = str(folder / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", *OWN, *NEEDED]
    subprocess.run(install, check=True, timeout=1800)
    return python


@pytest.mark.parametrize("name", TABLE)
def test_an_application_that_is_stopped_under_load_answers_what_it_has_accepted(
    name: str, python: str, tmp_path: Path
) -> None:
    one = TABLE[name]
    env = {"DATABASE": str(tmp_path / "database.sqlite3")}
    if one.target.startswith("django"):
        migrate = [python, str(APPLICATIONS / "django_app.py")]
        subprocess.run(migrate, env={**os.environ, **env}, check=True, timeout=60)
    options = ("--app-dir", str(APPLICATIONS), "--nodes", "2", *one.flags)
    command = ("serve", one.target, "--bind", "127.0.0.1:0", *options)
    with ServerProcess(*command, folder=tmp_path, env=env, python=python) as server:
        port = int(server.wait_for("listening")["address"].rpartition(":")[2])
        clients = [client for work in one.work * COPIES for client in work.clients(port)]
        with Load(clients) as load:
            time.sleep(SECONDS)  # this is what the load is for
            load.ending = True
            server.process.terminate()
            code = server.process.wait(30)
    print(f"\n{name}: exit code {code}, {dict(load.outcomes)}, then {dict(load.at_the_end)}")  # noqa: T201 - a soak says what it has counted
    assert code == 0
    assert set(load.outcomes) == {ANSWERED}
    assert set(load.at_the_end) <= HARMLESS
    assert load.at_the_end[RESET] <= len(clients)
    assert load.outcomes[ANSWERED] > 100
    assert [fact for fact in server.facts if fact.get("level") in {"error", "critical"}] == []
    assert "Exception in ASGI application\n" not in server.lines
    if one.own_traceback not in server.lines:
        assert [line for line in server.lines if "Traceback" in line] == []
