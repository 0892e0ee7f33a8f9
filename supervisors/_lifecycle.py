"""The one task of a supervisor, from its start to its one end, whether static or dynamic.

It makes a supervisor a `Child` itself. It knows nothing of children: its work does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import current_token

from actors.supervisors._check import check_callable, check_name, check_number
from actors.supervisors._errors import AlreadyStarted, InvalidPolicy, SupervisorStopped
from actors.supervisors._events import Reporter, SupervisorEnded, SupervisorEvent, SupervisorStarted
from actors.supervisors._exit import Exit, ExitKind
from actors.supervisors._shutdown import ShutdownDeadline


class SupervisorWork(Protocol):
    """What an owner does in its task, in this order."""

    async def open(self) -> None:
        """Start what there is to start, or raise."""

    async def serve(self) -> None:
        """Work until the owner has a verdict."""

    async def close(self) -> None:
        """Stop everything politely, as far as the owner's patience goes."""

    async def slay(self) -> None:
        """Kill whatever is left; takes a bounded time and raises nothing."""

    def interrupt(self) -> None:
        """Look at the owner's verdict now, whatever you wait for."""


class SupervisorTask:
    """The life of one supervisor.

    Args:
        name: The supervisor's name or path, for its reports.
        tasks: The task group the owner's task runs in. When it is cancelled the children are
            killed.
        report: Told what happens; None for nobody. One that raises ends the supervisor as CRASHED.
        shutdown_deadline: Seconds an orderly end may take all in all; None is without limit.
        abandon_after: Seconds to wait for runs that were killed.

    Raises:
        InvalidPolicy: A value that can never work.
    """

    def __init__(
        self,
        name: str,
        tasks: TaskGroup,
        *,
        report: Reporter | None,
        shutdown_deadline: float | None,
        abandon_after: float,
    ) -> None:
        check_name("name", name)
        if not callable(getattr(tasks, "start_soon", None)):
            raise InvalidPolicy(f"tasks must be an anyio TaskGroup, got {tasks!r}")
        if report is not None:
            check_callable("report", report)
        if shutdown_deadline is not None:
            check_number("shutdown_deadline", shutdown_deadline, infinite=True)
        check_number("abandon_after", abandon_after)
        self.name = name
        self.patience = ShutdownDeadline()
        self.verdict: Exit | None = None
        """How the supervisor is going to end, once that is decided."""
        self.exit: Exit | None = None
        self.silent = report is None
        """Whether reports go nowhere and need not be made."""
        self._abandon_after = abandon_after
        self._shutdown_deadline = shutdown_deadline
        self._reporter = report
        self._tasks = tasks
        # Looked up in a task, because stop() may be called from a bare callback of the loop.
        self.now: Callable[[], float] = anyio.current_time
        """The loop's clock, also from a bare callback."""
        self._work: SupervisorWork | None = None
        self._tell: Callable[[Exit], None] | None = None
        self._failure: Exception | None = None
        self._ready = False
        self._settled = anyio.Event()
        self._done = anyio.Event()

    async def start(self, work: SupervisorWork, ended: Callable[[Exit], None]) -> None:
        """Start the task and return when *work* is open.

        Raises:
            AlreadyStarted: It has been started before.
            SupervisorStopped: It was stopped before it was open.
            ChildNotStarted: A child did not start; those before it have been stopped again.
        """
        if self._work is not None:
            raise AlreadyStarted(self.name, self.name, running=None)
        self.now = current_token().backend_class.current_time
        self._work = work
        self._tell = ended
        self._tasks.start_soon(self._live, name=f"supervisor {self.name}")
        try:
            await self._settled.wait()
        except BaseException:
            self._tell = None
            self.kill()
            with anyio.CancelScope(shield=True):
                await self._done.wait()
            raise
        if self._failure is not None:
            raise self._failure
        if not self._ready:
            raise SupervisorStopped(self.name)

    async def wait(self) -> Exit:
        """Wait for the end and return it."""
        await self._done.wait()
        return self.exit or Exit.KILLED

    def stop(self) -> None:
        """Have an orderly end."""
        self.rule(Exit.SHUTDOWN)

    def kill(self) -> None:
        """End at once: wait for no child that has not been killed."""
        self.patience.cut(-math.inf)
        self.rule(Exit.KILLED)

    def fail(self, error: Exception) -> None:
        """End because of an *error* that no child made."""
        self.rule(Exit.CRASHED(error))

    def rule(self, exit_: Exit) -> None:
        """Decide that the supervisor ends by *exit_*, unless something worse is decided already."""
        if self.exit is not None:
            return
        if self.verdict is None and self._shutdown_deadline is not None and self._work is not None:
            self.patience.cut(self.now() + self._shutdown_deadline)
        if self.verdict is None or self.verdict.kind is ExitKind.SHUTDOWN:
            self.verdict = exit_
        if self._work is not None:
            self._work.interrupt()

    def report(self, event: SupervisorEvent) -> None:
        """Pass *event* on."""
        if self._reporter is None:
            return
        try:
            self._reporter(event)
        except Exception as error:  # noqa: BLE001 - it becomes the supervisor's own end
            self.fail(error)

    def abandon_after(self, *, supervisor: bool) -> float:
        """Return the seconds to wait for a run that was killed.

        A supervisor needs as long itself for its own children, so it gets twice the time.
        """
        return self._abandon_after * 2 if supervisor else self._abandon_after

    @property
    def running(self) -> bool:
        """Whether it has started, and is not about to end."""
        return self._work is not None and self.verdict is None and self.exit is None

    @property
    def open(self) -> bool:
        """Whether all it began with has been started, and it is not about to end."""
        return self._ready and self.running

    @property
    def visible(self) -> bool:
        """Whether it has started, and has not ended yet."""
        return self._work is not None and self.exit is None

    async def _live(self) -> None:
        assert self._work is not None
        exit_ = Exit.KILLED
        try:
            exit_ = await self._obey(self._work)
        except Exception as error:  # noqa: BLE001 - a fault in here is the parent's to judge, as any child's is
            exit_ = Exit.CRASHED(error)
        finally:
            self.verdict = self.verdict or exit_
            with anyio.CancelScope(shield=True):
                await self._work.slay()
            self._end(exit_)

    async def _obey(self, work: SupervisorWork) -> Exit:
        try:
            await work.open()
        except Exception as error:  # noqa: BLE001 - it is raised again by start()
            self._failure = error
            if self.verdict is None:
                self.fail(error)
        if self.verdict is None:
            self._ready = True
            self._settled.set()
            self.report(SupervisorStarted(self.name))
            await work.serve()
        await work.close()
        return self.verdict or Exit.SHUTDOWN

    def _end(self, exit_: Exit) -> None:
        if self._ready:
            self.report(SupervisorEnded(self.name, exit_))
        self.exit = exit_
        self._done.set()
        self._settled.set()
        if self._ready and self._tell is not None:
            self._tell(exit_)
