"""Applications that the reload tests serve, and clients that send load and check every answer.

Rule: whoever serves is written into a folder of the test, so that its code can change on disk.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from actors import Actor, Ref, current

HEAD_END: Final = b"\r\n\r\n"

_APP: Final = """
{begin}

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        {startup}
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({{"type": "websocket.accept"}})
        await send({{"type": "websocket.send", "text": {version!r}}})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    {request}
    body = {version!r}.encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    await send({{"type": "http.response.body", "body": body}})
"""


_HANDLER: Final = """
{begin}

async def handle(stream):
    await stream.send({version!r}.encode())

async def answer(datagram, reply):
    await reply(datagram + b" " + {version!r}.encode())
"""


class Code:
    """One module on disk, which says what version it is: an application, or a plain handler."""

    def __init__(self, folder: Path, name: str = "served") -> None:
        self.path = folder / f"{name}.py"
        self.app = f"{name}:app"
        self.handler = f"{name}:handle"
        self.datagrams = f"{name}:answer"
        self._writes = 0

    def write(
        self, version: str, *, begin: str = "", startup: str = "pass", request: str = "pass"
    ) -> None:
        """Have it be *version*; each text has another length, so that what is compiled is outdated."""
        self._writes += 1
        text = (_APP + _HANDLER.replace("{begin}", "")).format(
            version=version, begin=begin, startup=startup, request=request
        )
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text + "#" * self._writes + "\n")
        fresh.rename(self.path)


def failing_at(number: int, folder: Path) -> str:
    """Return code that raises in the process that is the *number*-th to run it."""
    return textwrap.dedent(f"""
        import os
        fd = os.open({str(folder / "boots")!r}, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(fd, b".")
        if os.fstat(fd).st_size == {number}:
            raise RuntimeError("no more of these")
    """)


def until(gate: Path) -> str:
    """Return code that waits for a file, and says by another that it does."""
    return textwrap.dedent(f"""
        import pathlib, time
        pathlib.Path({str(gate) + ".asked"!r}).touch()
        while not pathlib.Path({str(gate)!r}).exists():
            time.sleep(0.02)
    """)


class Load:
    """Clients that ask at fixed times, whoever is late; none asks twice.

    Args:
        port: whom they ask.
        rate: how many ask in a second.
        keep: whether connections are kept for the next request.
        tls: what the server is trusted by, if it speaks TLS.
    """

    def __init__(
        self,
        port: int,
        *,
        rate: float = 150.0,
        keep: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.port = port
        self._keep = keep
        self._tls = tls
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._every = 1 / rate
        # What idles for long is closed by the server, and whoever asks at that moment has lost.
        self._most_idle = max(4, rate / 4)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._news = anyio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask for as long as the block runs; who asked last is waited for."""
        async with anyio.create_task_group() as requests, anyio.create_task_group() as beginning:
            beginning.start_soon(self._begin, requests.start_soon)
            yield
            beginning.cancel_scope.cancel()
        for _, writer in self._idle:
            writer.close()
            await writer.wait_closed()

    async def _begin(self, start: Callable[..., object]) -> None:
        due = anyio.current_time()
        while True:
            start(self._request)
            due += self._every
            await anyio.sleep_until(due)

    async def _request(self) -> None:
        try:
            with anyio.fail_after(20):
                version = await self._exchange()
        except Exception as error:  # noqa: BLE001 - every one of them is a failure of the test
            self.failures.append(f"{type(error).__name__}: {error}")
        else:
            self.answers[version] += 1
        self._news.set()
        self._news = anyio.Event()

    async def _exchange(self) -> str:
        while True:
            if not self._idle:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self.port, ssl=self._tls
                )
                break
            reader, writer = self._idle.pop(0)
            if not reader.at_eof():
                break
            writer.close()
        writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        head = (await reader.readuntil(HEAD_END)).lower()
        if not head.startswith(b"http/1.1 200 "):
            raise ValueError(head.decode("latin-1"))
        size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = (await reader.readexactly(size)).decode()
        full = len(self._idle) >= self._most_idle
        if b"connection: close" in head or full or not self._keep:
            writer.close()
        else:
            self._idle.append((reader, writer))
        return body

    async def see(self, version: str, count: int = 20) -> None:
        """Wait for so many answers of *version* from now on, without another."""
        self.answers.clear()
        while self.answers[version] < count:
            await self._news.wait()


class Ledger(Actor):
    """Notes in a file which process runs it, and counts."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._count = 0

    async def on_start(self) -> None:
        self._note("begins")

    async def on_stop(self, _exit: object) -> None:
        self._note("ends")

    def _note(self, what: str) -> None:
        with Path(self._path).open("a") as file:
            file.write(f"{what} {os.getpid()}\n")

    async def add(self) -> int:
        self._count += 1
        return self._count

    async def slowly(self, seconds: float) -> int:
        await anyio.sleep(seconds)
        return os.getpid()

    async def where(self) -> tuple[str, int]:
        return current().node.name, os.getpid()

    async def relay(self, other: Ref[Ledger]) -> tuple[str, int]:
        return await other.ask(Ledger.where)


async def ask_the_room() -> tuple[str, int]:
    """Ask an actor of another node, from wherever this is."""
    room: Ref[Ledger] | None = await current().lookup("room")
    assert room is not None
    return await room.ask(Ledger.where)
