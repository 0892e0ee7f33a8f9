"""What a start waits for: what that asks of the system must not wait for the start itself.

Rule: it is one task that is waited for. Nobody can know whether this one waits for a task that it has started,
so that such tasks are told apart, and not refused.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from anyio import get_current_task

__all__ = ["WaitedStart", "start_perhaps_waits_for", "start_waits_for"]

_STARTS: Final[ContextVar[WaitedStart | None]] = ContextVar("actors_waited_start", default=None)


class WaitedStart:
    """A start that waits for the task in which this is made, and which runs *what*."""

    def __init__(self, what: str) -> None:
        self._task = _this_task()
        self.what = what
        _STARTS.set(self)

    def over(self) -> None:
        """Say that it no longer waits for the task."""
        self.what = ""

    @property
    def is_here(self) -> bool:
        """Whether the calling task is the one that is waited for."""
        return self._task == _this_task()


def start_waits_for() -> str:
    """Return what the calling task runs, if a start waits for it; "" otherwise."""
    start = _STARTS.get()
    return start.what if start is not None and start.is_here else ""


def start_perhaps_waits_for() -> str:
    """Return what a start waits for and has started the calling task, for which it waits too, or not; or ""."""
    start = _STARTS.get()
    return start.what if start is not None and not start.is_here else ""


def _this_task() -> int:
    try:
        return get_current_task().id
    except RuntimeError:  # no event loop runs here
        return 0
