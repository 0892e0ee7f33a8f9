"""Actors and handlers for the tests that stop, drain and kill nodes; nodes import them from here."""

from __future__ import annotations

import threading

import anyio
from anyio.abc import ByteStream

from actors import Actor, Ref, concurrent, current
from actors.testing import Recorder

RELEASE = threading.Event()
"""Lets a thread node go that does not listen; a thread shares it with its test."""


class Worker(Actor):
    """Works until it is told that it may finish, and can end its own node."""

    def __init__(self, probe: Ref[Recorder] | None = None) -> None:
        self.probe = probe

    async def ping(self) -> str:
        return current().node.name

    async def note(self, value: int) -> None:
        assert self.probe is not None
        await self.probe.tell(Recorder.record, value)

    async def work(self, until: Ref[Gate]) -> str:
        await self.note(0)
        await until.ask(Gate.wait)
        return "done"

    async def spin(self) -> None:
        await self.note(0)
        await anyio.sleep(0.05)  # so that what it told is written before nothing is any more
        while not RELEASE.is_set():
            pass

    async def block(self) -> None:
        await self.note(0)
        await anyio.sleep(0.05)
        RELEASE.wait()

    async def stop_my_node(self, grace: float | None = None) -> str:
        await current().node.stop(grace)
        return "it ends when this is done"

    async def kill_my_node(self) -> None:
        current().node.kill()
        await anyio.sleep_forever()


class Gate(Actor):
    """Holds whoever waits at it until it is opened."""

    def __init__(self) -> None:
        self.opened = anyio.Event()

    @concurrent
    async def wait(self) -> None:
        await self.opened.wait()

    async def open(self) -> None:
        self.opened.set()


async def echo(stream: ByteStream) -> None:
    """Answer every piece with the name of the node, until the client has no more."""
    name = current().node.name.encode()
    async for piece in stream:
        await stream.send(name + b" " + piece)
