"""A listener on some nodes: `python -m benchmarks.ours.router HANDLER POLICY NODES PORT [hot]`.

*hot* keeps the loop of one of the nodes busy for half of the time.
"""

import asyncio
import sys
import time
from functools import partial
from typing import Any, Final

import anyio
from anyio.abc import ByteStream

import actors
from actors.routing import policy_from

_END: Final = b"\r\n\r\n"
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_OK_CLOSE: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

_BUSY: Final = 0.05
"""Seconds that a hot node computes, and then pauses."""


class Hog(actors.Actor):
    """Keeps the loop of its node busy for half of the time."""

    async def on_start(self) -> None:
        """Start to compute."""
        self.context.tasks.start_soon(self._burn)

    async def _burn(self) -> None:
        while True:
            until = time.perf_counter() + _BUSY
            while time.perf_counter() < until:
                pass
            await asyncio.sleep(_BUSY)


async def handle(stream: ByteStream) -> None:
    """Answer "ok" over HTTP until the client closes, or once if it asks to close."""
    while True:
        head = await stream.receive()
        while not head.endswith(_END):
            head += await stream.receive()
        if b"\r\nConnection: close\r\n" in head:
            await stream.send(_OK_CLOSE)
            return
        await stream.send(_OK)


async def handle_slowly(stream: ByteStream) -> None:
    """Answer "ok" to one request after 5 ms, as if a database was queried."""
    await stream.receive()
    await asyncio.sleep(0.005)
    await stream.send(_OK_CLOSE)


def command(name: str, policy: str, *, nodes: int, hot: bool = False) -> list[str]:
    """Return the command that starts this program; `{port}` in it is to be replaced by a port."""
    words = [sys.executable, "-m", "benchmarks.ours.router", name, policy, str(nodes), "{port}"]
    return [*words, "hot"] if hot else words


def handler(name: str) -> Any:
    """Return the handler of that name."""
    if name == "asgi":
        return actors.asgi("benchmarks.ours.asgi_app:app")
    return f"benchmarks.ours.router:{name}"


async def main(name: str, policy: str, count: str, port: str, hot: str = "") -> None:
    """Serve until the process is ended."""
    topology = actors.Topology(
        nodes=[actors.nodes("web", count=int(count))],
        listeners=[actors.listen(handler(name), f"127.0.0.1:{port}", policy=policy_from(policy))],
    )
    async with actors.System(topology) as system:
        if hot:
            await system.spawn(Hog, on="web/0")
        await anyio.sleep_forever()


if __name__ == "__main__":
    actors.run(partial(main, *sys.argv[1:]))
