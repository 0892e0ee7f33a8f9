"""The static supervisor: children in an order, who are restarted together as its strategy says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from random import random as _random
from typing import TypeVar

from anyio.abc import TaskGroup

from actors._known_options import known_options
from actors.supervisors._abstract_supervisor import AbstractSupervisor
from actors.supervisors._check import check_member, check_type
from actors.supervisors._child import Child
from actors.supervisors._errors import InvalidPolicy
from actors.supervisors._events import Reporter
from actors.supervisors._restart_limits import Budget
from actors.supervisors._spec import ChildSpec
from actors.supervisors._static_children import StaticChildren
from actors.supervisors._strategy import AutoShutdown, Strategy
from actors.supervisors._task import SupervisorCall, SupervisorTask

T = TypeVar("T")


@known_options(InvalidPolicy)
class Supervisor(AbstractSupervisor):
    """Starts children in order, restarts them by its strategy, and stops them in reverse, as OTP.

    It is a `Child` itself, so it nests: it ends by SHUTDOWN when it was asked to or by
    auto-shutdown, by ``CRASHED(RestartBudgetExceeded)`` when a child needs more restarts than its
    budget has, and by KILLED when it was killed. One object is one run.

    It owns one task, in *tasks*, whatever its number of children. When that group is cancelled the
    children are killed. All calls belong to the loop's thread. A child must not wait for a call to
    its own supervisor while it starts.

    Args:
        name: Its name or path, for reports and errors.
        children: Specs in start order; names are unique.
        tasks: The task group of the host, which must outlive the supervisor.
        strategy: Who is restarted together with whom.
        budget: How many restarts its children have together, those with a backoff of their own left
            out.
        auto_shutdown: Which significant children end it by ending.
        report: Called, from the loop, with each event. If it raises, the supervisor ends as
            CRASHED.
        random: Gives a number in [0, 1), for the jitter of backoffs.
        shutdown_deadline: Seconds an orderly end may take all in all; then what is left is killed.
            None is no limit.
        abandon_after: Seconds a killed child is waited for before it is ABANDONED; twice that for
            supervisors.

    Raises:
        InvalidPolicy: A value that can never work; nothing has been started.
    """

    def __init__(
        self,
        name: str,
        children: Iterable[ChildSpec] = (),
        *,
        tasks: TaskGroup,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        budget: Budget = Budget(),  # noqa: B008 - frozen
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
        report: Reporter | None = None,
        random: Callable[[], float] = _random,
        shutdown_deadline: float | None = None,
        abandon_after: float = 5.0,
    ) -> None:
        check_member("strategy", strategy, Strategy)
        check_member("auto_shutdown", auto_shutdown, AutoShutdown)
        task = SupervisorTask(
            name,
            tasks,
            report=report,
            shutdown_deadline=shutdown_deadline,
            abandon_after=abandon_after,
        )
        self._auto = auto_shutdown
        self._children = StaticChildren(task, budget, random, strategy=strategy, auto=auto_shutdown)
        super().__init__(task, self._children, self._children.table)
        for spec in children:
            self._check(spec)
            if spec.name in self._table.by_name:
                raise InvalidPolicy(f"names of children must be unique, got {spec.name!r} twice")
            self._table.add(spec)

    async def start_child(self, spec: ChildSpec) -> Child | None:
        """Add a child after all others, start it, and return its run.

        Returns None if the child said that there is nothing to run.
        Cancelling this cancels the start, and leaves no child behind.

        Raises:
            InvalidPolicy: The spec can never work here.
            AlreadyStarted: A child of this name is running.
            AlreadyPresent: A child of this name is kept, or waits for its restart.
            ChildNotStarted: It did not start; its spec is forgotten again.
            SupervisorStopped: The supervisor is not running.
        """
        self._check(spec)
        return await self._call(partial(self._add, spec), partial(self._remove, spec.name))

    async def stop_child(self, name: str) -> None:
        """Stop a child, or end its waiting for a restart. Its spec is kept, unless it is TEMPORARY.

        A child that is starting is interrupted. Stopping a child that is stopped already changes
        nothing.

        Raises:
            NotFound: There is no such child.
            SupervisorStopped: The supervisor is not running.
        """
        self._check_running()
        self._children.interrupt_start(self._table.get(name))
        await self._call(partial(self._stop, name))

    async def restart_child(self, name: str) -> Child | None:
        """Start a child that is stopped, and return its run.

        Returns None if the child said that there is nothing to run.
        Costs nothing of the budget. Cancelling this cancels the start.

        Raises:
            NotFound: There is no such child.
            ChildRunning: It is running.
            ChildRestarting: It waits for its restart.
            ChildNotStarted: It did not start; its spec is kept.
            SupervisorStopped: The supervisor is not running.
        """
        return await self._call(partial(self._restart, name), partial(self._stop, name))

    def delete_child(self, name: str) -> None:
        """Forget a child that is stopped.

        Raises:
            NotFound: There is no such child.
            ChildRunning: It is running.
            ChildRestarting: It waits for its restart.
            SupervisorStopped: The supervisor is not running.
        """
        self._check_running()
        self._table.get_stopped(name)
        del self._table.by_name[name]

    # In the supervisor's task.

    async def _add(self, spec: ChildSpec) -> Child | None:
        self._check_new(spec.name)
        row = self._table.add(spec)
        try:
            run = await self._children.start(row)
        except BaseException:
            self._table.by_name.pop(spec.name, None)
            raise
        return None if run is None else run.child

    async def _remove(self, name: str) -> None:
        await self._stop(name)
        self._table.by_name.pop(name, None)

    async def _stop(self, name: str) -> None:
        row = self._table.by_name.get(name)
        if row is not None:
            await self._children.stop(row)

    async def _restart(self, name: str) -> Child | None:
        run = await self._children.start(self._table.get_stopped(name))
        return None if run is None else run.child

    # Checks.

    async def _call(
        self, work: Callable[[], Awaitable[T]], undo: Callable[[], Awaitable[None]] | None = None
    ) -> T:
        self._check_running()
        answer: T = await self._children.call(SupervisorCall(work, undo))
        return answer

    def _check(self, spec: ChildSpec) -> None:
        check_type("child", spec, ChildSpec)
        if spec.significant and self._auto is AutoShutdown.NEVER:
            raise InvalidPolicy(
                f"significant child {spec.name!r} needs an auto_shutdown, got AutoShutdown.NEVER"
            )
