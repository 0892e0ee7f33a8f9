"""What one more restart costs: seconds of waiting, a share of the budget, or the end.

A child pays by its own backoff if it has one, else from the budget of its supervisor, never both,
and nothing at all for the loss of its host.
"""

from __future__ import annotations

from collections.abc import Callable

from anyio import current_time

from actors.supervisors._budget import Budget, RestartLog
from actors.supervisors._check import check_callable, check_type
from actors.supervisors._child_state import ChildRecord
from actors.supervisors._errors import ChildGaveUp, RestartBudgetExceeded
from actors.supervisors._events import BudgetExceeded, RestartScheduled, RestartsGivenUp
from actors.supervisors._exit import Exit
from actors.supervisors._lifecycle import SupervisorTask


class RestartLimiter:
    """The price list of one supervisor.

    Args:
        owner: The supervisor, which ends when the budget is exceeded.
        budget: What its children share.
        random: Gives a number in [0, 1), for jitter.

    Raises:
        InvalidPolicy: A value that can never work.
    """

    __slots__ = ("_log", "_owner", "_random")

    def __init__(self, owner: SupervisorTask, budget: Budget, random: Callable[[], float]) -> None:
        check_type("budget", budget, Budget)
        check_callable("random", random)
        self._owner = owner
        self._log = RestartLog(budget)
        self._random = random

    def restart(self, row: ChildRecord, exit_: Exit, *, excused: bool) -> float | Exit:
        """Charge one restart; return the seconds until it is made, or how the life ends instead.

        Args:
            row: The child that needs it.
            exit_: Why it does.
            excused: Whether its host was away when that happened.
        """
        price = self._price(row, exit_, excused=excused)
        if isinstance(price, float):
            row.attempts += 1
            self._owner.report(
                RestartScheduled(self._owner.name, row.spec.name, price, row.attempts)
            )
        return price

    def _price(self, row: ChildRecord, exit_: Exit, *, excused: bool) -> float | Exit:
        if excused or row.hostless:
            return 0.0
        if row.backoff is not None:
            delay = row.backoff.next(current_time(), self._random)
            return self._give_up(row, exit_) if delay is None else delay
        if self._log.record(current_time(), exit_):
            return 0.0
        self._exceed(row, exit_)
        return exit_

    def _give_up(self, row: ChildRecord, exit_: Exit) -> Exit:
        restarts = 0 if row.backoff is None else row.backoff.restarts
        error = ChildGaveUp(self._owner.name, row.spec.name, restarts=restarts)
        error.__cause__ = exit_.error
        given_up = Exit.CRASHED(error)
        self._owner.report(RestartsGivenUp(self._owner.name, row.spec.name, given_up))
        return given_up

    def _exceed(self, row: ChildRecord, exit_: Exit) -> None:
        owner, name, budget = self._owner, row.spec.name, self._log.budget
        first = self._log.first or exit_
        error = RestartBudgetExceeded(
            owner.name, name, restarts=budget.restarts, within=budget.within
        )
        error.__cause__ = first.error
        owner.report(BudgetExceeded(owner.name, name, budget.restarts, budget.within, first, exit_))
        owner.fail(error)
