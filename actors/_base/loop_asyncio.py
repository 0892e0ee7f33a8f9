"""The `Loop` interface on asyncio, uvloop included."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakSet, getweakrefcount

from anyio import create_task_group

from actors._base.first_step import StepBudget, Stepper
from actors._base.log import empty_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from types import TracebackType

    import anyio
    from anyio.abc import TaskGroup

    from actors._base.loop import Block, Interrupt, Successor, Task, Waiter

__all__ = ["UNHURRIED", "AsyncioLoop", "HiddenTasks", "in_hidden_task", "start_alone"]

_HIDDEN: Final[WeakSet[asyncio.Task[Any]]] = WeakSet()
"""Tasks that `asyncio.all_tasks` does not have: what cancels those at the end of a loop passes them by."""

UNHURRIED: Final[WeakSet[asyncio.Task[Any]]] = WeakSet()
"""Tasks that end by themselves some time after they were cancelled, within deadlines of their own."""


# On Python 3.11 `asyncio.current_task` is not in C, and this dict is all that it looks at.
_tasks: Final[Any] = asyncio.tasks
_current_task: Final[Any] = (
    asyncio.current_task if sys.version_info >= (3, 12) else _tasks._current_tasks.get  # noqa: SLF001 - as above
)
_COUNTS: Final = sys.implementation.name == "cpython"


def _hide(task: asyncio.Task[Any]) -> None:
    _HIDDEN.add(task)
    asyncio._unregister_task(task)  # noqa: SLF001 - documented, in "Extending"
    task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 - as asyncio.gather does


def in_hidden_task() -> bool:
    """Return whether the calling task is one that `asyncio.all_tasks` does not have."""
    return asyncio.current_task() in _HIDDEN


def start_alone(
    work: Callable[[], Coroutine[Any, Any, None]], loop_ends: Callable[[], None], *, name: str
) -> None:
    """Run *work* in a task that belongs to no caller; see `run_loop.start_alone`."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work(), name=name)
    _hide(task)
    guard = loop.create_task(_guard(task, loop_ends), name=f"{name}, until its event loop ends")
    UNHURRIED.add(guard)
    guard._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 - as above


async def _guard(task: asyncio.Task[None], loop_ends: Callable[[], None]) -> None:
    """Be cancelled in place of *task*: whoever ends the loop cancels all tasks it sees, and awaits them."""
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            loop_ends()


class HiddenTasks:
    """A task group of anyio, as far as a system uses it, whose tasks `asyncio.all_tasks` does not have."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self.cancel_scope: anyio.CancelScope = group.cancel_scope

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._group.__aexit__(kind, error, trace)

    def new_group(self) -> HiddenTasks:
        """Return another one, for a task of this one."""
        return HiddenTasks(create_task_group())

    def start_soon(
        self, func: Callable[..., Awaitable[Any]], *args: Any, name: object = None
    ) -> None:
        """Start a task, as `anyio.abc.TaskGroup.start_soon`."""
        self._group.start_soon(self._hidden, func, args, name=name or func)

    async def _hidden(self, func: Callable[..., Awaitable[Any]], args: tuple[Any, ...]) -> None:
        task = asyncio.current_task()
        assert task is not None
        _hide(task)
        await func(*args)


class _AsyncioInterrupt:
    """Cancels the task to end its current step, then uncancels it."""

    __slots__ = ("_task", "requested")

    def __init__(self) -> None:
        self.requested = False
        self._task: asyncio.Task[Any] | None = None

    def request(self) -> None:
        """Cancel the step that `run` awaits; a second call changes nothing."""
        if not self.requested and self._task is not None:
            self.requested = True
            self._task.cancel()

    async def run(self, step: Callable[[], Awaitable[None]]) -> None:
        """Await *step*; return when it returned or was cancelled by `request`."""
        self._task = asyncio.current_task()
        self.requested = False
        try:
            await step()
        except asyncio.CancelledError:
            if not self.requested:
                raise
        finally:
            if self.requested and self._task is not None:
                self._task.uncancel()


class _AsyncioSuccessor:
    """Counts the references to the task: a time limit, a task group and a cancel scope have one."""

    __slots__ = ("_context", "_loop", "_references", "_weak")

    def __init__(self, loop: AsyncioLoop, context: contextvars.Context) -> None:
        self._loop = loop
        self._context = context
        self._references, self._weak = _references()

    @property
    def unknown(self) -> bool:
        return _references() == (self._references, self._weak)

    def start(self, fn: Callable[[], Coroutine[Any, Any, Any]], /, *, name: str) -> object:
        return self._loop.start(fn, name=name, context=self._context)


def _references() -> tuple[int, int]:
    """Return how many references there are to the calling task, and how many weak ones."""
    task = asyncio.current_task()
    return sys.getrefcount(task), getweakrefcount(task)


class _AsyncioBlock:
    """Cancels the task that made it, once, as `asyncio.timeout` does."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelled_before = task.cancelling()
        self._asked = self._left = False

    @property
    def over(self) -> bool:
        return self._left or self._task.done()

    @property
    def mine(self) -> bool:
        return asyncio.current_task() is self._task

    def cancel(self) -> None:
        if not self._asked and not self.over:
            self._asked = True
            self._task.cancel()

    def leave(self, error: BaseException | None) -> bool:
        self._left = True
        if not self._asked or not self.mine:
            return False
        others = self._task.uncancel() > self._cancelled_before
        return isinstance(error, asyncio.CancelledError) and not others

    def when_over(self, fn: Callable[[], object]) -> None:
        self._task.add_done_callback(lambda _task: fn())


class AsyncioLoop:
    """The `Loop` of a running asyncio loop.

    Args:
        loop: the running loop.
        hidden: whether `asyncio.all_tasks` lacks the tasks of `start`.
    """

    backend = "asyncio"
    # A CancelledError that nobody requested is a failure of the actor.
    passes: tuple[type[BaseException], ...] = (KeyboardInterrupt, SystemExit)

    def __init__(self, loop: asyncio.AbstractEventLoop, *, hidden: bool = False) -> None:
        self._hidden = hidden
        self._empty = empty_context()
        self._tasks: dict[asyncio.Task[Any], contextvars.Context | None] = {}
        self._forget = self._tasks.pop
        self._budget = StepBudget()
        self._loop = loop
        # Bound once, because they are called for each message.
        self.waiter: Callable[[], Waiter] = loop.create_future
        self.current_task: Callable[[], object] = partial(_current_task, loop)
        # uvloop's own clock stands still while a callback runs.
        uvloop = type(loop).__module__.partition(".")[0] == "uvloop"
        self.now: Callable[[], float] = time.monotonic if uvloop else loop.time
        self.call_soon = loop.call_soon
        self.call_later = loop.call_later
        self.call_threadsafe = loop.call_soon_threadsafe
        self.watch_readable = loop.add_reader
        self.unwatch_readable = loop.remove_reader
        self.watch_writable = loop.add_writer
        self.unwatch_writable = loop.remove_writer

    def start(
        self,
        fn: Callable[..., Coroutine[Any, Any, Any]],
        /,
        *args: Any,
        name: str,
        fresh: bool = False,
        context: contextvars.Context | None = None,
    ) -> Task:
        """Run ``fn(*args)`` as a task; *fresh* gives it an empty context, in place of *context*."""
        if fresh:
            context = self._empty.copy()
        task = self._loop.create_task(fn(*args), name=name, context=context)
        self._tasks[task] = context
        if self._hidden:
            _hide(task)
            task.add_done_callback(self._forget_hidden)
        else:
            task.add_done_callback(self._forget)
        return task

    def _forget_hidden(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        error = None if task.cancelled() else task.exception()
        # Ctrl-C may strike in any task: the loop has raised it already.
        if error is not None and not isinstance(error, self.passes):
            what = f"{task.get_name()} failed"
            self._loop.call_exception_handler({"message": what, "exception": error, "task": task})

    def cancelled_by(self, error: BaseException) -> bool:
        """As `Loop.cancelled_by`."""
        task = asyncio.current_task()
        return (
            isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
        )

    def tasks(self) -> list[tuple[str, Any]]:
        """Return the name and the coroutine of every task."""
        hidden = {task for task in _HIDDEN if task.get_loop() is self._loop and not task.done()}
        found = asyncio.all_tasks(self._loop) | hidden
        return [(task.get_name(), task.get_coro()) for task in found]

    def elsewhere(self) -> bool:
        """As `Loop.elsewhere`."""
        running = asyncio._get_running_loop()  # noqa: SLF001 - documented, for frameworks
        return running is not None and running is not self._loop

    def run_again(self, fn: Callable[[], Coroutine[Any, Any, object]]) -> bool:
        """As `Loop.run_again`."""
        if self._loop.is_closed() or self._loop.is_running():
            return False
        self._loop.run_until_complete(fn())
        return True

    def successor(self) -> Successor | None:
        """As `Loop.successor`: not where tasks are made by others, nor where references are not counted."""
        task = asyncio.current_task()
        context = None if task is None else self._tasks.get(task)
        del task
        if context is None or self._loop.get_task_factory() is not None or not _COUNTS:
            return None
        return _AsyncioSuccessor(self, context)

    def block(self) -> Block:
        """As `Loop.block`."""
        return _AsyncioBlock()

    def interrupt(self) -> Interrupt:
        """Make a fresh interrupt for the calling task."""
        return _AsyncioInterrupt()

    def stepper(self) -> Stepper | None:
        """As `Loop.stepper`."""
        task = asyncio.current_task()
        context = None if task is None else self._tasks.get(task)
        return None if context is None else Stepper(self._loop, context, self._budget)

    async def pause(self) -> None:
        """Let everything else that is ready run once."""
        await asyncio.sleep(0)
