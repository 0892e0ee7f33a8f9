"""Programs that nobody here wrote, as children: Node.js, nginx and redis."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
from pathlib import Path

import anyio.to_thread
import pytest

from actors import program
from tests.programs.observed import free_ports, observed, runs

pytestmark = pytest.mark.within(50)

_SERVER = """
const server = require("http").createServer((request, response) => response.end(String(process.pid)));
server.listen(Number(process.env.PORT), "127.0.0.1", () => console.log("listening on", process.env.PORT));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
"""
_NGINX = """
daemon off; worker_processes 2; user root; pid {folder}/nginx.pid; error_log stderr;
events {{}}
http {{
  access_log off;
  server {{ listen 127.0.0.1:{port} reuseport; location / {{ return 200 "$pid"; }} }}
}}
"""


@pytest.fixture
def anyio_backend() -> str:
    """One loop: what other programs do does not depend on it."""
    return "asyncio"


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")


@needs("node")
async def test_a_server_of_node_js_is_restarted_when_it_is_killed() -> None:
    port = free_ports(2)
    health = "http://127.0.0.1:{port}/"
    spec = program("api", ["node", "-e", _SERVER], instances=2, port=port, health=health)
    async with observed(spec) as seen:
        pid = seen.pid("api/1")
        assert await _get(port + 1) == str(pid)
        os.kill(pid, signal.SIGKILL)
        await seen.event("program_ready", program="api/1", pid=pid)
        await seen.event("program_ready", program="api/1")
        assert await _get(port + 1) == str(seen.pid("api/1")) != str(pid)
        await seen.system.reload("api")
        assert await _get(port) == str(seen.pid("api/0"))


@needs("nginx")
async def test_nginx_ends_with_its_workers_and_is_reloaded_beside_itself(tmp_path: Path) -> None:
    port = free_ports()
    config = tmp_path / "nginx.conf"
    config.write_text(_NGINX.format(folder=tmp_path, port=port))
    command = ["nginx", "-p", str(tmp_path), "-c", str(config)]
    spec = program(
        "proxy",
        command,
        env={"PATH": f"{os.environ['PATH']}:/usr/sbin"},
        port=port,
        health="http://127.0.0.1:{port}/",
        stop_signal="SIGQUIT",
    )
    async with observed(spec) as seen:
        worker = int(await _get(port))
        assert worker != seen.pid("proxy")
        await seen.system.reload("proxy")
        assert int(await _get(port)) != worker
        worker = int(await _get(port))
        os.kill(seen.pid("proxy"), signal.SIGKILL)  # its workers would serve on
        await seen.event("child_started", child="proxy/0", restarts=1)
        assert not runs(worker)


@needs("redis-server")
async def test_redis_is_asked_by_its_own_command(tmp_path: Path) -> None:
    port = free_ports()
    command = ["redis-server", "--port", "{port}", "--save", "", "--dir", str(tmp_path)]
    spec = program("cache", command, port=port, health=["redis-cli", "-p", "{port}", "ping"])
    async with observed(spec) as seen:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"PING\r\n")
            assert client.recv(100) == b"+PONG\r\n"
        await seen.programs.stop("cache")
        ended = await seen.event("program_ended", program="cache/0")
        assert ended.facts["exit_code"] == 0


async def _get(port: int) -> str:
    return await anyio.to_thread.run_sync(_get_now, port)


def _get_now(port: int) -> str:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        client.request("GET", "/")
        return client.getresponse().read().decode()
    finally:
        client.close()
