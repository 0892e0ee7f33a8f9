"""An actor that receives moved streams, uses them, and moves them on."""

from __future__ import annotations

import socket
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream, UNIXSocketStream

from actors import Actor, Ref, move
from actors.testing import Recorder
from tests.contracts.contract_actors import Gate


class StreamActor(Actor):
    """Has one line at a time."""

    def __init__(self, line: Any = None) -> None:
        self.line = line

    async def take(self, line: Any) -> None:
        self.line = line

    async def wait_at(self, gate: Ref[Gate], probe: Ref[Recorder]) -> None:
        await probe.tell(Recorder.record, "waits")
        await gate.ask(Gate.wait)

    async def hear(self, count: int) -> bytes:
        """Return exactly so many bytes."""
        return await hear(self.line, count)

    async def hear_some(self, most: int) -> bytes:
        piece: bytes = await self.line.receive(most)
        return piece

    async def say(self, text: bytes) -> None:
        await self.line.send(text)

    async def hang_up(self) -> None:
        await self.line.send_eof()
        await self.line.aclose()

    async def let_go(self) -> None:
        """Close it, and say nothing to the other end."""
        await self.line.aclose()

    async def what_is_it(self) -> tuple[bool, bool, Any]:
        line = self.line
        address = line.extra(SocketAttribute.local_address)  # noqa: S610 - not Django's
        return isinstance(line, SocketStream), isinstance(line, UNIXSocketStream), address

    async def give_on(self) -> Any:
        return move(self.line)

    async def descriptor_of(self) -> int:
        """Receive one over the line, and close it."""
        _, fds = await self.line.receive_fds(10, 1)
        with socket.socket(fileno=fds[0]) as passed:
            passed.send(b"passed")
        return len(fds)


async def hear(line: Any, count: int) -> bytes:
    """Receive exactly so many bytes."""
    heard = b""
    while len(heard) < count:
        heard += await line.receive(count - len(heard))
    return heard


async def refused(line: Any) -> list[str]:
    """Use a stream in every way; return what it raises."""
    errors = []
    for use in (line.receive, lambda: line.send(b"x")):
        try:
            await use()
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            errors.append(type(error).__name__)
    return errors
