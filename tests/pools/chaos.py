"""A pool with many tasks, whose workers are killed and resized, and tasks cancelled, late and deadly."""

from __future__ import annotations

import gc
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final, NoReturn

import anyio
import anyio.lowlevel
import psutil

from actors import Pool, System
from actors.errors import ActorsError, DeadlineExceeded, PoisonTask, WorkerLost
from actors.testing import eventually

__all__ = ["Chaos"]

_SUBMITTERS: Final = 100
_RESIZE_EVERY: Final = 0.3
"""Seconds between two sizes of the pool."""
_KILLS: Final = 400
_FEWEST_BETWEEN: Final = 50
"""Tasks that end between two workers that are killed, at least. Kills by the clock would end each worker before
it runs anything on a machine that has no time to start it, and while it waits because it has died so often."""


def note(log: str, number: int) -> int:
    """Write the number of the task down; it is once in the file for each time the task has run."""
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, number.to_bytes(8, "little"))
    finally:
        os.close(fd)
    return number


async def note_soon(log: str, number: int) -> int:
    """As `note`, on the loop."""
    await anyio.lowlevel.checkpoint()
    return note(log, number)


def note_and_nap(log: str, number: int, seconds: float) -> int:
    """As `note`, and take some time after it."""
    note(log, number)
    time.sleep(seconds)
    return number


def note_and_fail(log: str, number: int) -> NoReturn:
    """As `note`, and raise."""
    note(log, number)
    raise ValueError(number)


def note_and_die(log: str, number: int) -> NoReturn:
    """As `note`, and end the process."""
    note(log, number)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it lives")


class Chaos:
    """Submits *count* tasks and counts how they end.

    Attributes:
        ends: how many tasks have ended in which way.
        figures: descriptors and resident KiB of this process, after a tenth of the tasks and after all.
    """

    def __init__(self, system: System, pool: Pool[Any], log: Path, count: int, seed: int) -> None:
        self.ends: Counter[str] = Counter()
        self.figures: list[tuple[int, int]] = []
        self.random = random.Random(seed)
        self._system = system
        self._pool = pool
        self._log = log
        self._count = count
        self._begun = 0
        self._again: set[int] = set()
        """Tasks that may run twice."""
        self._done: set[int] = set()
        """Tasks that have returned."""

    async def run(self) -> None:
        """Have a tenth of the tasks run, then all; after each the pool comes to rest and is measured."""
        for until in (self._count // 10, self._count):
            await self._run(until)
            await eventually(self._at_rest, 30)
            self._measure()

    async def _at_rest(self) -> bool:
        """Have one worker; return whether it and its node are alone, and this process has what it notes."""
        # Again and again: a change of the size that was cancelled may still add one.
        await self._pool.resize(1)
        places: Any = self._pool.client.places
        ready = [one.journal is not None for one in places._queue.workers.values()]
        return ready == [True] and len(self._nodes) == 1

    @property
    def _nodes(self) -> list[Any]:
        return [node for node in self._system.nodes if node.group == self._pool.name]

    async def _run(self, until: int) -> None:
        async with anyio.create_task_group() as disturbing:
            disturbing.start_soon(self._disturb)
            async with anyio.create_task_group() as submitting:
                for _ in range(_SUBMITTERS):
                    submitting.start_soon(self._submit, until)
            disturbing.cancel_scope.cancel()
        while (await self._pool.stats()).running:  # noqa: ASYNC110 - what was cancelled ends soon
            await anyio.sleep(0.02)

    async def _disturb(self) -> None:
        between, killed = max(_FEWEST_BETWEEN, self._count // _KILLS), 0
        while True:
            await anyio.sleep(_RESIZE_EVERY)
            await self._pool.resize(self.random.randint(1, 3))
            if sum(self.ends.values()) < killed + between:
                continue
            killed = sum(self.ends.values())
            node = self.random.choice(self._nodes)
            if node.pid is not None:
                try:
                    os.kill(node.pid, signal.SIGKILL)
                except ProcessLookupError:
                    self.ends["had ended already"] += 1

    def _measure(self) -> None:
        gc.collect()
        process = psutil.Process()
        self.figures.append((process.num_fds(), process.memory_info().rss >> 10))

    async def _submit(self, until: int) -> None:
        while self._begun < until:
            self._begun += 1
            await self._one(self._begun)

    async def _one(self, number: int) -> None:
        call, options, patience = self._choose(number)
        if options.get("retry"):
            self._again.add(number)
        how = "cancelled"
        with anyio.move_on_after(patience):
            try:
                result = await self._pool.run(*call, **options)
            except (DeadlineExceeded, PoisonTask, WorkerLost, ValueError) as error:
                how = type(error).__name__
            except ActorsError as error:
                how = f"{type(error).__name__}: {error}"
            else:
                assert result == number
                how = "returned"
                self._done.add(number)
        self.ends[how] += 1

    def _choose(self, number: int) -> tuple[tuple[Any, ...], dict[str, Any], float | None]:
        """Return a call, its options, and after how many seconds it is cancelled."""
        chance, log = self.random.random(), str(self._log)
        options: dict[str, Any] = {"priority": self.random.randint(-1, 1)}
        if self.random.random() < 0.2:
            options["retry"] = self.random.randint(1, 2)
        brief = self.random.random() / 20
        table: list[tuple[float, tuple[Any, ...], dict[str, Any], float | None]] = [
            (0.6, (note, log, number), {}, None),
            (0.3, (note_soon, log, number), {}, None),
            (0.04, (note_and_fail, log, number), {}, None),
            (0.02, (note_and_nap, log, number, brief), {"timeout": 0.01 + brief}, None),
            (0.035, (note, log, number), {}, brief),
            (0.003, (note_and_nap, log, number, 0.3), {}, 0.1),
            (0.002, (note_and_die, log, number), {}, None),
        ]
        chosen = table[-1]
        for entry in table:
            chance -= entry[0]
            if chance < 0:
                chosen = entry
                break
        _, call, more, patience = chosen
        return call, options | more, patience

    def check(self) -> None:
        """Check that every task has ended, none is lost, and none has run twice but those that may."""
        assert sum(self.ends.values()) - self.ends["had ended already"] == self._count
        known = {
            "returned",
            "cancelled",
            "DeadlineExceeded",
            "PoisonTask",
            "WorkerLost",
            "ValueError",
        }
        assert set(self.ends) - known <= {"had ended already"}, self.ends
        data = self._log.read_bytes()
        ran = Counter(int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8))
        assert not self._done - ran.keys()
        twice = {number for number, times in ran.items() if times > 1}
        assert not twice - self._again
        assert max(ran.values()) <= 3
        (fds_before, kib_before), (fds, kib) = self.figures
        assert fds <= fds_before + 4
        assert kib <= kib_before + (32 << 10)
