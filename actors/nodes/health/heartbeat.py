"""Heartbeats: a node tells its parent that its loop runs; the parent notices when the beats stop.

Rule 1: silence counts only while the parent's own loop ran: no node is killed because its parent slept.
Rule 2: a process that hangs dumps its stacks before it is killed, by faulthandler's timer, a C thread
that needs neither the loop nor the interpreter's lock; every beat restarts that timer.
Rule 3: it costs one timer every few seconds at either end, and nothing per message.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol

from actors._base.fault_handler import faulthandler
from actors._remoting import operations as ops
from actors.nodes.health.stats import resident_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actors._base.loop import Timer
    from actors._remoting.operation import Note

__all__ = [
    "HangDetector",
    "Heartbeat",
    "beat_every",
    "crash_of",
    "debugging",
    "last_dump",
    "margin_of",
    "stacks_of",
]

P = ParamSpec("P")

_BEATS: Final = 4
"""Beats in the time of silence after which a node counts as hung."""
_MOST_OFTEN: Final = 0.05
_LEAST_OFTEN: Final = 5.0
_MEMORY_EVERY: Final = 1.0
"""Seconds between two checks of the memory of a node that has a limit."""
_STDERR: Final = 2
_CRASH_BEGINS: Final = "Fatal Python error: "
"""How the first line of a dump by faulthandler's signal handler begins."""
_STACKS_BEGIN: Final = "Timeout ("
"""How the first line of a dump by faulthandler's timer begins."""


class Clock(Protocol):
    """The part of an event loop that is used here."""

    def now(self) -> float: ...
    def call_later(self, seconds: float, fn: Callable[..., object], /, *args: Any) -> Timer: ...


class Parent(Protocol):
    """The part of the link to the parent that is used here."""

    def note(self, op: Note[P], /, *args: P.args, **kwargs: P.kwargs) -> object: ...
    def flush(self) -> object: ...


def beat_every(hang_after: float) -> float:
    """Return the seconds between two beats."""
    return min(max(hang_after / _BEATS, _MOST_OFTEN), _LEAST_OFTEN)


def margin_of(hang_after: float) -> float:
    """Return how much longer than *hang_after* the parent waits, for the stacks to be written."""
    return min(max(hang_after / _BEATS, 0.25), 1.0)


def last_dump(lines: list[str]) -> list[str]:
    """Return the last dump of stacks among *lines*, nothing if there is none."""
    for start in range(len(lines) - 1, -1, -1):
        if lines[start].startswith(_STACKS_BEGIN):
            return lines[start:]
    return []


def stacks_of(lines: list[str]) -> list[str]:
    """Return the last dump of stacks among *lines*, or else the last 20 of them."""
    return last_dump(lines) or lines[-20:]


def crash_of(lines: list[str], most: int) -> list[str]:
    """Return the last lines before a crash in C, and the stack of the thread that crashed; *most* of each."""
    start = next((n for n, line in enumerate(lines) if line.startswith(_CRASH_BEGINS)), None)
    if start is None:
        return lines[-most:]
    stack = lines[start + 1 :]
    # Its heading is another one than those of the other threads.
    mine = next((n for n, line in enumerate(stack) if line.startswith("Current thread ")), 0)
    stack = list(takewhile(bool, stack[mine:]))[:most]
    return [*lines[max(0, start - most) : start + 1], *stack]


def debugging() -> bool:
    """Whether a debugger may have stopped this node."""
    tracer = sys.gettrace()
    # A tracer that measures coverage stops nothing.
    traced = tracer is not None and not type(tracer).__module__.startswith("coverage")
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None:
        traced = True
    return traced or sys.flags.dev_mode or bool(os.environ.get("PYTHONASYNCIODEBUG"))


class Heartbeat:
    """The node's side: sends beats, dumps stacks when it cannot, and reports memory over the limit.

    Attributes:
        late: how many seconds the last beat was late, because the loop was busy.
    """

    def __init__(self, loop: Clock, parent: Parent, config: dict[str, Any]) -> None:
        self.late: float = 0.0
        self._loop = loop
        self._parent = parent
        self._silent_after: float = config["silent_after"]
        self._max_rss: int | None = config["max_rss"]
        # A process has one such timer; the stacks of a thread node are read by the parent.
        self._dumps: bool = config["dumps"]
        self._every = beat_every(self._silent_after)
        if self._max_rss is not None:
            self._every = min(self._every, _MEMORY_EVERY)
        self._timer: Timer | None = None
        self._due = 0.0
        self._paused = False

    def start(self) -> None:
        """Send beats from now on."""
        self._due = self._loop.now()
        self._beat()

    def _beat(self) -> None:
        now = self._loop.now()
        self.late = max(0.0, now - self._due)
        self._due = now + self._every
        self._timer = self._loop.call_later(self._every, self._beat)
        self._send_beat(watched=not self._paused and not debugging())
        self._check_memory()

    def _send_beat(self, *, watched: bool) -> None:
        self._parent.note(ops.heartbeat, watched)
        if not self._dumps:
            return
        if watched:
            faulthandler.dump_traceback_later(self._silent_after, file=_STDERR)
        else:
            faulthandler.cancel_dump_traceback_later()

    def _check_memory(self) -> None:
        if self._max_rss is None:
            return
        resident = resident_memory()
        if resident > self._max_rss:
            self._parent.note(ops.over_rss, resident)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Expect no beats during the block: an import may keep the loop busy for a minute."""
        if self._timer is None or self._paused:
            yield
            return
        self._paused = True
        self._send_beat(watched=False)
        self._parent.flush()
        try:
            yield
        finally:
            self._paused = False
            if self._timer is not None:
                self._send_beat(watched=not debugging())

    def stop(self) -> None:
        """Stop sending beats; the parent expects none."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        if self._dumps:
            faulthandler.cancel_dump_traceback_later()


class HangDetector:
    """The parent's side: measures the silence of one run of a node.

    Args:
        loop: the parent's.
        hang_after: seconds of silence after which the node counts as hung; None watches nothing.
        hung: called once, when it does.
    """

    def __init__(self, loop: Clock, hang_after: float | None, hung: Callable[[], None]) -> None:
        self._loop = loop
        self._hung = hung
        self._limit = None if hang_after is None else hang_after + margin_of(hang_after)
        self._every = 0.0 if hang_after is None else beat_every(hang_after)
        self._watched = False
        self._silence = 0.0
        self._since = 0.0
        self._wait = 0.0
        self._timer: Timer | None = None

    @property
    def watched(self) -> bool:
        """Whether its silence means anything: it is neither importing nor being debugged."""
        return self._watched

    def start(self) -> None:
        """Count the node's silence from now on: it is ready."""
        if self._limit is not None:
            self.beat(watched=self._watched)
            self._next(self._limit)

    def beat(self, *, watched: bool) -> None:
        """Note that the node's loop runs; unless *watched*, do not count its silence from now on."""
        self._watched = watched
        self._silence = 0.0
        self._since = self._loop.now()

    def _next(self, limit: float) -> None:
        self._wait = max(min(self._every, limit - self._silence), 0.001)
        self._timer = self._loop.call_later(self._wait, self._check, limit)

    def _check(self, limit: float) -> None:
        now = self._loop.now()
        if self._watched:
            # However late this check is, it counts as if in time: what delayed it may have delayed
            # the reading of beats as well.
            self._silence += min(now - self._since, self._wait)
        self._since = now
        if self._silence >= limit:
            self._timer = None
            self._hung()
        else:
            self._next(limit)

    def stop(self) -> None:
        """Stop counting silence."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
