"""How often children are restarted: the budget of a supervisor, and who may be restarted when.

A child with a backoff is limited by that alone, any other by the budget of its supervisor. A
restart because the host went away is not limited, nor one after an end that the spec says is not charged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from anyio import current_time

from actors._known_options import known_options
from actors.supervisors._check import check_callable, check_count, check_positive, check_type
from actors.supervisors._child_record import ChildRecord
from actors.supervisors._errors import ChildGaveUp, InvalidPolicy, RestartBudgetExceeded
from actors.supervisors._events import BudgetExceeded, RestartScheduled, RestartsGivenUp
from actors.supervisors._exit import Exit
from actors.supervisors._task import SupervisorTask


@known_options(InvalidPolicy)
@dataclass(frozen=True, slots=True)
class Budget:
    """At most *restarts* attempts in any *within* seconds, for all children of a supervisor.

    Attributes:
        restarts: Attempts allowed; 0 means that nothing is ever restarted.
        within: Length of the sliding window, in seconds; both of its ends belong to it.

    Raises:
        InvalidPolicy: A value that can never work.
    """

    restarts: int = 3
    within: float = 5.0

    def __post_init__(self) -> None:
        check_count("restarts", self.restarts)
        check_positive("within", self.within)


class RestartLog:
    """The restarts counted against one budget, as far back as its window reaches.

    Reads no clock: the time is handed in.
    """

    __slots__ = ("_entries", "budget")

    def __init__(self, budget: Budget) -> None:
        self.budget: Budget = budget
        self._entries: deque[tuple[float, Exit | None]] = deque()

    def record(self, now: float, why: Exit | None = None) -> bool:
        """Count one restart attempt and return whether it is still within the budget.

        Args:
            now: The time in seconds, never less than before.
            why: How the run ended that is restarted.
        """
        self._entries.append((now, why))
        while self._entries[0][0] < now - self.budget.within:
            self._entries.popleft()
        return len(self._entries) <= self.budget.restarts

    @property
    def first(self) -> Exit | None:
        """The oldest end within the window that has an error, else the oldest one."""
        ends = [why for _, why in self._entries if why is not None]
        return next((why for why in ends if why.error is not None), ends[0] if ends else None)


class RestartLimiter:
    """Limits the restarts of one supervisor's children.

    Args:
        task: The supervisor's, which ends when the budget is exceeded.
        budget: What its children share.
        random: Gives a number in [0, 1), for jitter.

    Raises:
        InvalidPolicy: A value that can never work.
    """

    __slots__ = ("_log", "_random", "_task")

    def __init__(self, task: SupervisorTask, budget: Budget, random: Callable[[], float]) -> None:
        check_type("budget", budget, Budget)
        check_callable("random", random)
        self._task = task
        self._log = RestartLog(budget)
        self._random = random

    def restart(self, row: ChildRecord, exit_: Exit, *, host_was_down: bool) -> float | Exit:
        """Count and report one restart; return the seconds until it is made, or how the life ends instead.

        One that is charged to nobody is made at once, and neither counted nor reported.

        Args:
            row: The child that needs it.
            exit_: How its run ended.
            host_was_down: Whether its host was down at that time.
        """
        if _uncharged(row, exit_):
            return 0.0
        delay = self._delay(row, exit_, host_was_down=host_was_down)
        if isinstance(delay, float):
            row.attempts += 1
            self._task.report(RestartScheduled(self._task.name, row.spec.name, delay, row.attempts))
        return delay

    def _delay(self, row: ChildRecord, exit_: Exit, *, host_was_down: bool) -> float | Exit:
        if host_was_down or row.host_down:
            return 0.0
        if row.backoff is not None:
            futile = row.spec.futile
            failed = row.error is not None or (futile is not None and futile(exit_))
            delay = row.backoff.next(current_time(), self._random, start_failed=failed)
            return self._give_up(row, exit_, row.backoff.restarts) if delay is None else delay
        if self._log.record(current_time(), exit_):
            return 0.0
        self._exceed(row, exit_)
        return exit_

    def _give_up(self, row: ChildRecord, exit_: Exit, restarts: int) -> Exit:
        error = ChildGaveUp(self._task.name, row.spec.name, restarts=restarts)
        error.__cause__ = exit_.error
        given_up = Exit.CRASHED(error)
        self._task.report(RestartsGivenUp(self._task.name, row.spec.name, given_up))
        return given_up

    def _exceed(self, row: ChildRecord, exit_: Exit) -> None:
        task, name, budget = self._task, row.spec.name, self._log.budget
        first = self._log.first or exit_
        error = RestartBudgetExceeded(
            task.name, name, restarts=budget.restarts, within=budget.within
        )
        error.__cause__ = first.error
        task.report(BudgetExceeded(task.name, name, budget.restarts, budget.within, first, exit_))
        task.fail(error)


def _uncharged(row: ChildRecord, exit_: Exit) -> bool:
    """Return whether the restart after *exit_* counts nowhere; one that follows a failed start counts."""
    free = row.spec.uncharged
    return free is not None and row.error is None and free(exit_)
