"""The children of a dynamic supervisor, who have nothing to do with each other.

A child costs no task: its start and stop run in the caller's, its end is a callback. Only a child
that is brought back has a task, while that goes on.
"""

from __future__ import annotations

import anyio
from anyio.lowlevel import checkpoint

from actors.supervisors._attempt import Attempt, attempt, in_place, in_scope
from actors.supervisors._child_state import ChildRecord
from actors.supervisors._child_table import ChildTable
from actors.supervisors._errors import ChildNotStarted, SupervisorStopped
from actors.supervisors._events import RestartsGivenUp, WaitingForHost
from actors.supervisors._exit import Exit
from actors.supervisors._info import ChildState
from actors.supervisors._lifecycle import SupervisorTask
from actors.supervisors._mailbox import SupervisorMailbox
from actors.supervisors._restart_limits import RestartLimiter
from actors.supervisors._run import Run
from actors.supervisors._shutdown import insist, request
from actors.supervisors._spec import should_restart


class DynamicChildren:
    """What the owner of a dynamic supervisor works at.

    Args:
        owner: Whose work this is.
        rows: The children.
        charge: What restarts cost.
    """

    def __init__(self, owner: SupervisorTask, rows: ChildTable, charge: RestartLimiter) -> None:
        self._owner = owner
        self._rows = rows
        self._charge = charge
        self._inbox: SupervisorMailbox[ChildRecord] = SupervisorMailbox()
        self._revivals: dict[ChildRecord, anyio.CancelScope] = {}

    # What is called from outside the task.

    def heard(self, run: Run) -> None:
        """Take note that *run* has ended; whoever starts it now takes care of the rest."""
        row = self._rows.by_name.get(run.name)
        if row is None or row.run is not run or run.exit is None:
            return
        row.note_end(self._owner.now)
        if row.state is ChildState.RUNNING:
            self._fell(row, run.exit)
        elif row.state is ChildState.STOPPING:
            # Not later: others that are being stopped may take long.
            self._collect(row)

    def misbehaved(self, run: Run, verb: str, error: Exception) -> None:
        """Take note that a verb of a child raised."""
        self._rows.misbehaved(run, verb, error)

    def interrupt(self) -> None:
        """Look at the owner's verdict now."""
        self._inbox.wake()

    # The work.

    async def open(self) -> None:
        """Start nothing: children come later."""

    async def serve(self) -> None:
        """Bring back who is to be brought back, each in a task of its own."""
        async with anyio.create_task_group() as tasks:
            while self._owner.verdict is None:
                row = self._inbox.take()
                if row is None:
                    await self._inbox.wait()
                elif self._rows.by_name.get(row.spec.name) is row:
                    tasks.start_soon(self._go_on, row)
            tasks.cancel_scope.cancel()

    async def close(self) -> None:
        """Stop all children together, under one deadline: the longest grace of any."""
        rows = tuple(self._rows.by_name.values())
        asked = [row for row in rows if self._ask(row)]
        deadline = anyio.current_time() + max((row.spec.grace for row in asked), default=0.0)
        for row in asked:
            if row.run is not None and row.run.exit is None and not self._owner.patience.over:
                await self._owner.patience.ends(row.run, deadline)
            self._collect(row)
        if not self._owner.patience.over:
            late = [row for row in asked if row.run is not None]
            for row in late:
                self._rows.overrun(row)
            await self._rows.kill(late)

    async def slay(self) -> None:
        """Kill what is left, all together."""
        await self._rows.slay()

    # What calls ask for, in the task of the caller.

    async def start(self, row: ChildRecord) -> Run | None:
        """Begin a life; return its run, or None if the child said that there is nothing to run.

        Raises:
            ChildNotStarted: It did not become ready.
            SupervisorStopped: The supervisor is about to end.
        """
        row.begin_life()
        try:
            outcome = await attempt(row, self, in_place)
        except BaseException:
            self._rows.settle(row, Exit.KILLED)
            raise
        if outcome is Attempt.READY:
            run = row.run
            self._ready(row)
            return run
        if outcome is Attempt.FAILED:
            exit_ = self._rows.failed(row)
            self._rows.settle(row, exit_)
            raise ChildNotStarted(self._owner.name, row.spec.name, exit_.error) from exit_.error
        if outcome is Attempt.INTERRUPTED:
            self._rows.settle(row, Exit.SHUTDOWN)
            if self._owner.verdict is not None:
                raise SupervisorStopped(self._owner.name)
            raise ChildNotStarted(
                self._owner.name, row.spec.name, "it was stopped before it was ready"
            )
        self._rows.ignored(row)
        return None

    async def stop(self, row: ChildRecord) -> None:
        """End a life, whatever stage it is at."""
        revival = self._revivals.get(row)
        if revival is not None:
            revival.cancel()
            await self._rows.left(row)
        elif row.run is None:
            self._rows.settle(row, Exit.SHUTDOWN)
        elif row.state is ChildState.RUNNING:
            await self._stop_run(row)
        elif row.state is ChildState.STARTING:
            self._rows.interrupt_start(row)
            await self._rows.leave(row)
        else:
            await self._rows.left(row)

    # Steps.

    def _fell(self, row: ChildRecord, exit_: Exit) -> None:
        """A run has ended by itself: have it brought back, or free its name."""
        self._rows.ended(row, exit_, asked=False)
        if should_restart(row.spec.restart, exit_) and self._owner.verdict is None:
            row.state = ChildState.RESTARTING
            self._inbox.put(row)
        else:
            self._rows.settle(row, exit_)

    def _ask(self, row: ChildRecord) -> bool:
        """Ask one child of all to end; return whether its end is to be waited for."""
        if row.run is None:
            self._rows.settle(row, Exit.SHUTDOWN)
            return False
        if row.state is ChildState.STARTING:
            self._rows.interrupt_start(row)
            return False
        if row.state is ChildState.RUNNING and not self._owner.patience.over:
            row.state = ChildState.STOPPING
            (request if row.spec.grace > 0 else insist)(row.run)
        return True

    def _collect(self, row: ChildRecord) -> None:
        """Note the end of a child that was asked."""
        if row.run is not None and row.run.exit is not None:
            exit_ = row.run.exit
            self._rows.ended(row, exit_, asked=True)
            self._rows.settle(row, exit_)

    def _ready(self, row: ChildRecord) -> None:
        self._rows.started(row)
        if row.run is not None and row.run.exit is not None:
            self._fell(row, row.run.exit)

    async def _go_on(self, row: ChildRecord) -> None:
        """Do for *row* what nobody else does: restart it, or stop it to the end."""
        if self._rows.by_name.get(row.spec.name) is not row:
            # It was stopped before this task had its first turn.
            return
        if row.state is ChildState.STOPPING:
            await self._stop_run(row)
            return
        with anyio.CancelScope() as scope:
            self._revivals[row] = scope
            try:
                await self._revive(row)
            finally:
                del self._revivals[row]
        if scope.cancel_called:
            await self._stop_run(row)

    async def _stop_run(self, row: ChildRecord) -> None:
        try:
            exit_ = Exit.SHUTDOWN if row.run is None else await self._rows.stop(row)
        except BaseException:
            self._inbox.put(row)
            raise
        if exit_ is None:
            await self._rows.left(row)
        else:
            self._rows.settle(row, exit_)

    async def _revive(self, row: ChildRecord) -> None:
        """Bring *row* back, however many attempts it takes, until it is given up."""
        exit_, excused = row.last_exit or Exit.NORMAL, row.excused
        while True:
            price = self._charge.restart(row, exit_, excused=excused)
            if isinstance(price, Exit):
                self._rows.settle(row, price)
                return
            await self._delay(row, price)
            if not await self._find_host(row):
                return
            outcome = await attempt(row, self, in_scope)
            if outcome is Attempt.READY:
                row.restarts += 1
                self._ready(row)
            elif outcome is Attempt.IGNORED:
                self._rows.ignored(row)
            if outcome is not Attempt.FAILED:
                return
            exit_, excused = self._rows.failed(row), False

    async def _delay(self, row: ChildRecord, seconds: float) -> None:
        if seconds <= 0:
            # A child that fails without ever waiting must not keep the loop from running.
            await checkpoint()
            return
        row.state = ChildState.BACKING_OFF
        row.due = anyio.current_time() + seconds
        await anyio.sleep(seconds)
        row.due = None

    async def _find_host(self, row: ChildRecord) -> bool:
        """Wait until *row* can be started; return whether that will ever be."""
        if row.hostless and not row.forsaken:
            row.state = ChildState.WAITING_NODE
            self._owner.report(WaitingForHost(self._owner.name, row.spec.name))
        while row.hostless and not row.forsaken:
            changed = anyio.Event()
            row.listen(changed.set)
            await changed.wait()
            row.unlisten()
        if not row.forsaken:
            return True
        exit_ = row.lost()
        self._owner.report(RestartsGivenUp(self._owner.name, row.spec.name, exit_))
        self._rows.settle(row, exit_)
        return False
