"""Inspecting a process node from its parent, also when it hangs: its profile, and its stacks.

Rule: every wait has a deadline of seconds. A process that is stopped is reported as such.
"""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any, Final

from anyio import move_on_after, sleep

from actors._base.errors import ActorsError
from actors._base.process_stat import process_stat
from actors.nodes.health.stack_dump import PROFILE_BEGINS, PROFILE_ENDS, TASKS, THREADS

__all__ = [
    "begin_profile",
    "end_profile",
    "process_figures",
    "process_stacks",
    "threads_of",
]

_PATIENCE: Final = 2.0
"""Seconds that a dump may take; for a hundred threads it takes a hundredth of one."""
_EVERY: Final = 0.01
_HEAD: Final = re.compile(
    r"(?:Current t|T)hread (0x[0-9a-f]+)(?: \[.*\])? \(most recent call first\):"
)
_FIELDS: Final = ("SigPnd", "ShdPnd", "SigBlk")
_STATES: Final = {
    "T": "it is stopped by a signal, as SIGSTOP does",
    "t": "a debugger has stopped it",
    "D": "it waits in the kernel and cannot be interrupted",
    "Z": "it has ended",
}


async def process_stacks(name: str, pid: int, pidfd: int, fd: int) -> dict[str, Any]:
    """Return the stacks of the threads and tasks of a node's process.

    Args:
        name: the node, for errors.
        pid: its process, which is reaped only after its pidfd has reported its end.
        pidfd: the same process.
        fd: the file it writes its stacks to, see `StackDump`.

    Raises:
        ActorsError: it is not running, or does not answer.
    """
    try:
        text = await _threads(pid, pidfd, fd)
        if text is None:
            why = _STATES.get(process_stat(pid)[0], f"no answer within {_PATIENCE:g} s")
            raise ActorsError(f"node {name} (pid {pid}) cannot be inspected: {why}")
        reported = await _tasks(pidfd, fd)
    except (ProcessLookupError, FileNotFoundError) as error:
        raise ActorsError(f"node {name} is not running") from error
    return {
        "threads": threads_of(text, reported.get("threads", {})),
        "tasks": reported.get("tasks"),
    }


async def _threads(pid: int, pidfd: int, fd: int) -> str | None:
    """Have its threads dumped, and wait until the signal handler has returned."""
    os.ftruncate(fd, 0)
    before = _threads_in_dump(pid)
    signal.pidfd_send_signal(pidfd, THREADS)
    with move_on_after(_PATIENCE):
        while True:
            await sleep(_EVERY)
            # While the handler runs, its thread has the signal blocked.
            if os.fstat(fd).st_size and not _threads_in_dump(pid) - before:
                return os.pread(fd, os.fstat(fd).st_size, 0).decode("utf-8", "replace")
    return None


async def _tasks(pidfd: int, fd: int) -> dict[str, Any]:
    """Have its tasks dumped; return nothing if its main thread does not get to it."""
    return await _written(pidfd, fd, TASKS) or {}


async def _written(pidfd: int, fd: int, number: int) -> dict[str, Any] | None:
    """Have its main thread write what a signal asks for; return None if it does not get to it."""
    os.ftruncate(fd, 0)
    signal.pidfd_send_signal(pidfd, number)
    with move_on_after(_PATIENCE):
        while True:
            await sleep(_EVERY)
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) == b"\n":
                facts: dict[str, Any] = json.loads(os.pread(fd, size, 0))
                return facts
    return None


def begin_profile(pidfd: int) -> None:
    """Have a process that has sent the file of its stacks take samples."""
    signal.pidfd_send_signal(pidfd, PROFILE_BEGINS)


async def end_profile(name: str, pid: int, pidfd: int, fd: int) -> dict[str, Any]:
    """End the samples that `begin_profile` began, and return the profile; see `StackCounts.facts`.

    Args:
        name: as for `process_stacks`, and so the others.
        pid: the same.
        pidfd: the same.
        fd: the same.

    Raises:
        ActorsError: it is not running, does not answer, or cannot be profiled.
    """
    try:
        found = await _written(pidfd, fd, PROFILE_ENDS)
        state = "" if found is not None else process_stat(pid)[0]
    except (ProcessLookupError, FileNotFoundError) as error:
        raise ActorsError(f"node {name} has ended while it was profiled") from error
    if found is None:
        why = _STATES.get(state, "its main thread computes in C, or waits there")
        raise ActorsError(f"node {name} (pid {pid}) does not give its profile: {why}")
    if "error" in found:
        raise ActorsError(f"node {name} cannot be profiled: {found['error']}")
    return found


def _threads_in_dump(pid: int) -> set[str]:
    """Return the threads of a process that have the dump's signal pending or blocked."""
    bit = 1 << (THREADS - 1)
    held = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            # The name of a thread is any bytes.
            lines = (task / "status").read_text(errors="replace").splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has just ended
        masks = [line.split(":")[1] for line in lines if line.partition(":")[0] in _FIELDS]
        if any(int(mask, 16) & bit for mask in masks):
            held.add(task.name)
    return held


def threads_of(text: str, names: dict[str, str]) -> list[dict[str, Any]]:
    """Return faulthandler's dump of all threads, one entry each.

    Args:
        text: the dump.
        names: the names of threads by their number, as far as known.
    """
    threads: list[dict[str, Any]] = []
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head is not None:
            name = names.get(str(int(head[1], 16)), head[1])
            threads.append({"thread": name, "stack": []})
        elif line.strip() and threads:
            threads[-1]["stack"].append(line.strip())
    return threads


def process_figures(pid: int) -> tuple[float, int]:
    """Return the CPU seconds and the memory in bytes of a process, even of one that hangs.

    Raises:
        OSError: it has ended.
    """
    user, system = process_stat(pid)[11:13]
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    seconds = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return seconds, int(pages) * os.sysconf("SC_PAGE_SIZE")
