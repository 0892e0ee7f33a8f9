"""A worker of a pool, as the queue sees it: the tasks that it has, and what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.durations import Histogram

if TYPE_CHECKING:
    from actors._pools.submitter import Loss, Submitter

__all__ = ["Journal", "PlacedTask", "PoolWorker"]

_AHEAD: Final = 2_000_000
"""Nanoseconds of work that a worker may have at once."""
_MOST_AHEAD: Final = 32
"""Tasks that a worker may have at once."""
_NEWER: Final = 0.25
"""What the last tasks of a worker count in the mean of their times."""
_LONG: Final = 20_000_000
"""Nanoseconds taken for the mean when it is not known, or wrong."""


class Journal(Protocol):
    """What a worker notes; see `LineReader`."""

    @property
    def begun(self) -> int: ...
    @property
    def run(self) -> tuple[int, int]: ...
    def results(self) -> dict[int, Any]: ...


class PlacedTask:
    """A task that has a place.

    Attributes:
        began: when it was the first of its worker; None while it is behind others.
        place: its number in its worker's line; 0 if it is in none.
    """

    __slots__ = ("began", "entered", "number", "place", "submitter", "ticket")

    def __init__(
        self, submitter: Submitter, ticket: int, number: int, entered: float, place: int
    ) -> None:
        self.submitter: Submitter = submitter
        self.ticket: int = ticket
        self.number: int = number
        self.entered: float = entered
        self.began: float | None = None
        self.place: int = place


class PoolWorker:
    """A worker, as the queue sees it.

    Attributes:
        slot: its number in the pool.
        member: the actor that gets messages.
        functions: the actor that gets functions; in a pool without a class the same one.
        ready: whether it takes tasks.
        renewing: why it takes no new task and is ended after its last one; "" if it is not.
        leaving: whether it takes no new task because the pool shrinks.
        ended_for: while it is being ended, the task that is to end, and why.
        idle_since: when it ran its last task.
        completed: how many tasks it has run since it was started.
        journal: says what of its line it has begun; None if it has no line.
        given: the number of the last task in its line.
    """

    __slots__ = (
        "_busy",
        "_busy_since",
        "_calls",
        "_mean",
        "_since",
        "_spent",
        "completed",
        "ended_for",
        "functions",
        "given",
        "idle_since",
        "journal",
        "leaving",
        "member",
        "ready",
        "renewing",
        "run",
        "slot",
        "tasks",
        "unreached",
    )

    def __init__(self, slot: int, now: float) -> None:
        self.slot: int = slot
        self.member: Any = None
        self.functions: Any = None
        self.ready: bool = False
        self.unreached: bool = False
        self.leaving: bool = False
        self.renewing: str = ""
        self.ended_for: tuple[PlacedTask | None, str, Loss] | None = None
        self.tasks: dict[tuple[Submitter, int], PlacedTask] = {}
        self.completed: int = 0
        self.run: Histogram = Histogram()
        self.idle_since: float = now
        self.journal: Journal | None = None
        self.given: int = 0
        self._mean: float = _LONG
        self._calls = self._spent = 0
        self._since = now
        self._busy = self._busy_since = 0.0

    @property
    def uids(self) -> tuple[int, ...]:
        """The numbers of its actors."""
        return () if self.functions is None else (self.member.uid, self.functions.uid)

    def has_line(self, journal: Journal | None) -> None:
        """Take tasks into a line from now on, which *journal* tells of; None ends that."""
        self.journal = journal
        self.given = 0
        self._mean, self._calls, self._spent = _LONG, 0, 0

    @property
    def first(self) -> PlacedTask | None:
        """The task that it has had for longest; of a line, the one that it runs."""
        return next(iter(self.tasks.values()), None)

    def had_begun(self, task: PlacedTask) -> bool:
        """Whether it has begun a task, as far as is known."""
        return not task.place or self.journal is None or task.place <= self.journal.begun

    def results(self) -> dict[int, Any]:
        """Return the results of its line that may not have come, by the numbers of their tasks."""
        return {} if self.journal is None else self.journal.results()

    @property
    def most(self) -> int:
        """How many tasks it may have in line: as many as it does within milliseconds."""
        if self.journal is None:
            return 1
        calls, spent = self.journal.run
        if calls > self._calls:
            mean = (spent - self._spent) / (calls - self._calls)
            self._mean += (_NEWER if self._calls else 1.0) * (mean - self._mean)
            self._calls, self._spent = calls, spent
        return min(int(_AHEAD / self._mean), _MOST_AHEAD) if self._mean > 0 else _MOST_AHEAD

    def gave_back(self) -> None:
        """Note that its tasks are not brief."""
        self._mean = _LONG

    def end(self, task: PlacedTask, now: float) -> None:
        """Give a task up."""
        del self.tasks[task.submitter, task.ticket]
        if not self.tasks:
            self._busy += now - self._busy_since
            self.idle_since = now

    def take(self, task: PlacedTask, now: float) -> None:
        """Take a task, behind those that it has."""
        if not self.tasks:
            self._busy_since = now
        self.tasks[task.submitter, task.ticket] = task

    def utilisation(self, now: float) -> float:
        """Return the part of its time in which it ran something."""
        busy = self._busy + (now - self._busy_since if self.tasks else 0.0)
        return busy / (now - self._since) if now > self._since else 0.0
