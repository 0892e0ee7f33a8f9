"""What a program has left behind when its first process has ended: daemons outside its group.

They are found by what they share with it: its session, the variable that marks the run, which every process
inherits, or the pipes that it wrote to.
Rule: reading /proc blocks, and so is done in the programs' threads; one look serves all that wait for it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from actors._base.errors import SystemStopped
from actors._base.loop import Loop, Waiter
from actors._base.process_stat import process_stat
from actors.programs.control_group import ControlGroup
from actors.programs.environment import RUN_VARIABLE
from actors.programs.threads import ProgramThreads

__all__ = ["Ended", "LeftOver", "Sweep", "pids_of"]

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
        group: their control group, if they have one.
    """

    mark: str
    session: int
    pipes: Sequence[str]
    group: ControlGroup | None = None


@dataclass(slots=True)
class Ended:
    """What was left of one run, and is ended.

    Attributes:
        processes: as ``name (pid)``.
        out_of_memory: whether the kernel has killed one for the limit of its control group.
    """

    processes: list[str] = field(default_factory=list)
    out_of_memory: bool = False


class Sweep:
    """Ends what runs have left behind."""

    def __init__(self, loop: Loop, threads: ProgramThreads) -> None:
        self._loop = loop
        self._threads = threads
        self._waiting: list[tuple[LeftOver, Waiter]] = []
        self._busy = False

    async def end_group(self, run: LeftOver) -> Ended:
        """Kill what is left in the control group of a run, and remove that; no other process is looked at."""
        return await self._threads.run(_end_group, run)

    async def end_left_over(self, run: LeftOver) -> Ended:
        """Kill what is left of a run whose first process has ended."""
        waiter = self._loop.waiter()
        self._waiting.append((run, waiter))
        if not self._busy:
            self._busy = True
            self._loop.start(self._serve, name="end what programs have left", fresh=True)
        found: Ended = await waiter
        return found

    async def _serve(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                found = await self._threads.run(_end_all, [run for run, _ in batch])
                _answer(batch, found)
        except SystemStopped:
            return  # `close` has done it
        finally:
            self._busy = False

    def close(self) -> None:
        """Do at once what is asked for and not begun: the thread is closed."""
        batch, self._waiting = self._waiting, []
        if batch:
            _answer(batch, _end_all([run for run, _ in batch]))


def _answer(batch: Sequence[tuple[LeftOver, Waiter]], found: Mapping[str, Ended]) -> None:
    for run, waiter in batch:
        if not waiter.done():
            waiter.set_result(found[run.mark])


def _end_all(runs: Sequence[LeftOver]) -> dict[str, Ended]:
    """Kill what is left of *runs*; return it by their marks."""
    found: dict[str, dict[int, str]] = {run.mark: {} for run in runs}
    for _ in range(_ROUNDS):
        left = [(pid, of) for pid in _others() if (of := _run_of(pid, runs)) is not None]
        if not left:
            break
        for pid, of in left:
            _note(found[of.mark], pid, of)
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE)
    return {mark: Ended(list(names.values())) for mark, names in found.items()}


def _end_group(run: LeftOver) -> Ended:
    found: dict[int, str] = {}
    if run.group is None:
        return Ended()
    out_of_memory = run.group.out_of_memory()
    for pid in run.group.pids():
        _note(found, pid, run)
    run.group.remove()
    return Ended(list(found.values()), out_of_memory)


def _note(found: dict[int, str], pid: int, run: LeftOver) -> None:
    """Note a process that is left; what is in the group was killed already, and is about to end."""
    if not _in_group(pid, run):
        found.setdefault(pid, f"{_name(pid)} ({pid})")


def pids_of(session: int, group: ControlGroup | None) -> list[int]:
    """Return the processes of a run that are in its control group, or in its session."""
    found = [] if group is None else group.pids()
    return found or [pid for pid in [session, *_others()] if _session(pid) == session]


def _session(pid: int) -> int:
    try:
        return int(process_stat(pid)[3])
    except (OSError, IndexError):
        return -1  # it has ended


def _others() -> list[int]:
    own = os.getpid()
    names = os.listdir("/proc")  # noqa: PTH208 - names are wanted
    return [int(name) for name in names if name.isdecimal() and int(name) != own]


def _run_of(pid: int, runs: Sequence[LeftOver]) -> LeftOver | None:
    """Return which of *runs* a process that lives is of."""
    try:
        state, _, _, session_text = process_stat(pid)[:4]
        if state in {"Z", "X"}:
            return None
        session = int(session_text)
        by_session = next((run for run in runs if run.session == session), None)
        return by_session or _run_marked(pid, runs)
    except (OSError, ValueError):
        return None  # it has ended, or is not ours to look at


def _in_group(pid: int, run: LeftOver) -> bool:
    try:
        return int(process_stat(pid)[2]) == run.session
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
