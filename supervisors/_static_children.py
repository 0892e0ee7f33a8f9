"""The children of a static supervisor, who are restarted together as its strategy says.

All of it runs in the supervisor's one task, one step at a time; only `interrupt`, `interrupt_start`
and `call` are called from outside. Who is restarted together, who is started next and how long it
waits is decided elsewhere, by pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from anyio import CancelScope, current_time
from anyio.lowlevel import checkpoint

from actors.supervisors._child_record import ChildRecord, Run
from actors.supervisors._child_table import Attempt, ChildTable, in_scope
from actors.supervisors._errors import ChildNotStarted, SupervisorStopped
from actors.supervisors._exit import Exit
from actors.supervisors._info import ChildState
from actors.supervisors._restart_limits import Budget, RestartLimiter
from actors.supervisors._spec import Restart, should_restart
from actors.supervisors._strategy import (
    AutoShutdown,
    Strategy,
    affected_by,
    next_to_start,
    shuts_down,
)
from actors.supervisors._task import SupervisorCall, SupervisorMailbox, SupervisorTask

AnyCall: TypeAlias = "SupervisorCall[Any]"


class StaticChildren:
    """The work of a static supervisor.

    Args:
        task: The supervisor's task.
        budget: How many restarts they have together.
        random: Gives a number in [0, 1), for the jitter of backoffs.
        strategy: Which of them are restarted together.
        auto: When the end of a child is the end of the supervisor.

    Raises:
        InvalidPolicy: A value that can never work.
    """

    def __init__(
        self,
        task: SupervisorTask,
        budget: Budget,
        random: Callable[[], float],
        *,
        strategy: Strategy,
        auto: AutoShutdown,
    ) -> None:
        self.table = ChildTable(task, self._on_end, keeps=True)
        self._task = task
        self._limiter = RestartLimiter(task, budget, random)
        self._strategy = strategy
        self._auto = auto
        self._inbox: SupervisorMailbox[Run | AnyCall] = SupervisorMailbox()
        self._scheduled: dict[str, ChildRecord] = {}
        """Those without a run that are to have one."""
        self._starting: ChildRecord | None = None
        self._performing: AnyCall | None = None

    # What is called from outside the task.

    def interrupt(self) -> None:
        """Look at `exit_decided` now; a start that is under way is cancelled."""
        self._inbox.wake()
        if self._starting is not None and self._starting.run is not None:
            self._starting.run.interrupt()

    def interrupt_start(self, row: ChildRecord) -> None:
        """Cancel the start of *row*, if it is being started."""
        if self._starting is row:
            self.interrupt()

    async def call(self, call: AnyCall) -> Any:
        """Have *call* performed in the task and return its answer; undo it if this is cancelled."""
        self._inbox.put(call)
        try:
            return await call.answer()
        except BaseException:
            await self._withdraw(call)
            raise

    async def _withdraw(self, call: AnyCall) -> None:
        """Undo a call whose caller was cancelled."""
        if call.withdraw():
            self._inbox.put(SupervisorCall(call.undo))
        elif call is self._performing:
            self.interrupt()
            with CancelScope(shield=True):
                await call.wait_answered()

    def _on_end(self, _: ChildRecord, run: Run) -> None:
        self._inbox.put(run)

    # The work.

    async def open(self) -> None:
        """Start the children in order."""
        for row in tuple(self.table.by_name.values()):
            if self._task.exit_decided is not None:
                return
            if row.host_lost:
                row.begin_life()
                exit_ = row.host_lost_exit()
                self._settle(row, exit_)
                raise ChildNotStarted(self._task.name, row.spec.name, exit_)
            if row.host_down or (self._scheduled and self._strategy is not Strategy.ONE_FOR_ONE):
                row.begin_life()
                self._schedule(row)
            else:
                await self.start(row)

    async def serve(self) -> None:
        """Handle calls and ends as they come; start children in between."""
        while self._task.exit_decided is None:
            item = self._inbox.take()
            if isinstance(item, Run):
                await self._handle_end(item)
            elif item is not None:
                await self._perform(item)
            elif (row := self._next_to_start()) is not None:
                await self._try_restart(row)
            else:
                await self._inbox.wait(self._next_due())

    async def close(self) -> None:
        """Stop the children in reverse, each when the one after it has ended."""
        self._refuse_calls()
        for row in reversed(tuple(self.table.by_name.values())):
            if self._task.overall.passed:
                return
            await self.stop(row)

    async def kill_all(self) -> None:
        """Kill what is left, all together."""
        self._refuse_calls()
        await self.table.kill_all()

    # What calls ask for, and the work does too.

    async def start(self, row: ChildRecord) -> Run | None:
        """Begin a life; return its run, or None if the child said that there is nothing to run.

        Raises:
            ChildNotStarted: It did not become ready. Its life is over then.
            SupervisorStopped: The supervisor is about to end.
        """
        row.begin_life()
        self.table.refuse_life(row, await self._attempt(row))
        return row.run

    async def stop(self, row: ChildRecord) -> None:
        """End a life, whether it has a run at the moment or is about to."""
        if row.run is None:
            self._settle(row, Exit.SHUTDOWN)
        elif (exit_ := await self.table.stop(row)) is not None:
            self._settle(row, exit_)

    # Steps.

    async def _perform(self, call: AnyCall) -> None:
        self._performing = call
        try:
            await call.perform()
        except BaseException:
            call.refuse(SupervisorStopped(self._task.name))
            raise
        finally:
            self._performing = None

    async def _attempt(self, row: ChildRecord) -> Attempt:
        """Try to give *row* a run, for the first time in its life or again."""
        self._scheduled.pop(row.spec.name, None)
        self._starting = row
        try:
            outcome = await self.table.attempt(row, in_scope)
        finally:
            self._starting = None
        if outcome is Attempt.READY:
            row.restarts += row.again
            self.table.report_started(row)
        return outcome

    async def _handle_end(self, run: Run) -> None:
        """Act on the end of a run, unless that was done while the run was stopped."""
        row = self.table.by_name.get(run.name)
        if row is not None and row.run is run and run.exit is not None:
            self.table.note_ended(row, run.exit, asked=False)
            if should_restart(row.spec.restart, run.exit):
                await self._schedule_affected(row, run.exit, host_was_down=row.host_was_down)
            else:
                self._end(row, run.exit)

    async def _schedule_affected(
        self, row: ChildRecord, exit_: Exit, *, host_was_down: bool
    ) -> None:
        """Have *row* restarted if it may be; stop those that are restarted with it."""
        delay = self._limiter.restart(row, exit_, host_was_down=host_was_down)
        if isinstance(delay, Exit):
            self._end(row, delay)
            return
        self._schedule(row, delay)
        names = affected_by(self._strategy, tuple(self.table.by_name), row.spec.name)
        for name in reversed(names):
            other = self.table.by_name.get(name)
            if other is not None and other.run is not None:
                await self._stop_affected(other)
            if self._task.exit_decided is not None:
                return

    async def _stop_affected(self, row: ChildRecord) -> None:
        """Stop *row* as a sibling is restarted, and have it restarted too, if it may be."""
        own_end = None if row.run is None else row.run.exit
        exit_ = await self.table.stop(row)
        if exit_ is None:
            return
        if own_end is not None and not should_restart(row.spec.restart, own_end):
            self._end(row, own_end)
        elif row.spec.restart is Restart.TEMPORARY:
            self._settle(row, exit_)
        else:
            self._schedule(row)

    async def _try_restart(self, row: ChildRecord) -> None:
        """Make one attempt at a restart, or find that it has to wait for its host."""
        if row.host_lost:
            self._end(row, self.table.report_host_lost(row))
        elif row.host_down:
            row.watch_host(self._inbox.wake)
            self.table.report_waiting(row)
        else:
            # A child that fails again and again without waiting must not keep the loop from running.
            await checkpoint()
            # Items that came meanwhile go first: one may be a stop, and this start may hang.
            if self._task.exit_decided is None and not self._inbox:
                await self._restart(row)

    async def _restart(self, row: ChildRecord) -> None:
        row.again = True
        outcome = await self._attempt(row)
        if outcome is Attempt.FAILED:
            exit_ = self.table.start_failed(row)
            await self._schedule_affected(row, exit_, host_was_down=False)
        elif outcome is Attempt.INTERRUPTED:
            self._settle(row, Exit.SHUTDOWN)

    def _end(self, row: ChildRecord, exit_: Exit) -> None:
        """End a life that no call ended; that may end the supervisor."""
        self._settle(row, exit_)
        others = (
            other.run is not None or other.spec.name in self._scheduled
            for other in self.table.by_name.values()
            if other.spec.significant
        )
        if shuts_down(self._auto, significant=row.spec.significant, others=others):
            self._task.decide_exit(Exit.SHUTDOWN)

    def _settle(self, row: ChildRecord, exit_: Exit) -> None:
        self._scheduled.pop(row.spec.name, None)
        self.table.settle(row, exit_)

    def _schedule(self, row: ChildRecord, delay: float = 0.0) -> None:
        """Have *row* started when it is its turn."""
        row.state = ChildState.BACKING_OFF if delay > 0 else ChildState.RESTARTING
        row.due = current_time() + delay if delay > 0 else None
        self._scheduled[row.spec.name] = row

    def _next_to_start(self) -> ChildRecord | None:
        """Return which child is to be started now."""
        if not self._scheduled:
            return None
        now = current_time()
        for row in self._scheduled.values():
            if _is_due(row, now):
                row.state, row.due = ChildState.RESTARTING, None
        in_order = sorted(self._scheduled.values(), key=lambda row: row.position)
        name = next_to_start(self._strategy, ((row.spec.name, row.state) for row in in_order))
        return None if name is None else self._scheduled[name]

    def _next_due(self) -> float:
        """Return when the next backoff is over."""
        dues = (row.due for row in self._scheduled.values() if row.due is not None)
        return min(dues, default=math.inf)

    def _refuse_calls(self) -> None:
        while (item := self._inbox.take()) is not None:
            if isinstance(item, SupervisorCall):
                item.refuse(SupervisorStopped(self._task.name))


def _is_due(row: ChildRecord, now: float) -> bool:
    """Return whether *row* has waited for its backoff, or for its host, long enough."""
    if row.state is ChildState.BACKING_OFF:
        return row.due is None or row.due <= now
    return row.state is ChildState.WAITING_NODE and (row.host_lost or not row.host_down)
