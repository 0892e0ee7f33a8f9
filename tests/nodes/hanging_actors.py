"""Actors of the tests about nodes that hang or grow; nodes import them from here."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import time
from math import log2
from typing import Any

import anyio
from anyio.abc import ByteStream

from actors import Actor, Ref, concurrent, current
from actors.supervisors import Exit
from actors.testing import Recorder

GATE = threading.Event()
"""Keeps a thread node from ending until the test has seen what it came for."""

NOTES: list[Any] = []
"""What actors of thread nodes have noted, for tests in the same process."""

if "pytest" not in sys.modules and "ACTORS_TEST_SLOW_IMPORT" in os.environ:
    time.sleep(float(os.environ["ACTORS_TEST_SLOW_IMPORT"]))


def match_catastrophically() -> None:
    """Keep the processor and the interpreter's lock: the matcher never lets go of either."""
    re.match("(a+)+$", "a" * 60 + "b")


def wait_at_the_gate() -> None:
    """Keep the loop of this thread, and let others have the lock."""
    GATE.wait(30)


class Hanger(Actor):
    """Keeps the loop of its node, in one way or another."""

    async def pid(self) -> int:
        return os.getpid()

    async def node(self) -> str:
        return self.context.node

    async def match(self) -> None:
        match_catastrophically()

    async def match_for_a_while(self, seconds: float) -> None:
        """Match at once what takes so long, as ever longer texts show."""
        length, began = 16, time.monotonic()
        while (took := time.monotonic() - began) < seconds / 4:
            length, began = length + 1, time.monotonic()
            re.match("(a+)+$", "a" * length + "b")
        re.match("(a+)+$", "a" * (length + int(log2(seconds / took))) + "b")

    async def kill(self, other: Ref[Any]) -> None:
        other.kill()

    async def wait(self) -> None:
        wait_at_the_gate()

    async def wait_and_tell(self, whom: Ref[Recorder]) -> None:
        wait_at_the_gate()
        await whom.tell(Recorder.record, "late")

    async def note(self, value: Any) -> None:
        NOTES.append(value)

    async def tell(self, whom: Ref[Recorder], value: Any) -> None:
        await whom.tell(Recorder.record, value)

    async def incarnation(self) -> int:
        return self.context.incarnation

    async def end_of(self, other: Ref[Any]) -> Exit:
        return await other.wait()

    async def asks(self, other: Ref[Hanger]) -> str:
        return await other.ask(Hanger.node)

    async def block(self, seconds: float) -> int:
        time.sleep(seconds)  # noqa: ASYNC251 - that is the test
        return os.getpid()


class Gate(Actor):
    """Lets those who wait pass once it has been opened."""

    def __init__(self) -> None:
        self._open = anyio.Event()

    @concurrent
    async def passed(self) -> None:
        await self._open.wait()

    async def open(self) -> None:
        self._open.set()


class Grower(Actor):
    """Grows, works through its queue, and tells how it went."""

    def __init__(self, probe: Ref[Recorder] | None = None) -> None:
        self._probe = probe
        self._ballast = b""

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002 - the name of the hook
        if self._probe is not None:
            await self._probe.ask(Recorder.record, f"stopped: {exit}")

    async def grow(self, mebibytes: int) -> None:
        self._ballast = b"x" * (mebibytes << 20)

    async def work(self, gate: Ref[Gate], value: Any) -> Any:
        await self._tell(("working", value))
        await gate.ask(Gate.passed)
        return value

    @concurrent
    async def work_beside(self, gate: Ref[Gate], value: Any) -> Any:
        await self._tell(("working", value))
        await gate.ask(Gate.passed)
        return value

    async def pass_on(self, other: Ref[Grower], value: Any) -> Any:
        return await other.ask(Grower.say, value)

    @concurrent
    async def work_there(self, other: Ref[Grower], gate: Ref[Gate]) -> Any:
        return await other.ask(Grower.work_beside, gate, "there")

    async def say(self, value: Any) -> Any:
        await self._tell(value)
        return value

    async def incarnation(self) -> int:
        return self.context.incarnation

    async def pid(self) -> int:
        return os.getpid()

    async def block_at_the_end(self, seconds: float) -> None:
        self.context.tasks.start_soon(self._block_when_cancelled, seconds)

    async def _block_when_cancelled(self, seconds: float) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            time.sleep(seconds)  # noqa: ASYNC251 - that is the test

    async def _tell(self, value: Any) -> None:
        if self._probe is not None:
            await self._probe.ask(Recorder.record, value)


async def echo(stream: ByteStream) -> None:
    """Say which node this is, then give back what comes."""
    await stream.send(f"{current().node.name}\n".encode())
    async for data in stream:
        await stream.send(data)


def connect(path: str) -> socket.socket:
    """Return a client of the listener at *path*."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    return client
