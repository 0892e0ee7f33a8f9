"""Systems beside a web server, and in the lifespan of an application that something else serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.scripts import run

APP = """
import asyncio, os, signal, sys, warnings
from contextlib import asynccontextmanager

warnings.simplefilter("ignore")  # of Starlette, about its own client
os.environ["ACTORS_LOG"] = "warning"
import actors

class Counter(actors.Actor):
    def __init__(self):
        self.n = 0

    async def add(self):
        self.n += 1
        return self.n

@asynccontextmanager
async def lifespan(app):
    system = await actors.start()
    await system.spawn(Counter, name="counter")
    yield
    await system.aclose()

async def count():
    return await (await actors.current().lookup("counter")).ask(Counter.add)

def count_in_thread():
    system = actors.current()
    return system.blocking(app.state.counter).ask(Counter.add)

from fastapi import FastAPI
app = FastAPI(lifespan=lifespan)

@app.get("/async")
async def hit_async():
    return await count()

@app.get("/thread")
def hit_in_thread():
    return actors.current().blocking_offload_pool is not None

"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: the programs have their own."""
    return "asyncio", {}


def test_a_lifespan_starts_a_system_that_requests_find_under_starlettes_test_client(
    tmp_path: Path,
) -> None:
    program = """
from starlette.testclient import TestClient

if __name__ == "__main__":
    with TestClient(app) as client:
        print(client.get("/async").json(), client.get("/async").json(), client.get("/thread").json())
"""
    assert run(tmp_path / "app.py", APP + program) == (0, "1 2 True\n", "")


def test_a_lifespan_starts_a_system_that_requests_find_under_httpx(tmp_path: Path) -> None:
    program = """
import httpx

async def main():
    async def serve(entered, leave):
        async with lifespan(app):
            entered.set()
            await leave.wait()

    entered, leave = asyncio.Event(), asyncio.Event()
    server = asyncio.create_task(serve(entered, leave))
    await entered.wait()
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        print((await client.get("/async")).json(), (await client.get("/thread")).json())
    leave.set()
    await server

if __name__ == "__main__":
    asyncio.run(main())
"""
    assert run(tmp_path / "app.py", APP + program) == (0, "1 True\n", "")


UVICORN = """
import httpx, uvicorn

async def visit(server):
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        print((await client.get("/async")).json(), (await client.get("/thread")).json(), flush=True)

def new_server(app, **options):
    return uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", **options))
"""


def test_uvicorn_serves_an_application_whose_lifespan_starts_a_system(tmp_path: Path) -> None:
    program = """
async def main():
    server = new_server(app)
    serving = asyncio.create_task(server.serve())
    await visit(server)
    server.should_exit = True
    await serving

if __name__ == "__main__":
    asyncio.run(main())
"""
    assert run(tmp_path / "app.py", APP + UVICORN + program) == (0, "1 True\n", "")


def test_uvicorn_runs_in_a_task_beside_a_system_and_both_end_at_sigterm(tmp_path: Path) -> None:
    program = """
class Last(Counter):
    async def on_stop(self, exit):
        print("system stops", flush=True)

async def main():
    async with actors.System() as system:
        await system.spawn(Last, name="counter")
        server = new_server(app, lifespan="off")
        serving = asyncio.create_task(server.serve())
        await visit(server)
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
        print(await count(), "server has ended", flush=True)

if __name__ == "__main__":
    actors.run(main)
"""
    code, out, err = run(tmp_path / "app.py", APP + UVICORN + program)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "1 True"
    assert out.splitlines()[-1] == "system stops"
