"""Parking: an actor that has had nothing to do for a while has no task until there is something again.

Rule 1: to who sends, a parked actor is one that waits for a message; what wakes it starts its next task.
Rule 2: all tasks of an incarnation have one context. A task that others know of (a time limit, a task group or
a cancel scope that is open, code that asked for the current task) does not end before the incarnation does.
Rule 3: where every actor is parked, no timer runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors._base.loop import Interrupt, Loop, Successor, Timer

__all__ = ["NO_TASK", "Parkable", "Parked", "Parking"]

PARK_AFTER: Final = 10.0
"""Seconds without a message, at least; at most twice as many."""
_AT_ONCE: Final = 200
"""Actors that are looked at in one turn of the event loop."""
_PAUSE: Final = 0.01
"""Seconds between two such turns."""


class Parkable(Protocol):
    """An incarnation, as far as it is parked here."""

    def unpark(self, successor: Successor) -> None:
        """Go on in another task."""

    def park_if_quiet(self) -> bool:
        """Have its task end if no message came since the last call; return whether this was the last one."""


class Parked:
    """What wakes a parked actor, in place of the future for which its task would wait."""

    __slots__ = ("_run", "_successor")

    def __init__(self, run: Parkable, successor: Successor) -> None:
        self._run = run
        self._successor: Successor | None = successor

    def done(self) -> bool:
        """Whether it was woken."""
        return self._successor is None

    def set_result(self, _result: object, /) -> None:
        """Wake it."""
        successor, self._successor = self._successor, None
        assert successor is not None, "a parked actor is woken once"
        self._run.unpark(successor)


class _NoTask:
    """In place of an interrupt, where there is no task."""

    requested = False

    def request(self) -> None:
        """There is nothing to cancel."""

    async def run(self, step: Callable[[], Awaitable[None]]) -> None:
        raise AssertionError(f"{step} needs a task")


NO_TASK: Final[Interrupt] = _NoTask()


class Parking:
    """Parks the actors of a node that have a task and no messages."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._awake: dict[Parkable, None] = {}
        self._due: list[Parkable] = []
        """Who is still to be looked at before the next pause."""
        self._timer: Timer | None = None

    def woken(self, run: Parkable) -> None:
        """*run* has a task from now on."""
        self._awake[run] = None
        if self._timer is None:
            self._timer = self._loop.call_later(PARK_AFTER, self._look)

    def forget(self, run: Parkable) -> None:
        """*run* has ended."""
        self._awake.pop(run, None)
        if not self._awake and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._due.clear()

    def _look(self) -> None:
        awake, due = self._awake, self._due or list(self._awake)
        for run in due[:_AT_ONCE]:
            if run in awake and run.park_if_quiet():
                del awake[run]
        self._due = due = due[_AT_ONCE:]
        self._timer = None
        if awake:
            self._timer = self._loop.call_later(_PAUSE if due else PARK_AFTER, self._look)
        else:
            due.clear()
