"""The one task of a supervisor, static or dynamic, from its start to its one end, and its mailbox.

It makes a supervisor a `Child` itself. It knows nothing of children: its work does.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import current_token

from actors.supervisors._check import check_callable, check_name, check_number
from actors.supervisors._errors import AlreadyStarted, InvalidPolicy, SupervisorStopped
from actors.supervisors._events import Reporter, SupervisorEnded, SupervisorEvent, SupervisorStarted
from actors.supervisors._exit import Exit, ExitKind
from actors.supervisors._shutdown import ShutdownDeadline

T = TypeVar("T")


class SupervisorMailbox(Generic[T]):
    """A queue that one task reads, and that can also be woken without an item."""

    __slots__ = ("_event", "_items", "_woken")

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._woken = False
        self._event: anyio.Event | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add *item* and wake the task."""
        self._items.append(item)
        self.wake()

    def wake(self) -> None:
        """End the task's wait, or its next one."""
        self._woken = True
        if self._event is not None:
            self._event.set()

    def take(self) -> T | None:
        """Remove the oldest item and return it, if there is one."""
        return self._items.popleft() if self._items else None

    async def wait(self, until: float = math.inf) -> None:
        """Wait for a wake since the last wait, but not beyond *until* on the loop's clock."""
        if not self._woken:
            self._event = anyio.Event()
            with anyio.CancelScope(deadline=until):
                await self._event.wait()
            self._event = None
        self._woken = False


class SupervisorCall(Generic[T]):
    """One request to the task, and its answer."""

    __slots__ = ("_answered", "_error", "_result", "_undo", "_work", "withdrawn")

    def __init__(
        self, work: Callable[[], Awaitable[T]], undo: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        self._work = work
        self._undo = undo
        self._answered = anyio.Event()
        self.withdrawn = False
        """Whether the caller was cancelled."""
        self._result: T
        self._error: Exception | None = None

    async def perform(self) -> None:
        """Do the work, in the task; undo it if the caller was cancelled meanwhile."""
        if self.withdrawn:
            return
        try:
            self._result = await self._work()
        except Exception as error:  # noqa: BLE001 - it is raised again in the caller
            self._error = error
        self._answered.set()
        await self._undo_if_withdrawn()

    async def _undo_if_withdrawn(self) -> None:
        if self.withdrawn:
            await self.undo()

    async def undo(self) -> None:
        """Undo what was done for a caller that was cancelled."""
        if self._error is None and self._undo is not None:
            await self._undo()

    def refuse(self, error: Exception) -> None:
        """Raise *error* in the caller; the work is not done."""
        self._error = error
        self._answered.set()

    def withdraw(self) -> bool:
        """Note that the caller was cancelled; return whether finished work has to be undone."""
        self.withdrawn = True
        return self._answered.is_set() and self._error is None

    async def wait_answered(self) -> None:
        """Wait until the work has been done, or has failed."""
        await self._answered.wait()

    async def answer(self) -> T:
        """Wait for the answer, in the caller."""
        await self._answered.wait()
        if self._error is not None:
            raise self._error
        return self._result


class SupervisorWork(Protocol):
    """What a supervisor does in its task, in this order."""

    async def open(self) -> None:
        """Start what there is to start, or raise."""

    async def serve(self) -> None:
        """Work until `SupervisorTask.exit_decided` is set."""

    async def close(self) -> None:
        """Stop all children in order, until the overall deadline passes."""

    async def kill_all(self) -> None:
        """Kill the children that are left; takes a bounded time and raises nothing."""

    def interrupt(self) -> None:
        """Have `open` and `serve` look at `exit_decided` now, whatever they wait for."""


class SupervisorTask:
    """Runs the work of one supervisor in one task, and decides how the supervisor ends.

    Args:
        name: The supervisor's name or path, for its reports.
        tasks: The task group this task runs in. When it is cancelled the children are killed.
            Further groups are made by its `new_group`, if it has that.
        report: Called with each event; None for nobody. If it raises, the supervisor ends as
            CRASHED.
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
        self.overall: ShutdownDeadline = ShutdownDeadline()
        self.exit_decided: Exit | None = None
        """How the supervisor is going to end, once that is decided."""
        self.exit: Exit | None = None
        self.silent: bool = report is None
        """Whether nobody gets reports, so that they need not be made."""
        self._abandon_after = abandon_after
        self._shutdown_deadline = shutdown_deadline
        self._reporter = report
        self._tasks = tasks
        # Looked up in a task, because stop() may be called from a bare callback of the loop.
        self.now: Callable[[], float] = anyio.current_time
        """The loop's clock, also from a bare callback."""
        self._work: SupervisorWork | None = None
        self._on_ended: Callable[[Exit], None] | None = None
        self._failure: Exception | None = None
        self._ready = False
        self._started_or_failed = anyio.Event()
        self._ended = anyio.Event()

    def new_group(self) -> TaskGroup:
        """Return another task group, of the kind of the one that this task runs in."""
        new: Callable[[], TaskGroup] = getattr(self._tasks, "new_group", anyio.create_task_group)
        return new()

    async def start(self, work: SupervisorWork, ended: Callable[[Exit], None] | None) -> None:
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
        self._on_ended = ended
        self._tasks.start_soon(self._run, work, name=f"supervisor {self.name}")
        try:
            await self._started_or_failed.wait()
        except BaseException:
            self._on_ended = None
            self.kill()
            with anyio.CancelScope(shield=True):
                await self._ended.wait()
            raise
        if self._failure is not None:
            raise self._failure
        if not self._ready:
            raise SupervisorStopped(self.name)

    async def wait(self) -> Exit:
        """Wait for the end and return it."""
        await self._ended.wait()
        return self.exit or Exit.KILLED

    def kill(self) -> None:
        """End at once: do not wait for children before they are killed."""
        self.overall.cut(-math.inf)
        self.decide_exit(Exit.KILLED)

    def fail(self, error: Exception) -> None:
        """End by an *error* that no child made."""
        self.decide_exit(Exit.CRASHED(error))

    def decide_exit(self, exit_: Exit) -> None:
        """Have the supervisor end by *exit_*; of several, the first other than SHUTDOWN counts."""
        if self.exit is not None:
            return
        undecided = self.exit_decided is None
        if undecided and self._shutdown_deadline is not None and self._work is not None:
            self.overall.cut(self.now() + self._shutdown_deadline)
        if self.exit_decided is None or self.exit_decided.kind is ExitKind.SHUTDOWN:
            self.exit_decided = exit_
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
        return self.visible and self.exit_decided is None

    @property
    def open(self) -> bool:
        """Whether all it began with has been started, and it is not about to end."""
        return self._ready and self.running

    @property
    def visible(self) -> bool:
        """Whether it has started, and has not ended yet."""
        return self._work is not None and self.exit is None

    async def _run(self, work: SupervisorWork) -> None:
        exit_ = Exit.KILLED
        try:
            exit_ = await self._do(work)
        except Exception as error:  # noqa: BLE001 - the parent decides about an error in here as about any child's
            exit_ = Exit.CRASHED(error)
        finally:
            self.exit_decided = self.exit_decided or exit_
            with anyio.CancelScope(shield=True):
                await work.kill_all()
            self._end(exit_)

    async def _do(self, work: SupervisorWork) -> Exit:
        try:
            await work.open()
        except Exception as error:  # noqa: BLE001 - it is raised again by start()
            self._failure = error
            if self.exit_decided is None:
                self.fail(error)
        if self.exit_decided is None:
            self._ready = True
            self._started_or_failed.set()
            self.report(SupervisorStarted(self.name))
            await work.serve()
        await work.close()
        return self.exit_decided or Exit.SHUTDOWN

    def _end(self, exit_: Exit) -> None:
        if self._ready:
            self.report(SupervisorEnded(self.name, exit_))
        self.exit = exit_
        self._ended.set()
        self._started_or_failed.set()
        if self._ready and self._on_ended is not None:
            self._on_ended(exit_)
