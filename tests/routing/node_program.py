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
from actors.routing import OpaquePolicy, listen, serve


async def pid(stream: ByteStream) -> None:
    """Answer each line with the number of this process."""
    async for _ in stream:
        await stream.send(b"%d\n" % os.getpid())


async def pid_once(stream: ByteStream) -> None:
    """Send the number of this process, and end."""
    await stream.send(b"%d\n" % os.getpid())


class LinkAcks:
    """Writes a line for each acknowledgement."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link

    def acknowledged(self, number: int) -> None:
        self._link.send(b"a%d" % number)

    def refused(self, number: int) -> None:
        self._link.send(b"r%d" % number)

    def closed(self, number: int) -> None:
        self._link.send(b"c%d" % number)


async def main(link: socket.socket, path: str) -> None:
    """Serve until the link ends."""

    async with open_loop() as loop:
        server = serve(
            listen(path, policy=OpaquePolicy()),
            loop,
            LinkAcks(link),
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
