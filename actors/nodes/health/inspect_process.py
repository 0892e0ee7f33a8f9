"""Looking into a process node from its parent: what its threads and tasks are at, also when it hangs.

Rule: nothing is waited for longer than a moment. A process that is stopped is told as such.
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
from actors.nodes.health.stack_dump import TASKS, THREADS

__all__ = ["process_figures", "process_stacks", "threads_of"]

_PATIENCE: Final = 2.0
"""Seconds that a dump may take; one of a hundred threads takes a hundredth."""
_LOOK: Final = 0.01
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
    """Return what the threads and tasks of a node's process are at.

    Args:
        name: the node, for errors.
        pid: its process, which is not reaped before its pidfd has told of its end.
        pidfd: the same.
        fd: where it writes that, see `Stacks`.

    Raises:
        ActorsError: it does not run.
    """
    try:
        text = await _threads(pid, pidfd, fd)
        if text is None:
            why = _STATES.get(_stat(pid)[0], f"no answer within {_PATIENCE:g} s")
            raise ActorsError(f"node {name} (pid {pid}) cannot be looked into: {why}")
        said = await _tasks(pidfd, fd)
    except (ProcessLookupError, FileNotFoundError) as error:
        raise ActorsError(f"node {name} is not running") from error
    return {"threads": threads_of(text, said.get("threads", {})), "tasks": said.get("tasks")}


async def _threads(pid: int, pidfd: int, fd: int) -> str | None:
    """Have its threads dumped, and wait until the signal's handler has returned."""
    os.ftruncate(fd, 0)
    before = _held(pid)
    signal.pidfd_send_signal(pidfd, THREADS)
    with move_on_after(_PATIENCE):
        while True:
            await sleep(_LOOK)
            # While the handler runs, its thread has the signal blocked.
            if os.fstat(fd).st_size and not _held(pid) - before:
                return os.pread(fd, os.fstat(fd).st_size, 0).decode("utf-8", "replace")
    return None


async def _tasks(pidfd: int, fd: int) -> dict[str, Any]:
    """Have its tasks dumped; nothing, if its main thread does not get to it."""
    os.ftruncate(fd, 0)
    signal.pidfd_send_signal(pidfd, TASKS)
    with move_on_after(_PATIENCE):
        while True:
            await sleep(_LOOK)
            data = os.pread(fd, os.fstat(fd).st_size, 0)
            if data.endswith(b"\n"):
                facts: dict[str, Any] = json.loads(data)
                return facts
    return {}


def _held(pid: int) -> set[str]:
    """Return the threads of a process that have the dump's signal pending or blocked."""
    bit = 1 << (THREADS - 1)
    held = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            lines = (task / "status").read_text(encoding="utf-8").splitlines()
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


def _stat(pid: int) -> list[str]:
    """Return the figures of a process from its state on; its name before may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def process_figures(pid: int) -> tuple[float, int]:
    """Return how many seconds a process has computed and its memory in bytes, however hung it is.

    Raises:
        OSError: it has ended.
    """
    user, system = _stat(pid)[11:13]
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    seconds = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return seconds, int(pages) * os.sysconf("SC_PAGE_SIZE")
