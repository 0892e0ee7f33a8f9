"""The children of a static supervisor, who stand or fall as its strategy says.

All of it runs in the supervisor's one task, one step at a time; only `heard`, `misbehaved`,
`interrupt` and `withdraw` are called from outside. Who falls with whom, who is next and what it
costs is decided elsewhere, by pure functions.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from anyio import CancelScope, current_time
from anyio.lowlevel import checkpoint

from actors.supervisors._attempt import Attempt, attempt, in_scope
from actors.supervisors._child_state import ChildRecord
from actors.supervisors._child_table import ChildTable
from actors.supervisors._errors import ChildNotStarted, SupervisorStopped
from actors.supervisors._events import RestartsGivenUp, WaitingForHost
from actors.supervisors._exit import Exit
from actors.supervisors._info import ChildState
from actors.supervisors._lifecycle import SupervisorTask
from actors.supervisors._mailbox import Call, SupervisorMailbox
from actors.supervisors._restart_limits import RestartLimiter
from actors.supervisors._run import Run
from actors.supervisors._spec import Restart, should_restart
from actors.supervisors._strategy import (
    AutoShutdown,
    Strategy,
    affected_by,
    next_to_start,
    shuts_down,
)

AnyCall: TypeAlias = "Call[Any]"


class StaticChildren:
    """What the owner of a static supervisor works at.

    Args:
        owner: Whose work this is.
        rows: The children; all of them are started by `open`.
        charge: What restarts cost.
        strategy: Who falls with whom.
        auto: When the end of a child is the end of the supervisor.
    """

    def __init__(
        self,
        owner: SupervisorTask,
        rows: ChildTable,
        charge: RestartLimiter,
        *,
        strategy: Strategy,
        auto: AutoShutdown,
    ) -> None:
        self._owner = owner
        self._rows = rows
        self._charge = charge
        self._strategy = strategy
        self._auto = auto
        self._inbox: SupervisorMailbox[Run | AnyCall] = SupervisorMailbox()
        self._pending: dict[str, ChildRecord] = {}
        self._starting: ChildRecord | None = None
        self._serving: AnyCall | None = None

    # What is called from outside the task.

    def heard(self, run: Run) -> None:
        """Take note that *run* has ended."""
        row = self._rows.by_name.get(run.name)
        if row is not None and row.run is run:
            row.note_end(self._owner.now)
        self._inbox.put(run)

    def misbehaved(self, run: Run, verb: str, error: Exception) -> None:
        """Take note that a verb of a child raised."""
        self._rows.misbehaved(run, verb, error)

    def interrupt(self) -> None:
        """Look at the owner's verdict now, whatever you wait for."""
        self._inbox.wake()
        if self._starting is not None and self._starting.run is not None:
            self._starting.run.interrupt()

    def interrupt_start(self, row: ChildRecord) -> None:
        """Do not start *row*, if that is what you are at."""
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
        """Leave nothing behind of a call whose caller has gone."""
        if call.withdraw():
            self._inbox.put(Call(call.undo))
        elif call is self._serving:
            self.interrupt()
            with CancelScope(shield=True):
                await call.settled()

    # The work.

    async def open(self) -> None:
        """Start the children in order."""
        for row in tuple(self._rows.by_name.values()):
            if self._owner.verdict is not None:
                return
            if row.forsaken:
                row.begin_life()
                self._settle(row, row.lost())
                raise ChildNotStarted(self._owner.name, row.spec.name, row.lost())
            if row.hostless or (self._pending and self._strategy is not Strategy.ONE_FOR_ONE):
                row.begin_life()
                self._pend(row)
            else:
                await self.start(row)

    async def serve(self) -> None:
        """Answer calls and ends as they come; start who is due in between."""
        while self._owner.verdict is None:
            item = self._inbox.take()
            if isinstance(item, Run):
                await self._on_end(item)
            elif item is not None:
                await self._perform(item)
            elif (row := self._next()) is not None:
                await self._bring_up(row)
            else:
                await self._inbox.wait(self._due())

    async def close(self) -> None:
        """Stop the children in reverse, each when the one after it has ended."""
        self._refuse_calls()
        for row in reversed(tuple(self._rows.by_name.values())):
            if self._owner.patience.over:
                return
            if row.run is None:
                self._settle(row, Exit.SHUTDOWN)
            elif (exit_ := await self._rows.stop(row)) is not None:
                self._settle(row, exit_)

    async def slay(self) -> None:
        """Kill what is left, all together."""
        self._refuse_calls()
        await self._rows.slay()

    # What calls ask for, and the work does too.

    async def start(self, row: ChildRecord) -> Run | None:
        """Begin a life; return its run, or None if the child said that there is nothing to run.

        Raises:
            ChildNotStarted: It did not become ready. Its life is over then.
            SupervisorStopped: The supervisor is about to end.
        """
        row.begin_life()
        outcome = await self._attempt(row)
        name = row.spec.name
        if outcome is Attempt.FAILED:
            exit_ = self._rows.failed(row)
            self._settle(row, exit_)
            raise ChildNotStarted(self._owner.name, name, exit_.error) from exit_.error
        if outcome is Attempt.INTERRUPTED:
            self._settle(row, Exit.SHUTDOWN)
            if self._owner.verdict is not None:
                raise SupervisorStopped(self._owner.name)
            raise ChildNotStarted(self._owner.name, name, "it was stopped before it was ready")
        return row.run

    async def stop(self, row: ChildRecord) -> None:
        """End a life, whether it has a run at the moment or is about to."""
        if row.run is None:
            self._settle(row, Exit.SHUTDOWN)
        elif (exit_ := await self._rows.stop(row)) is not None:
            self._settle(row, exit_)

    # Steps.

    async def _perform(self, call: AnyCall) -> None:
        self._serving = call
        try:
            await call.perform()
        except BaseException:
            call.refuse(SupervisorStopped(self._owner.name))
            raise
        finally:
            self._serving = None

    async def _attempt(self, row: ChildRecord, *, again: bool = False) -> Attempt:
        """Try to give *row* a run, perhaps *again*; READY and IGNORED are dealt with."""
        self._pending.pop(row.spec.name, None)
        self._starting = row
        try:
            outcome = await attempt(row, self, in_scope)
        finally:
            self._starting = None
        if outcome is Attempt.READY:
            row.restarts += again
            self._rows.started(row)
        elif outcome is Attempt.IGNORED:
            self._rows.ignored(row)
        return outcome

    async def _on_end(self, run: Run) -> None:
        """A run ended by itself, or we know already."""
        row = self._rows.by_name.get(run.name)
        if row is not None and row.run is run and run.exit is not None:
            self._rows.ended(row, run.exit, asked=False)
            if should_restart(row.spec.restart, run.exit):
                await self._fall(row, run.exit, excused=row.excused)
            else:
                self._end(row, run.exit)

    async def _fall(self, row: ChildRecord, exit_: Exit, *, excused: bool) -> None:
        """A child is down and to be restarted: take down who falls with it, if it can be paid."""
        price = self._charge.restart(row, exit_, excused=excused)
        if isinstance(price, Exit):
            self._end(row, price)
            return
        self._pend(row, price)
        names = affected_by(self._strategy, tuple(self._rows.by_name), row.spec.name)
        for name in reversed(names):
            other = self._rows.by_name.get(name)
            if other is not None and other.run is not None:
                await self._take_down(other)
            if self._owner.verdict is not None:
                return

    async def _take_down(self, row: ChildRecord) -> None:
        own_end = None if row.run is None else row.run.exit
        exit_ = await self._rows.stop(row)
        if exit_ is None:
            return
        if own_end is not None and not should_restart(row.spec.restart, own_end):
            self._end(row, own_end)
        elif row.spec.restart is Restart.TEMPORARY:
            self._settle(row, exit_)
        else:
            self._pend(row)

    async def _bring_up(self, row: ChildRecord) -> None:
        """Make one attempt at a restart, or find that it has to wait for its host."""
        if row.forsaken:
            exit_ = row.lost()
            self._owner.report(RestartsGivenUp(self._owner.name, row.spec.name, exit_))
            self._end(row, exit_)
        elif row.hostless:
            row.state = ChildState.WAITING_NODE
            row.listen(self._inbox.wake)
            self._owner.report(WaitingForHost(self._owner.name, row.spec.name))
        else:
            # A child that fails without ever waiting must not keep the loop from running.
            await checkpoint()
            # What came meanwhile goes first: it may be a stop, and this start may hang.
            if self._owner.verdict is None and not self._inbox:
                await self._restart(row)

    async def _restart(self, row: ChildRecord) -> None:
        outcome = await self._attempt(row, again=True)
        if outcome is Attempt.FAILED:
            await self._fall(row, self._rows.failed(row), excused=False)
        elif outcome is Attempt.INTERRUPTED:
            self._settle(row, Exit.SHUTDOWN)

    def _end(self, row: ChildRecord, exit_: Exit) -> None:
        """A life ended without anybody having asked for it."""
        self._settle(row, exit_)
        others = (
            other.run is not None or other.spec.name in self._pending
            for other in self._rows.by_name.values()
            if other.spec.significant
        )
        if shuts_down(self._auto, significant=row.spec.significant, others=others):
            self._owner.rule(Exit.SHUTDOWN)

    def _settle(self, row: ChildRecord, exit_: Exit) -> None:
        self._pending.pop(row.spec.name, None)
        self._rows.settle(row, exit_)

    def _pend(self, row: ChildRecord, delay: float = 0.0) -> None:
        """Have *row* brought up when it is its turn."""
        row.state = ChildState.BACKING_OFF if delay > 0 else ChildState.RESTARTING
        row.due = current_time() + delay if delay > 0 else None
        self._pending[row.spec.name] = row

    def _next(self) -> ChildRecord | None:
        """Return who is to be started now."""
        if not self._pending:
            return None
        now = current_time()
        for row in self._pending.values():
            if _ripe(row, now):
                row.state, row.due = ChildState.RESTARTING, None
        in_order = sorted(self._pending.values(), key=lambda row: row.position)
        name = next_to_start(self._strategy, ((row.spec.name, row.state) for row in in_order))
        return None if name is None else self._pending[name]

    def _due(self) -> float:
        """Return when somebody is to be started whom nothing else will tell us of."""
        return min(
            (row.due for row in self._pending.values() if row.due is not None), default=math.inf
        )

    def _refuse_calls(self) -> None:
        while (item := self._inbox.take()) is not None:
            if isinstance(item, Call):
                item.refuse(SupervisorStopped(self._owner.name))


def _ripe(row: ChildRecord, now: float) -> bool:
    """Return whether what *row* waited for has come."""
    if row.state is ChildState.BACKING_OFF:
        return row.due is None or row.due <= now
    return row.state is ChildState.WAITING_NODE and (row.forsaken or not row.hostless)
