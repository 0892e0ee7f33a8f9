"""What a program has left behind when its first process has ended: daemons outside its group.

They are found by what they share with it: its session, the variable that marks the run, which every process
inherits, or the pipes that it wrote to.
Rule: reading /proc blocks, and so is done in the programs' thread; one look serves all that wait for it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from actors._base.loop import Loop, Waiter
from actors.programs.environment import RUN_VARIABLE
from actors.programs.thread import ProgramThread

__all__ = ["LeftOver", "Sweep"]

_ROUNDS: Final = 10
"""Looks, as what is found may have started others meanwhile."""
_PAUSE: Final = 0.005
_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class LeftOver:
    """What the processes of one run are known by.

    Attributes:
        mark: the value of `RUN_VARIABLE` in their environment.
        session: the number of their session, which is that of the first process.
        pipes: those they write to, as /proc shows them.
    """

    mark: str
    session: int
    pipes: Sequence[str]


class Sweep:
    """Ends what runs have left behind."""

    def __init__(self, loop: Loop, thread: ProgramThread) -> None:
        self._loop = loop
        self._thread = thread
        self._waiting: list[tuple[LeftOver, Waiter]] = []
        self._busy = False

    async def end_left_over(self, run: LeftOver) -> list[str]:
        """Kill what is left of a run whose first process has ended; return it as ``name (pid)``."""
        waiter = self._loop.waiter()
        self._waiting.append((run, waiter))
        if not self._busy:
            self._busy = True
            self._loop.start(self._serve, name="end what programs have left", fresh=True)
        found: list[str] = await waiter
        return found

    async def _serve(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                found = await self._thread.run(_end_all, [run for run, _ in batch])
                for run, waiter in batch:
                    if not waiter.done():
                        waiter.set_result(found[run.mark])
        finally:
            self._busy = False


def _end_all(runs: Sequence[LeftOver]) -> dict[str, list[str]]:
    """Kill what is left of *runs*; return it by their marks."""
    found: dict[str, dict[int, str]] = {run.mark: {} for run in runs}
    for _ in range(_ROUNDS):
        left = [(pid, run) for pid in _others() if (run := _run_of(pid, runs)) is not None]
        if not left:
            break
        for pid, run in left:
            if not _in_group(pid, run):  # what is in it was killed, and is about to end
                found[run.mark].setdefault(pid, f"{_name(pid)} ({pid})")
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE)
    return {mark: list(names.values()) for mark, names in found.items()}


def _others() -> list[int]:
    own = os.getpid()
    names = os.listdir("/proc")  # noqa: PTH208 - names are wanted
    return [int(name) for name in names if name.isdecimal() and int(name) != own]


def _run_of(pid: int, runs: Sequence[LeftOver]) -> LeftOver | None:
    """Return which of *runs* a process that lives is of."""
    try:
        state, _, _, session_text = _stat(pid)
        if state in {"Z", "X"}:
            return None
        session = int(session_text)
        by_session = next((run for run in runs if run.session == session), None)
        return by_session or _run_marked(pid, runs)
    except (OSError, ValueError):
        return None  # it has ended, or is not ours to look at


def _stat(pid: int) -> list[str]:
    """Return state, parent, group and session of a process."""
    text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    return text.rpartition(")")[2].split()[:4]  # the name, in brackets, may have some in it


def _in_group(pid: int, run: LeftOver) -> bool:
    try:
        return int(_stat(pid)[2]) == run.session
    except (OSError, IndexError):
        return True  # it has ended


def _run_marked(pid: int, runs: Sequence[LeftOver]) -> LeftOver | None:
    variables = Path(f"/proc/{pid}/environ").read_bytes()
    if RUN_VARIABLE.encode() in variables:
        marks = {f"{RUN_VARIABLE}={run.mark}".encode(): run for run in runs}
        found = next((marks[item] for item in variables.split(b"\0") if item in marks), None)
        if found is not None:
            return found
    # A daemon may have written over its environment, as those do that show a title of their own.
    written_to = {_target(pid, descriptor) for descriptor in (1, 2)}
    return next((run for run in runs if not written_to.isdisjoint(run.pipes)), None)


def _target(pid: int, descriptor: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/fd/{descriptor}").readlink())
    except OSError:
        return ""


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()[:_NAME]
    except OSError:
        return "?"
