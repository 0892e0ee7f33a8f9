"""What static and dynamic supervisors have in common: a life as a `Child`, and questions about children."""

from __future__ import annotations

from collections.abc import Callable, Collection

from actors.supervisors._child_record import ChildRecord, count
from actors.supervisors._child_table import ChildTable
from actors.supervisors._errors import AlreadyPresent, AlreadyStarted, SupervisorStopped
from actors.supervisors._exit import Exit
from actors.supervisors._info import ChildInfo, Count
from actors.supervisors._spec import ChildSpec
from actors.supervisors._task import SupervisorTask, SupervisorWork


class AbstractSupervisor:
    """A supervisor, static or dynamic."""

    def __init__(self, task: SupervisorTask, work: SupervisorWork, table: ChildTable) -> None:
        self._task = task
        self._work = work
        self._table = table

    @property
    def name(self) -> str:
        """Its name or path."""
        return self._task.name

    @property
    def running(self) -> bool:
        """Whether its start has returned, and it is not about to end."""
        return self._task.open

    # The four verbs of a child.

    async def start(self, ended: Callable[[Exit], None] | None = None) -> None:
        """Start the children it was made with, in order; return when they are ready, or wait for hosts.

        Args:
            ended: Called, from the loop, with how the supervisor ended; never if this raises.

        Raises:
            ChildNotStarted: A child did not start; those before it have been stopped again, in
                reverse.
            SupervisorStopped: It was stopped meanwhile.
        """
        await self._task.start(self._work, ended)

    async def wait(self) -> Exit:
        """Wait for the end and return it; no child is left then."""
        return await self._task.wait()

    def stop(self) -> None:
        """Have an orderly end: children are asked to stop, and killed when their grace is over.

        A static supervisor stops them in reverse, one at a time; a dynamic one asks them together
        and gives them the longest grace of any.
        """
        self._task.decide_exit(Exit.SHUTDOWN)

    def kill(self) -> None:
        """End at once: all children are killed together."""
        self._task.kill()

    # Questions.

    def children(self) -> list[ChildInfo]:
        """Return all children, the newest first; also while the supervisor starts or stops.

        Raises:
            SupervisorStopped: It has not been started, or has ended.
        """
        return [row.info() for row in reversed(tuple(self._visible()))]

    def count(self) -> Count:
        """Return how many children there are.

        Raises:
            SupervisorStopped: It has not been started, or has ended.
        """
        return count(self._visible())

    def get_spec(self, name: str) -> ChildSpec:
        """Return the spec of a child.

        Raises:
            NotFound: There is no such child.
            SupervisorStopped: The supervisor has not been started, or has ended.
        """
        self._visible()
        return self._table.get(name).spec

    def respecify(self, spec: ChildSpec) -> None:
        """Have the next restarts, and the stop, of the child of that name be by *spec*; its run goes on.

        Raises:
            NotFound: There is no such child.
        """
        row = self._table.get(spec.name)
        row.spec = spec
        if row.backoff is not None and spec.backoff is not None:
            row.backoff.backoff = spec.backoff

    # Checks.

    def _visible(self) -> Collection[ChildRecord]:
        if not self._task.visible:
            raise SupervisorStopped(self.name)
        return self._table.by_name.values()

    def _check_running(self) -> None:
        if not self._task.running:
            raise SupervisorStopped(self.name)

    def _check_new(self, name: str) -> None:
        """Refuse a name that a child has."""
        present = self._table.by_name.get(name)
        if present is not None and present.run is not None and not present.restarting:
            raise AlreadyStarted(self.name, name, running=present.run.child)
        if present is not None:
            raise AlreadyPresent(self.name, name)
