"""nginx in front of `actors serve`, over a Unix socket with keep-alive, when uploads are answered early.

A server that closes a connection with unread bytes in it resets it, and nginx makes a 502 of that.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.end_to_end.server_process import ServerProcess, free_port

UPLOADS: Final = int(os.environ.get("UPLOADS", "10000"))
AT_ONCE: Final = 16
SIZES: Final = (0, 1, 1_000, 16_000, 70_000, 300_000, 1_000_000)
PATHS: Final = ("401", "413", "read")
CONFIG: Final = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log notice;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    client_max_body_size 0;
    upstream shop {{
        server unix:{folder}/shop.sock;
        keepalive {at_once};
        keepalive_timeout 4s;
    }}
    server {{
        listen 127.0.0.1:{port};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        location /buffered/ {{ proxy_pass http://shop/; }}
        location /streamed/ {{ proxy_pass http://shop/; proxy_request_buffering off; }}
    }}
}}
"""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]


@pytest.fixture
def anyio_backend() -> str:
    """The client is asyncio's; what is tested runs in other processes."""
    return "asyncio"


@contextmanager
def nginx(folder: Path) -> Iterator[int]:
    """Run nginx in *folder*, and return its port."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, at_once=AT_ONCE))
    command = [program, "-p", str(folder), "-e", "error.log", "-c", str(config)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


async def listening(port: int) -> None:
    """Wait until somebody accepts connections at *port*."""
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def request(path: str, size: int, *, chunked: bool) -> bytes:
    """Return an upload of *size* bytes."""
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    head = f"POST {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n{length}\r\n\r\n".encode()
    body = b"x" * size
    if not chunked:
        return head + body
    return head + (b"%x\r\n%b\r\n" % (size, body) if size else b"") + b"0\r\n\r\n"


async def status(port: int, upload: bytes) -> int:
    """Send an upload, and return the status of its answer; 0 if there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(upload)
        line = await reader.readline()
        await reader.read()
    except ConnectionError:
        return 0
    finally:
        writer.close()
    return int(line.split()[1]) if line else 0


async def upload_all(port: int) -> Counter[tuple[str, int]]:
    """Send all uploads, some at once, and count the statuses by path."""
    dice = random.Random(13)
    seen: Counter[tuple[str, int]] = Counter()
    turns = iter(range(UPLOADS))

    async def client() -> None:
        for _ in turns:
            how, path = dice.choice(("buffered", "streamed")), dice.choice(PATHS)
            upload = request(f"/{how}/{path}", dice.choice(SIZES), chunked=dice.random() < 0.3)
            async with asyncio.timeout(60):
                seen[f"{how} {path}", await status(port, upload)] += 1

    async with asyncio.TaskGroup() as clients:
        for _ in range(AT_ONCE):
            clients.create_task(client())
    return seen


async def test_no_upload_that_is_answered_early_becomes_a_502(tmp_path: Path) -> None:
    shop = ("serve", "tests.soak.early_app:app", "--uds", f"{tmp_path}/shop.sock", "--nodes", "2")
    with ServerProcess(*shop, folder=tmp_path, env={}) as server, nginx(tmp_path) as port:
        await listening(port)
        seen = await upload_all(port)
        server.process.terminate()
        assert server.process.wait(20) == 0
    for (path, code), count in sorted(seen.items()):
        print(f"{path}: {count} times {code}")  # noqa: T201 - a soak says what it has counted
    right = {"401": 401, "413": 413, "read": 200}
    assert set(seen) == {
        (f"{how} {path}", code) for how in ("buffered", "streamed") for path, code in right.items()
    }
    assert seen.total() == UPLOADS
    # nginx says there what it could not send, and what was closed too early.
    troubles = [
        line for line in (tmp_path / "error.log").read_text().splitlines() if "[error]" in line
    ]
    assert troubles == []
