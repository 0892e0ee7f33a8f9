"""All children of one supervisor, and the steps that are the same for a static and a dynamic one.

Each step leaves its row in a state that is true, reports what happened, and pays what is owed. None
decides what is next.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from actors.supervisors._child_state import ChildRecord
from actors.supervisors._errors import ChildNotStarted, ChildRestarting, ChildRunning, NotFound
from actors.supervisors._events import (
    ChildEnded,
    ChildIgnored,
    ChildMisbehaved,
    ChildStarted,
    ChildStartFailed,
    ShutdownOverrun,
)
from actors.supervisors._exit import Exit, ExitKind
from actors.supervisors._info import ChildState
from actors.supervisors._lifecycle import SupervisorTask
from actors.supervisors._run import Run
from actors.supervisors._shutdown import ask, insist, kill
from actors.supervisors._spec import ChildSpec, Restart, expected

_RUNNING = frozenset({ChildState.STARTING, ChildState.RUNNING, ChildState.STOPPING})
_STOPPED = frozenset({ChildState.STOPPED, ChildState.ABANDONED})


class ChildTable:
    """The rows of *owner*, by name, in start order.

    Args:
        owner: Whose reports, patience and verdict count.
        keeps: Whether a child that has ended for good is kept, unless it is TEMPORARY.
    """

    __slots__ = ("_keeps", "_leaving", "_owner", "_positions", "by_name")

    def __init__(self, owner: SupervisorTask, *, keeps: bool) -> None:
        self.by_name: dict[str, ChildRecord] = {}
        self._owner = owner
        self._keeps = keeps
        self._positions = 0
        self._leaving: dict[ChildRecord, anyio.Event] = {}

    def add(self, spec: ChildSpec) -> ChildRecord:
        """Give *spec* a row after all others."""
        self._positions += 1
        row = self.by_name[spec.name] = ChildRecord(spec, self._positions)
        return row

    def get(self, name: str) -> ChildRecord:
        """Return the row of a child.

        Raises:
            NotFound: There is none.
        """
        row = self.by_name.get(name)
        if row is None:
            raise NotFound(self._owner.name, name)
        return row

    def get_stopped(self, name: str) -> ChildRecord:
        """Return the row of a child that is kept without a run.

        Raises:
            NotFound: There is none.
            ChildRunning: It has a run.
            ChildRestarting: It is about to have one.
        """
        row = self.get(name)
        if row.state in _RUNNING:
            raise ChildRunning(self._owner.name, name)
        if row.state not in _STOPPED:
            raise ChildRestarting(self._owner.name, name)
        return row

    def started(self, row: ChildRecord) -> None:
        """A run has become ready."""
        if not self._owner.silent:
            self._owner.report(ChildStarted(self._owner.name, row.spec.name, row.restarts))

    def ignored(self, row: ChildRecord) -> None:
        """A child said that there is nothing to run."""
        self._owner.report(ChildIgnored(self._owner.name, row.spec.name))
        self.settle(row, Exit.NORMAL)

    def failed(self, row: ChildRecord) -> Exit:
        """A child did not become ready; return the end that is."""
        error = row.error or ChildNotStarted(self._owner.name, row.spec.name, "no reason given")
        self._owner.report(ChildStartFailed(self._owner.name, row.spec.name, error))
        return Exit.CRASHED(error)

    def ended(self, row: ChildRecord, exit_: Exit, *, asked: bool) -> None:
        """A run has ended, because it was *asked* to or by itself."""
        row.run = None
        row.last_exit = exit_
        if not self._owner.silent:
            fine = _fine(row.spec, exit_) if asked else expected(row.spec.restart, exit_)
            self._owner.report(ChildEnded(self._owner.name, row.spec.name, exit_, asked, fine))

    async def stop(self, row: ChildRecord) -> Exit | None:
        """End the run of *row*; return how it ended, None if the owner lost its patience before."""
        run = row.run
        if run is None:
            return row.last_exit
        asked = run.exit is None
        row.state = ChildState.STOPPING
        if not await ask(run, row.grace, self._owner.patience) and not self._owner.patience.over:
            self.overrun(row)
            await kill([run], self._abandon_after(row), self._owner.patience)
        if run.exit is not None and row.run is run:
            self.ended(row, run.exit, asked=asked)
        return run.exit

    def overrun(self, row: ChildRecord) -> None:
        """A child has not ended in time."""
        if row.grace > 0:
            self._owner.report(ShutdownOverrun(self._owner.name, row.spec.name, row.grace))

    def settle(self, row: ChildRecord, exit_: Exit) -> None:
        """End a life: no restart follows.

        The name of a child that is not kept is free before anyone is told.
        """
        name = row.spec.name
        if (not self._keeps or row.spec.restart is Restart.TEMPORARY) and self.by_name.get(
            name
        ) is row:
            del self.by_name[name]
        leaving = self._leaving.pop(row, None) if self._leaving else None
        if leaving is not None:
            leaving.set()
        try:
            row.end_life(exit_)
        except Exception as error:  # noqa: BLE001 - a broken `gone` is not the child's fault, and must not stop the others
            self._owner.fail(error)

    async def left(self, row: ChildRecord) -> None:
        """Wait until the life of *row* has been ended, by whoever is at it."""
        if self.by_name.get(row.spec.name) is row:
            await self._leaving.setdefault(row, anyio.Event()).wait()

    async def slay(self) -> None:
        """Kill every run that is left, all together, and end every life."""
        rows = tuple(reversed(self.by_name.values()))
        starting = [row for row in rows if row.state is ChildState.STARTING and row.run is not None]
        for row in starting:
            self.interrupt_start(row)
        left = [
            row for row in rows if row.run is not None and not row.run.void and row.run.exit is None
        ]
        for row in left:
            if self._owner.verdict is not None and self._owner.verdict.kind is not ExitKind.KILLED:
                self.overrun(row)
        await self.kill(left)
        for row in starting:
            await self.leave(row)
        for row in rows:
            self.settle(row, Exit.SHUTDOWN if row.run is None else self._bury(row, row.run))

    def interrupt_start(self, row: ChildRecord) -> None:
        """Make a start fail that goes on in the task of a caller."""
        if row.run is not None:
            row.run.void = True
            insist(row.run)

    async def leave(self, row: ChildRecord) -> None:
        """Wait until the caller whose start was interrupted has cleaned up, or abandon it."""
        with anyio.move_on_after(self._abandon_after(row)):
            await self.left(row)
        self.settle(row, Exit.ABANDONED)

    async def kill(self, rows: Sequence[ChildRecord]) -> None:
        """Kill the runs of *rows* together, whatever the owner's patience, and end their lives."""
        runs = [row.run for row in rows if row.run is not None]
        if runs:
            await kill(runs, max(map(self._abandon_after, rows)))
        for row in rows:
            if row.run is not None and row.run.exit is not None:
                exit_ = row.run.exit
                self.ended(row, exit_, asked=True)
                self.settle(row, exit_)

    def _bury(self, row: ChildRecord, run: Run) -> Exit:
        """A run had ended by itself, and it is too late to do anything about it."""
        exit_ = run.exit or Exit.KILLED
        if not run.void:
            self.ended(row, exit_, asked=False)
        return exit_

    def misbehaved(self, run: Run, verb: str, error: Exception) -> None:
        """A verb of a child raised."""
        self._owner.report(ChildMisbehaved(self._owner.name, run.name, verb, error))

    def _abandon_after(self, row: ChildRecord) -> float:
        return self._owner.abandon_after(supervisor=row.spec.kind == "supervisor")


def _fine(spec: ChildSpec, exit_: Exit) -> bool:
    """Return whether a child of this *spec* that is asked to end should do it by *exit_*."""
    if spec.grace == 0:
        return exit_.kind is ExitKind.KILLED
    return exit_.kind is ExitKind.SHUTDOWN or expected(spec.restart, exit_)
