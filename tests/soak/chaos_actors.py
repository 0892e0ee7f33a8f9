"""The actors of the chaos run; its nodes import them from here.

What they handle is counted in a file that each node maps: it is the kernel's, so a SIGKILL loses
none of it. A node counts in a cell of its own, and its successor goes on in the same one.
"""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import random
import re
import resource
import struct
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio

from actors import Actor, Exit, Ref, concurrent
from actors.errors import ActorsError

LEDGER: Final = "ACTORS_CHAOS_LEDGER"
"""Names the file to count in."""
_COUNT: Final = struct.Struct("=q")
_CELLS: Final = 64
_ENOUGH: Final = re.compile(r"(a+)+$")
CALLS: Final[Counter[str]] = Counter()
"""The asks that actors of this node made, by how they ended."""
_DICE: Final = random.Random()


class Ledger:
    """A file of numbers, one for each node."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _CELLS * _COUNT.size)

    @classmethod
    def create(cls, path: Path) -> Ledger:
        """Make a file of zeros, which the actors of this process count in as well."""
        path.write_bytes(bytes(_CELLS * _COUNT.size))
        _OPEN[:] = [cls(path)]
        return _OPEN[0]

    def add(self, cell: int) -> None:
        """Count one more in *cell*; only one process at a time has that cell."""
        at = cell * _COUNT.size
        _COUNT.pack_into(self._map, at, _COUNT.unpack_from(self._map, at)[0] + 1)

    def total(self) -> int:
        """Return what all of them have counted."""
        return sum(number for (number,) in _COUNT.iter_unpack(self._map[:]))

    def close(self) -> None:
        """Give the mapping back."""
        self._map.close()


_OPEN: list[Ledger] = []


def _ledger() -> Ledger:
    if not _OPEN:
        _OPEN.append(Ledger(Path(os.environ[LEDGER])))
    return _OPEN[0]


def _cell(node: str) -> int:
    slot = node.partition("/")[2]
    return int(slot) + 1 if slot else 0


_BALLOONS: Final[list[bytes]] = []


@contextmanager
def few_descriptors() -> Iterator[None]:
    """No descriptor can be opened in this process for a while."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def no_threads() -> Iterator[None]:
    """No thread can be started in this process for a while, as under RLIMIT_NPROC (root has no limit).

    A thread of trio's can: a test that anyio runs on trio waits for events in one, and without it hangs.
    """

    def refuse(begin: Any, *args: Any, **options: Any) -> Any:
        if begin.__self__.name.startswith("Trio thread"):
            return before(begin, *args, **options)
        raise RuntimeError("can't start new thread")

    name = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"
    before = getattr(threading, name)
    setattr(threading, name, refuse)
    try:
        yield
    finally:
        setattr(threading, name, before)


class Worker(Actor):
    """Counts what it is told; crashes, hangs, asks others and streams when it is told to."""

    pace = 0.0

    def __init__(self, luck: float = 1.0) -> None:
        self.luck = luck
        self.bad = luck < 1 and self.context.incarnation > 1

    def _unlucky(self) -> bool:
        return self.bad and _DICE.random() > self.luck

    async def on_start(self) -> None:
        if self._unlucky():
            raise ConnectionError("on_start has bad luck")

    async def on_stop(self, _exit: Exit) -> None:
        if self._unlucky():
            raise ConnectionError("on_stop has bad luck")
        if self._unlucky():
            await anyio.sleep_forever()

    async def work(self, how: str = "") -> None:
        """Take one message of a sender whose count has to be right."""
        _ledger().add(_cell(self.context.node))
        if self.pace:
            await anyio.sleep(self.pace)
        if how == "crash":
            raise RuntimeError("told to crash")

    async def chat(self, _text: str) -> None:
        """Take a message of another actor."""

    async def ping(self) -> str:
        return self.context.name

    async def fail(self) -> None:
        raise LookupError("asked to fail")

    async def sleep(self, seconds: float) -> float:
        await anyio.sleep(seconds)
        return seconds

    @concurrent
    async def sleep_beside(self, seconds: float) -> float:
        return await self.sleep(seconds)

    async def relay(self, other: Ref[Worker], depth: int) -> int:
        """Tell another and ask it to do the same."""
        with suppress(ActorsError):
            await other.within(2).tell(Worker.chat, "hello")
        if depth:
            await self._ask(other, depth - 1)
        return depth

    async def _ask(self, other: Ref[Worker], depth: int) -> None:
        CALLS["made"] += 1
        try:
            await other.within(2).ask(Worker.relay, self.context.ref, depth)
            CALLS["answered"] += 1
        except ActorsError as error:
            CALLS[type(error).__name__] += 1
        except BaseException:
            CALLS["cancelled"] += 1
            raise

    async def items(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number
            if not number % 8:
                await anyio.sleep(0.001)

    # -- ends of the whole node ------------------------------------------------------------

    async def spin(self, length: int) -> None:
        """Hold the interpreter's lock in C code for a while."""
        _ENOUGH.match("a" * length + "b")

    async def hold_the_lock(self, seconds: int) -> None:
        """Sleep in C code that does not let go of the interpreter's lock."""
        ctypes.PyDLL(None).sleep(seconds)

    async def balloon(self, size: int) -> None:
        """Grow by *size* bytes that are really used, and keep them."""
        _BALLOONS.append(b"x" * size)

    async def close_descriptors(self, first: int, last: int) -> None:
        """Close what others opened, as a wrong `os.closerange` does."""
        os.closerange(first, last)

    @concurrent
    async def few_descriptors(self, seconds: float) -> None:
        with few_descriptors():
            await anyio.sleep(seconds)

    @concurrent
    async def no_threads(self, seconds: float) -> None:
        with no_threads():
            await anyio.sleep(seconds)

    async def shout(self, lines: int) -> None:
        """Print more than whoever reads it wants to read."""
        for number in range(lines):
            print(f"line {number} of much" + "!" * 100, file=sys.stderr)  # noqa: T201 - it is the point

    async def leave(self) -> None:
        os._exit(0)

    async def segfault(self) -> None:
        faulthandler.disable()  # its stack is no news
        ctypes.string_at(0)


class Slow(Worker):
    """Has a small mailbox, and takes its time."""

    pace = 0.002


class Parent(Worker):
    """Has two children of its own."""

    async def on_start(self) -> None:
        self.children = [await self.context.spawn(Worker) for _ in range(2)]
        await super().on_start()

    async def relay(self, other: Ref[Worker], depth: int) -> int:
        for child in self.children:
            await child.tell(Worker.chat, "from above")
        return await super().relay(other, depth)


class Meter(Actor):
    """Says what its node has counted."""

    async def calls(self) -> dict[str, int]:
        return dict(CALLS)

    async def figures(self) -> dict[str, Any]:
        figures: dict[str, Any] = await self.context.system.node.stats()
        return figures
