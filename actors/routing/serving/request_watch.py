"""Looks at the requests that run: reports slow ones with their stacks, and ends those that take too long.

Rule 1: nothing is done for each request: all that run are looked at, several times in the shortest limit. A
request counts from the first look that sees it.
Rule 2: each is reported once, and ended in any case; how many reports there are at once is bounded.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

from actors._base.user_traceback import is_ours
from actors.routing.events import RequestEnded, RequestSlow
from actors.routing.interfaces import Report
from actors.routing.listen.application import Asgi
from actors.routing.serving.access_log import request_texts
from actors.routing.serving.connection_owner import Answer
from actors.routing.serving.http_cycle import Cycle
from actors.routing.serving.wsgi_app import frame_of_thread

__all__ = ["RequestWatch"]

_LOOKS: Final = 8
"""Looks in the shortest limit."""
_LEAST: Final = 0.005
"""Seconds between two looks, at least."""
_REPORTS: Final = 10
"""Reports of one look: clients choose how many requests are slow. The others are told by the next looks."""
_DEEPEST: Final = 40
"""Frames of a stack that are reported, the innermost ones."""
_LONGEST: Final = 200
"""Characters of a path that are reported; a client chooses it."""


class RequestWatch:
    """Watches what *running* holds.

    Args:
        spec: its `slow` and `timeout` are the limits.
        listener: the listener's name.
        report: takes the records.
    """

    def __init__(self, spec: Asgi, listener: str, report: Report) -> None:
        self.running: set[Answer] = set()
        """What the application answers."""
        self._slow = spec.slow
        self._timeout = spec.timeout
        self._listener = listener
        self._report = report
        limits = [limit for limit in (spec.slow, spec.timeout) if limit is not None]
        self._every = max(_LEAST, min(limits) / _LOOKS) if limits else 0.0
        self._since: dict[Answer, float] = {}
        self._told: set[Answer] = set()
        self._room = 0
        """Reports that this look may still make."""
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look from now on, if there is a limit."""
        if self._every:
            self._timer = loop.call_later(self._every, self._look, loop)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._room = _REPORTS
        self._since = {answer: self._since.get(answer, now) for answer in self.running}
        self._told &= self._since.keys()
        for answer, since in self._since.items():
            if isinstance(answer, Cycle) and not answer.is_event_stream:
                self._judge(answer, now - since)
        self._timer = loop.call_later(self._every, self._look, loop)

    def _judge(self, cycle: Cycle, seconds: float) -> None:
        room = self._room > 0
        if room and self._slow is not None and seconds >= self._slow and cycle not in self._told:
            self._tell(cycle, RequestSlow, self._slow)
            self._told.add(cycle)
        if self._timeout is not None and seconds >= self._timeout and not cycle.disconnected:
            if self._room > 0:
                self._tell(cycle, RequestEnded, self._timeout)
            cycle.time_out()

    def _tell(self, cycle: Cycle, kind: type[RequestSlow | RequestEnded], seconds: float) -> None:
        self._room -= 1
        client, path = request_texts(cycle.scope)
        facts = client, cycle.scope["method"], path[:_LONGEST], seconds, _stack(cycle)
        self._report(kind(self._listener, *facts))


def _stack(cycle: Cycle) -> str:
    """Return where the application is, the outermost frame first, without frames of this package."""
    frames = () if cycle.task is None else _frames_of(cycle.task)
    lines = [_line_of(*frame) for frame in frames if not is_ours(frame[0].f_code.co_filename)]
    return "".join(traceback.format_list(lines[-_DEEPEST:])).rstrip()


def _frames_of(task: asyncio.Task[Any]) -> Iterator[tuple[FrameType, int]]:
    waiting: Any = task.get_coro()
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
        if frame is not None:
            yield frame, frame.f_lineno
        # What an async generator waits for is in none of its attributes.
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
    thread = frame_of_thread(task)
    if thread is not None:
        yield from reversed(list(traceback.walk_stack(thread)))


def _line_of(frame: FrameType, number: int) -> traceback.FrameSummary:
    code = frame.f_code
    return traceback.FrameSummary(code.co_filename, number, code.co_name)
