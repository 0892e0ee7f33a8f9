"""All children of one supervisor, and the steps that are the same for a static and a dynamic one.

Each step leaves its row in a state that is true and reports what happened. None decides what is
next.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import TypeAlias

import anyio

from actors.supervisors._child import Ignored
from actors.supervisors._child_record import ChildRecord, Run
from actors.supervisors._errors import (
    ChildNotStarted,
    ChildRestarting,
    ChildRunning,
    NotFound,
    SupervisorStopped,
)
from actors.supervisors._events import (
    ChildCallFailed,
    ChildEnded,
    ChildIgnored,
    ChildStarted,
    ChildStartFailed,
    RestartsGivenUp,
    ShutdownOverrun,
    WaitingForHost,
)
from actors.supervisors._exit import Exit, ExitKind
from actors.supervisors._info import ChildState
from actors.supervisors._shutdown import ask, insist, kill
from actors.supervisors._spec import ChildSpec, Restart, expected
from actors.supervisors._task import SupervisorTask

Start: TypeAlias = "Callable[[ChildRecord, Run], Awaitable[Attempt]]"

_RUNNING = frozenset({ChildState.STARTING, ChildState.RUNNING, ChildState.STOPPING})
_STOPPED = frozenset({ChildState.STOPPED, ChildState.ABANDONED})


class Attempt(Enum):
    """The outcome of one attempt to start a child."""

    READY = "READY"
    IGNORED = "IGNORED"
    FAILED = "FAILED"
    """The error is in the row."""
    INTERRUPTED = "INTERRUPTED"
    """By `Run.interrupt`, or by `ChildTable.interrupt_start`."""


class ChildTable:
    """The records of a supervisor's children, by name, in start order.

    Args:
        task: The supervisor's task: it gets the reports, and its overall deadline counts.
        on_end: Called with a row whose current run has ended, and with that run.
        keeps: Whether a child that has ended for good is kept, unless it is TEMPORARY.
    """

    __slots__ = ("_keeps", "_on_end", "_positions", "_settled", "_task", "by_name")

    def __init__(
        self, task: SupervisorTask, on_end: Callable[[ChildRecord, Run], None], *, keeps: bool
    ) -> None:
        self.by_name: dict[str, ChildRecord] = {}
        self._task = task
        self._on_end = on_end
        self._keeps = keeps
        self._positions = 0
        self._settled: dict[ChildRecord, anyio.Event] = {}

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
            raise NotFound(self._task.name, name)
        return row

    def get_stopped(self, name: str) -> ChildRecord:
        """Return the row of a child that is kept without a run.

        Raises:
            NotFound: There is none.
            ChildRunning: It has a run.
            ChildRestarting: It is about to have one.
        """
        row = self.get(name)
        if row.state in _RUNNING and not row.restarting:
            raise ChildRunning(self._task.name, name)
        if row.state not in _STOPPED:
            raise ChildRestarting(self._task.name, name)
        return row

    # What runs report.

    def run_ended(self, run: Run) -> None:
        """Handle the end of *run*."""
        row = self.by_name.get(run.name)
        if row is not None and row.run is run:
            row.run_ended(self._task.now)
            self._on_end(row, run)

    def run_call_failed(self, run: Run, verb: str, error: Exception) -> None:
        """Report that a verb of a child raised."""
        self._task.report(ChildCallFailed(self._task.name, run.name, verb, error))

    # Starting.

    async def attempt(self, row: ChildRecord, start: Start) -> Attempt:
        """Start a new run of *row* by `in_scope` or `in_place`, and report how that went.

        Afterwards the row has a run if, and only if, the outcome is READY.
        """
        row.state = ChildState.STARTING
        row.due = None
        row.unwatch_host()
        row.error = None
        outcome = Attempt.FAILED
        try:
            row.run = run = Run(row.spec.name, row.spec.start(), self)
            outcome = await start(row, run)
        except Ignored:
            outcome = Attempt.IGNORED
        except Exception as error:  # noqa: BLE001 - whatever a factory or a start raises, the child did not start
            row.error = error
        finally:
            if outcome is not Attempt.READY and row.run is not None:
                row.run.void = True
                row.run = None
        if outcome is Attempt.READY:
            self.note_ready(row, anyio.current_time())
        elif outcome is Attempt.IGNORED:
            self._task.report(ChildIgnored(self._task.name, row.spec.name))
            self.settle(row, Exit.NORMAL)
        return outcome

    def note_ready(self, row: ChildRecord, now: float) -> None:
        """Note that the run of *row* has become ready."""
        row.state = ChildState.RUNNING
        if row.backoff is not None:
            row.backoff.started(now)

    def report_started(self, row: ChildRecord) -> None:
        """Report that a run has become ready."""
        if not self._task.silent:
            self._task.report(ChildStarted(self._task.name, row.spec.name, row.restarts))

    def start_failed(self, row: ChildRecord) -> Exit:
        """Report that a child did not become ready; return the end that this is."""
        name = self._task.name
        error = row.error or ChildNotStarted(name, row.spec.name, "no reason given")
        self._task.report(ChildStartFailed(name, row.spec.name, error))
        return Exit.CRASHED(error)

    def refuse_life(self, row: ChildRecord, outcome: Attempt) -> None:
        """End a life that began by an attempt with *outcome*, if that gave it no run.

        Raises:
            ChildNotStarted: It did not become ready.
            SupervisorStopped: The supervisor is about to end.
        """
        supervisor, name = self._task.name, row.spec.name
        if outcome is Attempt.FAILED:
            exit_ = self.start_failed(row)
            self.settle(row, exit_)
            raise ChildNotStarted(supervisor, name, exit_.error) from exit_.error
        if outcome is Attempt.INTERRUPTED:
            self.settle(row, Exit.SHUTDOWN)
            if self._task.exit_decided is not None:
                raise SupervisorStopped(supervisor)
            raise ChildNotStarted(supervisor, name, "it was stopped before it was ready")

    def interrupt_start(self, row: ChildRecord) -> None:
        """Make a start fail that runs in the task of a caller."""
        if row.run is not None:
            row.run.void = True
            insist(row.run)

    # Waiting for a host.

    def report_waiting(self, row: ChildRecord) -> None:
        """Note and report that *row* waits until its host is ready."""
        row.state = ChildState.WAITING_NODE
        self._task.report(WaitingForHost(self._task.name, row.spec.name))

    def report_host_lost(self, row: ChildRecord) -> Exit:
        """Report that *row* is not restarted as its host is lost; return how its life ends."""
        exit_ = row.host_lost_exit()
        self._task.report(RestartsGivenUp(self._task.name, row.spec.name, exit_))
        return exit_

    # Ends.

    def note_ended(self, row: ChildRecord, exit_: Exit, *, asked: bool) -> None:
        """Note and report that a run has ended, because it was *asked* to or by itself."""
        row.run = None
        row.last_exit = exit_
        if not self._task.silent:
            fine = _fine(row.spec, exit_) if asked else expected(row.spec.restart, exit_)
            self._task.report(ChildEnded(self._task.name, row.spec.name, exit_, asked, fine))

    async def stop(self, row: ChildRecord) -> Exit | None:
        """End the run of *row*; return how it ended, None if the overall deadline passed before."""
        run = row.run
        if run is None:
            return row.last_exit
        asked = run.exit is None
        row.state = ChildState.STOPPING
        if not await ask(run, row.grace, self._task.overall) and not self._task.overall.passed:
            self.report_overrun(row)
            await kill([run], self._abandon_after(row), self._task.overall)
        if run.exit is not None and row.run is run:
            self.note_ended(row, run.exit, asked=asked)
        return run.exit

    def report_overrun(self, row: ChildRecord) -> None:
        """Report that a child has not ended in time."""
        if row.grace > 0:
            self._task.report(ShutdownOverrun(self._task.name, row.spec.name, row.grace))

    def settle(self, row: ChildRecord, exit_: Exit) -> None:
        """End a life: no restart follows.

        A child that is not kept is removed before `gone` is called, so that its name is free.
        """
        name = row.spec.name
        forgotten = not self._keeps or row.spec.restart is Restart.TEMPORARY
        if forgotten and self.by_name.get(name) is row:
            del self.by_name[name]
        settled = self._settled.pop(row, None) if self._settled else None
        if settled is not None:
            settled.set()
        try:
            row.end_life(exit_)
        except Exception as error:  # noqa: BLE001 - a broken `gone` is not the child's fault, and must not stop the others
            self._task.fail(error)

    def settle_ended(self, row: ChildRecord, *, asked: bool) -> None:
        """Note the end of a run, if there is one that has ended, and end the life."""
        if row.run is not None and row.run.exit is not None:
            exit_ = row.run.exit
            self.note_ended(row, exit_, asked=asked)
            self.settle(row, exit_)

    async def wait_settled(self, row: ChildRecord) -> None:
        """Wait until another task has ended the life of *row*."""
        if self.by_name.get(row.spec.name) is row:
            await self._settled.setdefault(row, anyio.Event()).wait()

    async def wait_interrupted(self, row: ChildRecord) -> None:
        """Wait until the caller whose start was interrupted has cleaned up, or abandon the child."""
        with anyio.move_on_after(self._abandon_after(row)):
            await self.wait_settled(row)
        self.settle(row, Exit.ABANDONED)

    async def kill_all(self) -> None:
        """Kill every run that is left, all together, and end every life."""
        rows = tuple(reversed(self.by_name.values()))
        starting = [row for row in rows if row.state is ChildState.STARTING and row.run is not None]
        for row in starting:
            self.interrupt_start(row)
        left = [
            row for row in rows if row.run is not None and not row.run.void and row.run.exit is None
        ]
        decided = self._task.exit_decided
        if decided is not None and decided.kind is not ExitKind.KILLED:
            for row in left:
                self.report_overrun(row)
        await self.kill(left)
        for row in starting:
            await self.wait_interrupted(row)
        for row in rows:
            exit_ = Exit.SHUTDOWN
            if row.run is not None:
                exit_ = row.run.exit or Exit.KILLED
                if not row.run.void:
                    # It ended by itself, and nobody has acted on that.
                    self.note_ended(row, exit_, asked=False)
            self.settle(row, exit_)

    async def kill(self, rows: Sequence[ChildRecord]) -> None:
        """Kill the runs of *rows* together, whatever the overall deadline, and end their lives."""
        runs = [row.run for row in rows if row.run is not None]
        if runs:
            await kill(runs, max(map(self._abandon_after, rows)))
        for row in rows:
            self.settle_ended(row, asked=True)

    def _abandon_after(self, row: ChildRecord) -> float:
        return self._task.abandon_after(supervisor=row.spec.kind == "supervisor")


async def in_scope(row: ChildRecord, run: Run) -> Attempt:
    """Start in a task of the supervisor, where `Run.interrupt` cancels it."""
    try:
        with anyio.CancelScope() as scope:
            run.starting = scope
            await run.child.start(run.ended)
            return Attempt.READY
    except Exception:
        raise
    except BaseException as error:
        insist(run)
        if not _nobody_cancelled(error):
            raise
        row.error = error
        return Attempt.FAILED
    finally:
        run.starting = None
    insist(run)
    return Attempt.INTERRUPTED


async def in_place(_: ChildRecord, run: Run) -> Attempt:
    """Start in the task of a caller, without a scope, which would cost more than all the rest.

    `ChildTable.interrupt_start` interrupts it: it marks the run as void and kills the child, which
    makes the start raise.
    """
    try:
        await run.child.start(run.ended)
    except Exception:
        if run.void:
            return Attempt.INTERRUPTED
        raise
    except BaseException:
        insist(run)
        raise
    if not run.void:
        return Attempt.READY
    insist(run)
    return Attempt.INTERRUPTED


def _nobody_cancelled(error: BaseException) -> bool:
    """Return whether *error* is a cancellation that no scope around this task asked for."""
    return (
        isinstance(error, anyio.get_cancelled_exc_class())
        and anyio.current_effective_deadline() > -math.inf
    )


def _fine(spec: ChildSpec, exit_: Exit) -> bool:
    """Return whether a child of this *spec* that is asked to end should do it by *exit_*."""
    if spec.grace == 0:
        return exit_.kind is ExitKind.KILLED
    return exit_.kind is ExitKind.SHUTDOWN or expected(spec.restart, exit_)
