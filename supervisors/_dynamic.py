"""The dynamic supervisor: any number of children that come and go at run time."""

from __future__ import annotations

from collections.abc import Callable
from random import random as _random
from typing import NoReturn

from anyio.abc import TaskGroup

from actors.supervisors._budget import Budget
from actors.supervisors._check import check_count, check_number, check_type
from actors.supervisors._child import Child
from actors.supervisors._child_state import count
from actors.supervisors._child_table import ChildTable
from actors.supervisors._dynamic_children import DynamicChildren
from actors.supervisors._errors import (
    AlreadyPresent,
    AlreadyStarted,
    InvalidPolicy,
    MaxChildren,
    NotSupported,
    SupervisorStopped,
)
from actors.supervisors._events import Reporter
from actors.supervisors._exit import Exit
from actors.supervisors._info import ChildInfo, Count
from actors.supervisors._lifecycle import SupervisorTask
from actors.supervisors._restart_limits import RestartLimiter
from actors.supervisors._spec import ChildSpec


class DynamicSupervisor:
    """Starts children when told to, restarts each by itself, forgets each that ended for good.

    It is a `Child` itself, and ends as `Supervisor` does. It owns one task in *tasks*, plus one for
    each child that is being brought back; a child that runs has none. Starting happens in the
    caller's task.

    Args:
        name: Its name or path, for reports and errors.
        tasks: The task group of the host, which must outlive the supervisor.
        budget: How many restarts its children have together, those with a backoff of their own left
            out.
        max_children: How many it may have, those that wait for a restart included; None is no
            limit.
        report: Told what happens, from the loop. One that raises ends the supervisor as CRASHED.
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
        self._owner = SupervisorTask(
            name,
            tasks,
            report=report,
            shutdown_deadline=shutdown_deadline,
            abandon_after=abandon_after,
        )
        self._max_children = max_children
        self._rows = ChildTable(self._owner, keeps=False)
        self._crowd = DynamicChildren(
            self._owner, self._rows, RestartLimiter(self._owner, budget, random)
        )

    @property
    def name(self) -> str:
        """Its name or path."""
        return self._owner.name

    @property
    def running(self) -> bool:
        """Whether its start has returned, and it is not about to end."""
        return self._owner.open

    # The four verbs of a child.

    async def start(self, ended: Callable[[Exit], None] | None = None) -> None:
        """Start, with no children.

        Args:
            ended: Told, from the loop, how the supervisor ended; never if this raises.

        Raises:
            SupervisorStopped: It was stopped meanwhile.
        """
        await self._owner.start(self._crowd, ended or _nobody)

    async def wait(self) -> Exit:
        """Wait for the end and return it; no child is left then."""
        return await self._owner.wait()

    def stop(self) -> None:
        """Have an orderly end: children are asked together, and have the longest grace of any."""
        self._owner.stop()

    def kill(self) -> None:
        """End at once: all children are killed together."""
        self._owner.kill()

    # Children.

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
        if spec.significant:
            raise InvalidPolicy(
                f"significant child {spec.name!r} needs a static supervisor with an auto_shutdown"
            )
        self._check_running()
        self._check_room(spec.name)
        run = await self._crowd.start(self._rows.add(spec))
        return None if run is None else run.child

    async def stop_child(self, name: str, *, grace: float | None = None) -> None:
        """Stop a child and forget it, whether it runs, starts, or waits for a restart.

        Cancelling this does not take back what was asked: the child is stopped nevertheless.

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
        row = self._rows.get(name)
        if grace is not None:
            row.grace = grace
        await self._crowd.stop(row)

    async def restart_child(self, name: str) -> NoReturn:
        """Refuse: there is no child that is stopped.

        Raises:
            NotSupported: Always.
        """
        raise NotSupported(
            self.name, f"restart {name!r}", instead="it forgets children that end; start a new one"
        )

    def delete_child(self, name: str) -> NoReturn:
        """Refuse: there is no child that is stopped.

        Raises:
            NotSupported: Always.
        """
        raise NotSupported(self.name, f"delete {name!r}", instead="stop_child() forgets it, too")

    def children(self) -> list[ChildInfo]:
        """Return all children, the newest first.

        Raises:
            SupervisorStopped: The supervisor has not been started, or has ended.
        """
        self._check_visible()
        return [row.info() for row in reversed(self._rows.by_name.values())]

    def count(self) -> Count:
        """Return how many children there are; `specs` is their number, as each has its own.

        Raises:
            SupervisorStopped: The supervisor has not been started, or has ended.
        """
        self._check_visible()
        return count(self._rows.by_name.values())

    def get_spec(self, name: str) -> ChildSpec:
        """Return the spec of a child.

        Raises:
            NotFound: There is no such child.
            SupervisorStopped: The supervisor has not been started, or has ended.
        """
        self._check_visible()
        return self._rows.get(name).spec

    # Checks.

    def _check_room(self, name: str) -> None:
        present = self._rows.by_name.get(name)
        if present is not None and present.run is not None:
            raise AlreadyStarted(self.name, name, running=present.run.child)
        if present is not None:
            raise AlreadyPresent(self.name, name)
        if self._max_children is not None and len(self._rows.by_name) >= self._max_children:
            raise MaxChildren(self.name, name, limit=self._max_children)

    def _check_running(self) -> None:
        if not self._owner.running:
            raise SupervisorStopped(self.name)

    def _check_visible(self) -> None:
        if not self._owner.visible:
            raise SupervisorStopped(self.name)


def _nobody(_: Exit) -> None:
    """Take no note of the end."""
