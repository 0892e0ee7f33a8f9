"""What keeps a loop that does not turn: the actor, its message and the stack.

Rule 1: handlers pay nothing. A thread looks at the loop's thread a few times a second, and at nothing else
while no actor's code runs. When none has run for a while, and none waits for anything, it sleeps until some
code begins: a node whose actors are idle is not woken.
Rule 2: what it found is told when the loop turns again. Until then it is in memory that the parent has open.
Rule 3: the parent takes from that memory what a block has, and nothing that could harm it.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from actors._actor.handler_times import Steps
from actors._actor.incarnation import Incarnation
from actors._actor.message_loop import MessageLoop
from actors._actor.tasks import ActorTasks
from actors._base.first_step import Stepper
from actors.nodes.health.heartbeat import debugging

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType, FrameType

    from actors._actor.activity import Activity
    from actors._base.loop import Loop

__all__ = ["BlockWatch", "WatchedHost", "Work", "message_in", "read_page", "stack_of", "work_of"]

_CALLERS: Final = tuple(
    f'"{code.co_filename}"'
    for code in (MessageLoop.take.__code__, Stepper.step.__code__, Steps.send.__code__)
)
"""The files, as faulthandler shows them, whose functions call the handlers of actors."""
_TOLD_EVERY: Final = 10.0
"""Seconds between two events about the same message of the same actor."""
_NOT_TOLD: Final = 5.0
"""Seconds of one actor's code after which it is on the page, where nothing is told."""
_LONGEST: Final = 1 << 20
"""Bytes of a page that are read."""
_QUIET: Final = 8
"""Looks in a row between which no actor's code began; then the thread sleeps until some does."""
_REMEMBERED: Final = 256
"""Messages whose last event is remembered; one more, and all are forgotten."""


class WatchedHost(Protocol):
    """The actors of a node, as the watch of their loop sees them."""

    loop: Loop
    activity: Activity

    def at_rest(self) -> bool: ...


class Work(NamedTuple):
    """The actor whose code runs in a thread, and what it handles."""

    actor: str
    message: str


def message_in(lines: list[str]) -> str:
    """Return the function that an actor's message loop has called, by faulthandler's lines about a stack."""
    for inner, outer in itertools.pairwise(lines):
        if any(file in outer for file in _CALLERS) and not any(file in inner for file in _CALLERS):
            return inner.rpartition(" in ")[2]
    return ""


def _current(variables: Mapping[str, Any]) -> Work:
    run: Incarnation = variables["self"]
    return Work(run.ref.name, run.message_loop.current_name)


def _answered(variables: Mapping[str, Any]) -> Work:
    return Work(variables["self"].turn.sender.ref.name, variables["envelope"].handler.name)


def _started(variables: Mapping[str, Any]) -> Work:
    return Work(variables["self"].ref.name, "(start)")


def _closed(variables: Mapping[str, Any]) -> Work:
    return Work(variables["self"].ref.name, "(stop)")


def _task(variables: Mapping[str, Any]) -> Work:
    fn = variables["fn"]
    return Work(variables["self"].name, f"task {getattr(fn, '__qualname__', fn)}")


_KNOWN: Final[dict[CodeType, Callable[[Mapping[str, Any]], Work]]] = {
    MessageLoop.answer_call.__code__: _answered,
    MessageLoop.handle_now.__code__: _answered,
    Incarnation.start.__code__: _started,
    Incarnation._close.__code__: _closed,  # noqa: SLF001 - as above
    ActorTasks._run.__code__: _task,  # noqa: SLF001 - as above
    Incarnation._run_step.__code__: _current,  # noqa: SLF001 - as above
}
"""The functions that call the code of actors, and how their variables name the actor and the message.

Not `MessageLoop.take`: before Python 3.13 a frame keeps the variables that were asked for, and that one
lives as long as the actor: it would keep a message.
"""


def work_of(frame: FrameType | None) -> Work | None:
    """Return whose code runs in the thread with this *frame*, None if it is no actor's."""
    while frame is not None:
        known = _KNOWN.get(frame.f_code)
        if known is not None:
            return known(frame.f_locals)
        frame = frame.f_back
    return None


def _runs_an_actor(frame: FrameType | None) -> bool:
    """Whether an actor's code runs in the thread with this *frame*; looks at no variables."""
    while frame is not None and frame.f_code not in _KNOWN:
        frame = frame.f_back
    return frame is not None


def stack_of(frame: FrameType | None) -> str:
    """Return the stack of a thread as text, the most recent call last."""
    return "" if frame is None else "".join(traceback.format_stack(frame)).rstrip()


class BlockWatch:
    """Watches the loop of the thread that makes it, from a thread of its own.

    Args:
        host: the node whose actors run on the loop.
        block_after: seconds of one actor's code without a turn of the loop that are told; None tells none.
        tell: called in the loop's thread with the facts of a block, when it is over.
        shared: whether another process may read what is found; see `page`.

    Attributes:
        page: a descriptor of memory that holds the facts of the current block as JSON, -1 for none.
    """

    def __init__(
        self,
        host: WatchedHost,
        block_after: float | None,
        tell: Callable[[dict[str, Any]], object],
        *,
        shared: bool,
    ) -> None:
        self.page: int = os.memfd_create("actors-block") if shared else -1
        self._loop = host.loop
        self._at_rest = host.at_rest
        self._activity = host.activity
        self._after = block_after or _NOT_TOLD
        self._tell = None if block_after is None else tell
        self._watched = threading.get_ident()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._looked, self._cpu = time.monotonic(), 0.0
        self._since: float | None = None
        self._found: dict[str, Any] | None = None
        self._told: dict[Work, float] = {}
        self._thread = threading.Thread(target=self._run, name="actors block watch", daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._over.set()
        self._activity.release()
        if self._thread.ident is not None:
            self._thread.join()
        if self.page >= 0:
            os.close(self.page)
            self.page = -1

    def _run(self) -> None:
        quiet = 0
        while not self._over.wait(max(0.0, self._looked + self._after / 2 - time.monotonic())):
            now = time.monotonic()
            since = self._kept_from(now)
            # In no variable of a function that goes on: the frame would keep what it has.
            self._look(sys._current_frames().get(self._watched), now, since)  # noqa: SLF001 - there is no other way
            if not self._activity.awaited:
                self._activity.expect()
                quiet = 0
            quiet += 1
            if quiet > _QUIET and self._at_rest():
                self._sleep()

    def _sleep(self) -> None:
        """Look no more until code of an actor begins; that is when this thread has last looked."""
        self._activity.wait()
        self._looked, self._cpu = self._activity.since, self._activity.used

    def _kept_from(self, now: float) -> float:
        """Return since when code that holds the interpreter's lock has kept this thread from looking."""
        cpu = time.clock_gettime(time.pthread_getcpuclockid(self._watched))
        looked, self._looked = self._looked, now
        used, self._cpu = cpu - self._cpu, cpu
        return looked if now - looked > self._after and used > self._after / 2 else now

    def _look(self, frame: FrameType | None, now: float, since: float) -> None:
        """See whether the loop has turned since an actor's code was first seen running."""
        if not _runs_an_actor(frame):
            return
        with self._lock:
            if self._since is None:
                self._since = since
                try:
                    self._loop.call_threadsafe(self._turned)
                except RuntimeError:
                    self._over.set()  # the loop has ended
            if self._found is None and now - self._since >= self._after:
                work = work_of(frame)
                if work is None:
                    return  # its code has ended since this thread asked for the frame
                since = time.time() - (now - self._since)
                self._found = {**work._asdict(), "since": since, "stack": stack_of(frame)}
                if self.page >= 0:
                    os.pwrite(self.page, json.dumps(self._found).encode(), 0)

    def _turned(self) -> None:
        """The loop turns: tell what had kept it, if that was long."""
        with self._lock:
            since, self._since = self._since, None
            found, self._found = self._found, None
            if found is not None and self.page >= 0:
                os.ftruncate(self.page, 0)
        if found is None or since is None or self._tell is None or debugging():
            return
        now = time.monotonic()
        work = Work(found["actor"], found["message"])
        if now - self._told.get(work, -_TOLD_EVERY) < _TOLD_EVERY:
            return
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told[work] = now
        self._tell({**work._asdict(), "seconds": round(now - since, 3), "stack": found["stack"]})


def read_page(fd: int) -> dict[str, Any]:
    """Return the facts of the block on a page; nothing if there is none, or none that a node writes."""
    text = os.pread(fd, min(os.fstat(fd).st_size, _LONGEST), 0)
    try:
        facts = json.loads(text)
        since = min(max(0.0, float(facts["since"])), time.time())
        texts = {name: str(facts[name]) for name in ("actor", "message", "stack")}
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}  # empty, or being written
    return {**texts, "since": since}
