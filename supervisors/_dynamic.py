"""The dynamic supervisor: any number of children, started and stopped at run time."""

from __future__ import annotations

from collections.abc import Callable
from random import random as _random
from typing import NoReturn

from anyio.abc import TaskGroup

from actors._known_options import known_options
from actors.supervisors._abstract_supervisor import AbstractSupervisor
from actors.supervisors._check import check_count, check_number, check_type
from actors.supervisors._child import Child
from actors.supervisors._child_record import ChildRecord
from actors.supervisors._dynamic_children import AdoptedChild, DynamicChildren
from actors.supervisors._errors import InvalidPolicy, MaxChildren, NotSupported, SupervisorStopped
from actors.supervisors._events import Reporter
from actors.supervisors._restart_limits import Budget
from actors.supervisors._spec import ChildSpec
from actors.supervisors._task import SupervisorTask


@known_options(InvalidPolicy)
class DynamicSupervisor(AbstractSupervisor):
    """Starts children when told to, restarts each by itself, forgets each that ended for good.

    It is a `Child` itself, and ends as `Supervisor` does. It owns one task in *tasks*, plus one for
    each child that is being restarted; a child that runs has none. Starting happens in the caller's
    task.

    Args:
        name: Its name or path, for reports and errors.
        tasks: The task group of the host, which must outlive the supervisor.
        budget: How many restarts its children have together, those with a backoff of their own left
            out.
        max_children: How many it may have, those that wait for a restart included; None is no
            limit.
        report: Called, from the loop, with each event. If it raises, the supervisor ends as
            CRASHED.
        random: Gives a number in [0, 1), for the jitter of backoffs.
        shutdown_deadline: Seconds an orderly end may take all in all; None is no limit beyond the
            children's own.
        abandon_after: Seconds a killed child is waited for before it is ABANDONED; twice that for
            supervisors.

    Raises:
        InvalidPolicy: A value that can never work.
    """

    def __init__(
        self,
        name: str,
        *,
        tasks: TaskGroup,
        budget: Budget = Budget(),  # noqa: B008 - frozen
        max_children: int | None = None,
        report: Reporter | None = None,
        random: Callable[[], float] = _random,
        shutdown_deadline: float | None = None,
        abandon_after: float = 5.0,
    ) -> None:
        if max_children is not None:
            check_count("max_children", max_children)
        task = SupervisorTask(
            name,
            tasks,
            report=report,
            shutdown_deadline=shutdown_deadline,
            abandon_after=abandon_after,
        )
        self._max_children = max_children
        self._children = DynamicChildren(task, budget, random)
        super().__init__(task, self._children, self._children.table)

    async def start_child(self, spec: ChildSpec) -> Child | None:
        """Add a child and start it; return its run, or None if it said there is nothing to run.

        A child without a run is forgotten.
        Cancelling this cancels the start, and leaves no child behind.

        Raises:
            InvalidPolicy: The spec can never work here.
            AlreadyStarted: A child of this name is running.
            AlreadyPresent: A child of this name waits for its restart.
            MaxChildren: There is no room.
            ChildNotStarted: It did not start, and is forgotten.
            SupervisorStopped: The supervisor is not running.
        """
        check_type("child", spec, ChildSpec)
        self._check_running()
        run = await self._children.start(self._add(spec))
        return None if run is None else run.child

    def adopt_child(self, spec: ChildSpec, child: Child) -> AdoptedChild:
        """Add a child whose first run, *child*, somebody else starts; restarts are made here.

        It is there already, so this is allowed while the supervisor stops its children: it is one of them.

        Raises:
            InvalidPolicy: The spec can never work here.
            AlreadyStarted: A child of this name is running.
            AlreadyPresent: A child of this name waits for its restart.
            MaxChildren: There is no room.
            SupervisorStopped: The supervisor has not started, or has ended.
        """
        if not self._task.visible:
            raise SupervisorStopped(self.name)
        return self._children.adopt(self._add(spec), child)

    def _add(self, spec: ChildSpec) -> ChildRecord:
        check_type("child", spec, ChildSpec)
        if spec.significant:
            raise InvalidPolicy(
                f"significant child {spec.name!r} needs a static supervisor with an auto_shutdown"
            )
        self._check_new(spec.name)
        if self._max_children is not None and len(self._table.by_name) >= self._max_children:
            raise MaxChildren(self.name, spec.name, limit=self._max_children)
        return self._table.add(spec)

    async def stop_child(self, name: str, *, grace: float | None = None) -> None:
        """Stop a child and forget it, whether it runs, starts, or waits for a restart.

        If this is cancelled, the child is stopped all the same.

        Args:
            name: Which child.
            grace: Seconds it has before it is killed; None is what its spec says.

        Raises:
            InvalidPolicy: A grace that can never work.
            NotFound: There is no such child (any more).
            SupervisorStopped: The supervisor is not running.
        """
        if grace is not None:
            check_number("grace", grace, infinite=True)
        self._check_running()
        row = self._table.get(name)
        if grace is not None:
            row.grace = grace
        await self._children.stop(row)

    async def restart_child(self, name: str) -> NoReturn:
        """Refuse: no stopped child is kept.

        Raises:
            NotSupported: Always.
        """
        raise NotSupported(
            self.name, f"restart {name!r}", instead="it forgets children that end; start a new one"
        )

    def delete_child(self, name: str) -> NoReturn:
        """Refuse: no stopped child is kept.

        Raises:
            NotSupported: Always.
        """
        raise NotSupported(self.name, f"delete {name!r}", instead="stop_child() forgets it, too")
