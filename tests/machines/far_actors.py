"""Actors for nodes of other machines."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from actors import Actor, Ref, current
from actors.testing import eventually


class Counter(Actor):
    """Counts, and says who it is."""

    def __init__(self, start: int = 0) -> None:
        self.count = start

    async def add(self, number: int) -> int:
        """Add, and return the sum."""
        self.count += number
        return self.count

    async def pid(self) -> int:
        """Return the process it runs in."""
        return os.getpid()

    async def ask_other(self, other: Ref[Counter], number: int) -> int:
        """Have another actor add."""
        return await other.ask(Counter.add, number)

    async def wait(self, seconds: float) -> None:
        """Keep this actor for a while."""
        await anyio.sleep(seconds)

    async def write(self, size: int) -> None:
        """Print so many bytes, in lines."""
        for _ in range(size // 1000):
            print("x" * 999)  # noqa: T201 - it is what the parent shows
            await anyio.lowlevel.checkpoint()

    async def fail(self) -> None:
        """Crash."""
        raise ValueError("this is how it fails")

    async def end_process(self, text: str) -> None:
        """Print something, and end the whole process."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        os._exit(7)

    async def kill_process(self) -> None:
        """Be killed."""
        os.kill(os.getpid(), signal.SIGKILL)

    async def path(self) -> list[str]:
        """Return where it looks for modules."""
        return sys.path

    async def variable(self, name: str) -> str | None:
        """Return a variable of its environment."""
        return os.environ.get(name)

    async def echo(self, value: Any) -> Any:
        """Return what it was sent."""
        return value

    async def nodes(self) -> list[str]:
        """Return the nodes that it knows of."""
        return [node.name for node in current().nodes]


async def wait_for_go() -> None:
    """Get ready when the file is there that the variable GO names."""
    await eventually(Path(os.environ["GO"]).exists, within=60)


def fail_if_bad() -> None:
    """Fail at the place whose number, in AT, is in the file that BAD names."""
    bad = Path(os.environ["BAD"])
    if bad.exists() and bad.read_text(encoding="ascii") == os.environ["AT"]:
        raise RuntimeError("the new code is bad")
