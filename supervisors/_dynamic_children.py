"""The children of a dynamic supervisor, who do not depend on each other.

A child costs no task: its start and stop run in the caller's, its end is a callback. Only a child
that is restarted has a task, until that is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
from anyio.lowlevel import checkpoint

from actors.supervisors._child import Child
from actors.supervisors._child_record import ChildRecord, Run
from actors.supervisors._child_table import Attempt, ChildTable, in_place, in_scope
from actors.supervisors._exit import Exit
from actors.supervisors._info import ChildState
from actors.supervisors._restart_limits import Budget, RestartLimiter
from actors.supervisors._shutdown import insist, request
from actors.supervisors._spec import should_restart
from actors.supervisors._task import SupervisorMailbox, SupervisorTask


class AdoptedChild:
    """A child that somebody else starts: who does says here how that went, once.

    Attributes:
        ended: call it with how its run ended, as a `Child` does that was started here.
    """

    __slots__ = ("_children", "_row", "_run", "ended")

    def __init__(self, children: DynamicChildren, row: ChildRecord, run: Run) -> None:
        self._children = children
        self._row = row
        self._run = run
        self.ended: Callable[[Exit], None] = run.ended

    def ready(self) -> None:
        """It has started."""
        self._children.adopted_ready(self._row, self._run)

    def failed(self, why: BaseException | None) -> None:
        """It has not started; None if its start was only cancelled."""
        self._children.adopted_failed(self._row, self._run, why)


class DynamicChildren:
    """The work of a dynamic supervisor.

    Args:
        task: The supervisor's task.
        budget: How many restarts they have together.
        random: Gives a number in [0, 1), for the jitter of backoffs.

    Raises:
        InvalidPolicy: A value that can never work.
    """

    def __init__(self, task: SupervisorTask, budget: Budget, random: Callable[[], float]) -> None:
        self.table: ChildTable = ChildTable(task, self._on_end, keeps=False)
        self._task = task
        self._limiter = RestartLimiter(task, budget, random)
        self._inbox: SupervisorMailbox[ChildRecord] = SupervisorMailbox()
        self._restarts: dict[ChildRecord, anyio.CancelScope] = {}

    # What is called from outside the task.

    def interrupt(self) -> None:
        """Look at `exit_decided` now."""
        self._inbox.wake()

    def _on_end(self, row: ChildRecord, run: Run) -> None:
        """A run has ended; while it starts, the one who starts it takes care of that."""
        if run.exit is None:
            return
        if row.state is ChildState.RUNNING:
            self._on_own_end(row, run.exit)
        elif row.state is ChildState.STOPPING:
            # Not later: others that are being stopped may take long.
            self.table.settle_ended(row, asked=True)

    # The work.

    async def open(self) -> None:
        """Start nothing: children come later."""

    async def serve(self) -> None:
        """Restart the children in the inbox, each in a task of its own."""
        async with self._task.new_group() as tasks:
            while self._task.exit_decided is None:
                row = self._inbox.take()
                if row is None:
                    await self._inbox.wait()
                elif self.table.by_name.get(row.spec.name) is row:
                    tasks.start_soon(self._restart_or_stop, row)
            tasks.cancel_scope.cancel()

    async def close(self) -> None:
        """Stop all children together, under one deadline: the longest grace of any.

        Children that are adopted meanwhile are stopped after the others.
        """
        closed: set[ChildRecord] = set()
        while rows := [row for row in self.table.by_name.values() if row not in closed]:
            closed.update(rows)
            await self._close(rows)

    async def _close(self, rows: Sequence[ChildRecord]) -> None:
        overall = self._task.overall
        asked = [row for row in rows if self._request_stop(row)]
        until = anyio.current_time() + max((row.spec.grace for row in asked), default=0.0)
        for row in asked:
            if row.run is not None and row.run.exit is None and not overall.passed:
                await overall.wait_ended(row.run, until)
            self.table.settle_ended(row, asked=True)
        if not overall.passed:
            late = [row for row in asked if row.run is not None]
            for row in late:
                self.table.report_overrun(row)
            await self.table.kill(late)

    async def kill_all(self) -> None:
        """Kill what is left, all together."""
        await self.table.kill_all()

    # What calls ask for, in the task of the caller.

    async def start(self, row: ChildRecord) -> Run | None:
        """Begin a life; return its run, or None if the child said that there is nothing to run.

        Raises:
            ChildNotStarted: It did not become ready.
            SupervisorStopped: The supervisor is about to end.
        """
        row.begin_life()
        try:
            outcome = await self.table.attempt(row, in_place)
        except BaseException:
            self.table.settle(row, Exit.KILLED)
            raise
        self.table.refuse_life(row, outcome)
        run = row.run
        if run is not None:
            self._on_ready(row, run)
        return run

    def adopt(self, row: ChildRecord, child: Child) -> AdoptedChild:
        """Begin the life of a child whose first run somebody else starts."""
        row.begin_life()
        row.run = Run(row.spec.name, child, self.table)
        return AdoptedChild(self, row, row.run)

    def adopted_ready(self, row: ChildRecord, run: Run) -> None:
        """See `AdoptedChild.ready`."""
        if row.run is not run:
            return  # it was abandoned
        if run.void:  # its start was interrupted, too late
            insist(run)
            row.run = None
            self.table.settle(row, Exit.SHUTDOWN)
            return
        self.table.note_ready(row, self._task.now())
        self._on_ready(row, run)

    def adopted_failed(self, row: ChildRecord, run: Run, why: BaseException | None) -> None:
        """See `AdoptedChild.failed`."""
        if row.run is not run:
            return
        interrupted, run.void = run.void, True
        row.run = None
        if interrupted or why is None:
            self.table.settle(row, Exit.SHUTDOWN if interrupted else Exit.KILLED)
        else:
            row.error = why
            self.table.settle(row, self.table.start_failed(row))

    async def stop(self, row: ChildRecord) -> None:
        """End a life, whatever state it is in."""
        restart = self._restarts.get(row)
        if restart is not None:
            restart.cancel()
            await self.table.wait_settled(row)
        elif row.run is None:
            self.table.settle(row, Exit.SHUTDOWN)
        elif row.state is ChildState.RUNNING:
            await self._stop_run(row)
        elif row.state is ChildState.STARTING:
            self.table.interrupt_start(row)
            await self.table.wait_interrupted(row)
        else:
            await self.table.wait_settled(row)

    # Steps.

    def _on_ready(self, row: ChildRecord, run: Run) -> None:
        self.table.report_started(row)
        if run.exit is not None:
            self._on_own_end(row, run.exit)

    def _on_own_end(self, row: ChildRecord, exit_: Exit) -> None:
        """A run has ended by itself: have it restarted, or free its name."""
        self.table.note_ended(row, exit_, asked=False)
        if should_restart(row.spec.restart, exit_) and self._task.exit_decided is None:
            row.state = ChildState.RESTARTING
            self._inbox.put(row)
        else:
            self.table.settle(row, exit_)

    def _request_stop(self, row: ChildRecord) -> bool:
        """Ask one child of all to end; return whether its end is to be waited for."""
        if row.run is None:
            self.table.settle(row, Exit.SHUTDOWN)
            return False
        if row.state is ChildState.STARTING:
            self.table.interrupt_start(row)
            return False
        if row.state is ChildState.RUNNING and not self._task.overall.passed:
            row.state = ChildState.STOPPING
            (request if row.spec.grace > 0 else insist)(row.run)
        return True

    async def _restart_or_stop(self, row: ChildRecord) -> None:
        """Restart *row*; if that is interrupted by a stop, or a stop was, do the stop."""
        if self.table.by_name.get(row.spec.name) is not row:
            # It was stopped before this task had its first turn.
            return
        if row.state is ChildState.STOPPING:
            await self._stop_run(row)
            return
        with anyio.CancelScope() as scope:
            self._restarts[row] = scope
            try:
                await self._restart(row)
            finally:
                del self._restarts[row]
        if scope.cancel_called:
            await self._stop_run(row)

    async def _stop_run(self, row: ChildRecord) -> None:
        try:
            exit_ = Exit.SHUTDOWN if row.run is None else await self.table.stop(row)
        except BaseException:
            self._inbox.put(row)
            raise
        if exit_ is None:
            await self.table.wait_settled(row)
        else:
            self.table.settle(row, exit_)

    async def _restart(self, row: ChildRecord) -> None:
        """Restart *row*, however many attempts that takes, until it is given up."""
        row.again = True
        exit_, host_was_down = row.last_exit or Exit.NORMAL, row.host_was_down
        while True:
            delay = self._limiter.restart(row, exit_, host_was_down=host_was_down)
            if isinstance(delay, Exit):
                self.table.settle(row, delay)
                return
            await self._delay(row, delay)
            if not await self._wait_for_host(row):
                return
            outcome = await self.table.attempt(row, in_scope)
            if row.run is not None:
                row.restarts += 1
                self._on_ready(row, row.run)
            if outcome is not Attempt.FAILED:
                return
            exit_, host_was_down = self.table.start_failed(row), False

    async def _delay(self, row: ChildRecord, seconds: float) -> None:
        if seconds <= 0:
            # A child that fails again and again without waiting must not keep the loop from running.
            await checkpoint()
            return
        row.state = ChildState.BACKING_OFF
        row.due = anyio.current_time() + seconds
        await anyio.sleep(seconds)
        row.due = None

    async def _wait_for_host(self, row: ChildRecord) -> bool:
        """Wait until *row* can be started; return False if its host is lost, and its life over."""
        if row.host_down and not row.host_lost:
            self.table.report_waiting(row)
        while row.host_down and not row.host_lost:
            changed = anyio.Event()
            row.watch_host(changed.set)
            await changed.wait()
            row.unwatch_host()
        if not row.host_lost:
            return True
        self.table.settle(row, self.table.report_host_lost(row))
        return False
