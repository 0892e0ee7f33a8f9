"""Handlers and actors that the L rows run on nodes; nodes import them from here."""

from __future__ import annotations

import os
import socket

import anyio
from anyio.abc import ByteStream

from actors import Actor


async def echo(stream: ByteStream) -> None:
    """Say who serves, then send back whatever comes."""
    await stream.send(b"%d\n" % os.getpid())
    async for data in stream:
        await stream.send(data)


async def leave(_stream: ByteStream) -> None:
    """End the whole process."""
    os._exit(42)


class Host(Actor):
    """Does to its node what the rows ask for."""

    async def pid(self) -> int:
        return os.getpid()

    async def exit(self, code: int) -> None:
        os._exit(code)

    async def connect(self, port: int) -> int:
        """Hold an outgoing connection until the node ends."""
        self.connection = socket.create_connection(("127.0.0.1", port))
        return self.connection.fileno()

    async def hang(self) -> None:
        await anyio.sleep_forever()


class Open:
    """A descriptor that is closed when nobody has it any more, without a word."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class Holder(Actor):
    """Holds a file and a port, and crashes holding them."""

    async def on_start(self) -> None:
        self.file = Open(os.open("/dev/null", os.O_RDONLY))
        listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = listening.getsockname()[1]
        self.listening = Open(listening.detach())

    async def held(self) -> tuple[int, int, int]:
        """Return the two descriptors and the port."""
        return self.file.fd, self.listening.fd, self.port

    async def crash(self) -> None:
        raise RuntimeError("with open hands")


def is_open(fd: int) -> bool:
    """Whether this process has that descriptor."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
