"""The stacks of a node's threads and tasks, and its profile: the node's side, set up before they are requested.

Rule 1: faulthandler's signal handler writes the threads; it is C and needs neither the loop nor the
interpreter's lock.
Rule 2: a Python signal handler writes the tasks, in the main thread between two instructions: it works
while the loop hangs in Python or in a call that waits, not while C code computes.
Rule 3: all change nothing, and write into memory that the parent has open, not into the log.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

from actors._actor.handler_times import Steps
from actors._base.fault_handler import faulthandler
from actors.nodes.health.profile import ProcessProfiler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from actors._base.loop import Loop

__all__ = [
    "PROFILE_BEGINS",
    "PROFILE_ENDS",
    "TASKS",
    "THREADS",
    "StackDump",
    "frames_of",
    "task_stacks",
]

_NAMES: Final = 20
"""How many of the tasks with the same stack are named."""

_PARKED: Final = "parked: it waits for a message, and has no task until one comes"

# Real-time signals, which no convention uses; they are sent only after the node has set its handlers.
THREADS: Final = getattr(signal, "SIGRTMIN", 0) + 6
TASKS: Final = getattr(signal, "SIGRTMIN", 0) + 7
PROFILE_BEGINS: Final = getattr(signal, "SIGRTMIN", 0) + 8
PROFILE_ENDS: Final = getattr(signal, "SIGRTMIN", 0) + 9


def task_stacks(loop: Loop, parked: Iterable[str]) -> list[dict[str, Any]]:
    """Return the stacks of the tasks of *loop*; tasks with the same stack are one entry.

    Args:
        loop: whose tasks.
        parked: the names of actors that have no task now, which are shown as such.
    """
    places: dict[tuple[str, ...], list[str]] = {}
    for name in parked:
        places.setdefault((_PARKED,), []).append(f"actor {name}")
    for name, coroutine in loop.tasks():
        places.setdefault(tuple(_awaits(coroutine)), []).append(name)
    return [
        {"count": len(names), "names": sorted(names)[:_NAMES], "stack": list(place)}
        for place, names in sorted(places.items(), key=lambda item: min(item[1]))
    ]


def frames_of(frame: FrameType | None) -> Iterator[str]:
    """Yield the frames of a thread as text, the most recent call first."""
    while frame is not None:
        yield _place(frame)
        frame = frame.f_back


def _awaits(coroutine: Any) -> list[str]:
    """Return the frames of a task, the most recent call first."""
    frames: list[str] = []
    while coroutine is not None:
        if isinstance(coroutine, Steps):
            coroutine = coroutine.inner
        kind = next(
            (kind for kind in ("cr", "gi", "ag") if hasattr(coroutine, f"{kind}_frame")), ""
        )
        frame = getattr(coroutine, f"{kind}_frame", None)
        if frame is None:
            break
        frames.append(_place(frame))
        if getattr(coroutine, f"{kind}_running", False):
            frames.append("(it runs now: see its thread)")
            break
        coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else f"{kind}_await", None)
    return frames[::-1]


def _place(frame: FrameType) -> str:
    code = frame.f_code
    return f'File "{code.co_filename}", line {frame.f_lineno} in {code.co_name}'


class StackDump:
    """Sets the handlers that write this process's stacks; they stay until it ends."""

    def __init__(self, loop: Loop, parked: Callable[[], Iterable[str]]) -> None:
        self._loop = loop
        self._parked = parked
        self._fd = os.memfd_create("actors-stacks")
        # The parent truncates the file before it asks, and appending then begins at its start.
        fcntl.fcntl(self._fd, fcntl.F_SETFL, fcntl.fcntl(self._fd, fcntl.F_GETFL) | os.O_APPEND)
        faulthandler.register(THREADS, file=self._fd, all_threads=True)
        signal.signal(TASKS, self._tasks)
        self._profiler = ProcessProfiler()
        signal.signal(PROFILE_BEGINS, lambda _number, _frame: self._profiler.begin())
        signal.signal(PROFILE_ENDS, self._profile)

    def for_parent(self) -> int:
        """Return a new descriptor of the file, which the caller owns."""
        return os.dup(self._fd)

    def _tasks(self, _number: int, _frame: FrameType | None) -> None:
        """Write the stacks of the tasks and the names of the threads as one line."""
        try:
            # The lock of `threading.enumerate` may be held by what this interrupts.
            known = dict(threading._active)  # type: ignore[attr-defined] # noqa: SLF001
            threads = {str(ident): thread.name for ident, thread in known.items()}
            facts = {"tasks": task_stacks(self._loop, self._parked()), "threads": threads}
        except Exception as error:  # noqa: BLE001 - it would be raised in the code that the signal interrupts
            facts = {"error": f"{type(error).__name__}: {error}"}
        self._write(facts)

    def _profile(self, _number: int, _frame: FrameType | None) -> None:
        self._write(self._profiler.end())

    def _write(self, facts: dict[str, Any]) -> None:
        """Write *facts* as one line, which is whole when it ends with a newline."""
        data = memoryview(json.dumps(facts).encode() + b"\n")
        while data:
            data = data[os.write(self._fd, data) :]
