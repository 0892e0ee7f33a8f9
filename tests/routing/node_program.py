"""A node as a real process: takes connections over a socket pair and serves them; for tests.

Run with the descriptor of the link and the import path of the handler. Lines on the link: the
number of a connection with its descriptor downwards; ``a``, ``r`` or ``c`` and the number upwards.
"""

import asyncio
import os
import socket
import sys

from anyio.abc import ByteStream

from actors._base.run_loop import open_loop
from actors.routing import listen, serve


async def pid(stream: ByteStream) -> None:
    """Tell who serves, for each line received."""
    async for _ in stream:
        await stream.send(b"%d\n" % os.getpid())


async def pid_once(stream: ByteStream) -> None:
    """Tell who serves, and end."""
    await stream.send(b"%d\n" % os.getpid())


async def main(link: socket.socket, path: str) -> None:
    """Serve until the link ends."""

    def say(what: str, connection: int) -> None:
        link.send(f"{what}{connection}".encode())

    async with open_loop() as loop:
        server = serve(
            listen(path),
            loop,
            acknowledge=lambda connection: say("a", connection),
            refused=lambda connection: say("r", connection),
            closed=lambda connection: say("c", connection),
            report=lambda fact: print(fact, file=sys.stderr),  # noqa: T201 - a test shows it
        )
        await server.start()
        ended = asyncio.Event()

        def take() -> None:
            data, fds, _, _ = socket.recv_fds(link, 64, 1)
            if not data:
                loop.unwatch_readable(link.fileno())
                ended.set()
                return
            server.take(int(data), socket.socket(fileno=fds[0]))

        loop.watch_readable(link.fileno(), take)
        link.send(b"ready")
        await ended.wait()
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2]))
