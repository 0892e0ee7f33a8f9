"""Actors that the tests of process nodes run; nodes import them from here."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio

from actors import Actor, Ref, current
from actors.testing import Recorder


class Victim(Actor):
    """Lives on a node that is about to die."""

    def __init__(self, probe: Ref[Recorder] | None = None) -> None:
        self.probe = probe
        self.log: list[Any] = []

    async def note(self, value: Any) -> None:
        self.log.append(value)

    async def logged(self) -> list[Any]:
        return self.log

    async def pid(self) -> int:
        return os.getpid()

    async def incarnation(self) -> int:
        return self.context.incarnation

    async def hang(self) -> None:
        assert self.probe is not None
        await self.probe.tell(Recorder.record, "hanging")
        await anyio.sleep_forever()

    async def drip(self) -> AsyncIterator[int]:
        yield 1
        await anyio.sleep_forever()

    async def exit(self, code: int) -> None:
        os._exit(code)

    async def signal_itself(self, number: int) -> None:
        os.kill(os.getpid(), number)

    async def say_and_die(self, line: str) -> None:
        print(line, flush=True)  # noqa: T201 - what the node's last lines are
        os.kill(os.getpid(), signal.SIGSEGV)

    async def start_program(self) -> int:
        program = subprocess.Popen(["/bin/sleep", "600"])  # noqa: ASYNC220 - it is not waited for
        return program.pid

    async def spawn_child(self, name: str) -> Ref[Victim]:
        return await self.context.spawn(Victim, name=name)

    async def environment(self, name: str) -> tuple[str | None, str | None, int]:
        return os.environ.get(name), os.environ.get("PYTHONPATH"), os.nice(0)


class Talker(Actor):
    """Talks to actors of other nodes."""

    async def ask(self, other: Ref[Victim]) -> int:
        return await other.ask(Victim.pid)

    async def ask_hanging(self, other: Ref[Victim]) -> None:
        await other.ask(Victim.hang)

    async def tell_many(self, other: Ref[Victim], count: int) -> list[Any]:
        for n in range(count):
            await other.tell(Victim.note, n)
        return await other.ask(Victim.logged)

    async def tell_large(self, other: Ref[Victim], size: int) -> int:
        await other.tell(Victim.note, bytearray(size))
        return len((await other.ask(Victim.logged))[-1])

    async def find(self, name: str) -> Ref[Any] | None:
        return await current().lookup(name)

    async def spawn(self, name: str, on: str) -> Ref[Victim]:
        return await current().spawn(Victim, name=name, on=on, if_exists="return")

    async def wait_for(self, other: Ref[Any]) -> str:
        return str(await other.wait())


class Leaver(Actor):
    """Ends its node in ways of its own."""

    async def exit_slowly(self, leaving: str, may_go: str, code: int) -> None:
        """End the program in order, which takes until the file *may_go* is there."""
        atexit.register(_wait_for, Path(leaving), Path(may_go))
        sys.exit(code)

    async def crash(self) -> None:
        """Read what is no memory."""
        ctypes.string_at(0)

    async def interrupted(self) -> str:
        """Interrupt this node, and a program that is started here; return what that one says."""
        os.kill(os.getpid(), signal.SIGINT)
        command = [sys.executable, "-c", _SLEEPER]
        program = await anyio.open_process(command, start_new_session=True)
        assert program.stdout is not None
        async with program:
            await program.stdout.receive()
            program.send_signal(signal.SIGINT)
            return (await program.stdout.receive()).decode().strip()

    async def send_rubbish(self) -> None:
        """Write to the parent what is no message."""
        for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers are wanted
            with suppress(OSError), socket.socket(fileno=os.dup(int(number))) as end:
                end.send(b"\xff" * 64)


_SLEEPER = """
import time
try:
    print("here", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print("interrupted")
"""


def _wait_for(leaving: Path, may_go: Path) -> None:
    leaving.touch()
    while not may_go.exists():
        time.sleep(0.01)
    leaving.unlink()
