"""The `Loop` interface on trio; imported only where trio runs.

What is a callback on asyncio is a small task in the nursery of the system here.
"""

from __future__ import annotations

import contextvars
import heapq
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from actors._base.errors import ActorsError
from actors._base.log import empty_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator

    from actors._base.loop import Block, Interrupt, Task, Timer, Waiter

__all__ = ["TrioLoop", "in_trio", "open_trio_loop", "start_alone"]


def in_trio() -> bool:
    """Return whether the calling code runs in a trio task or callback."""
    return trio.lowlevel.in_trio_run()


@asynccontextmanager
async def open_trio_loop() -> AsyncIterator[TrioLoop]:
    """Provide a `TrioLoop` with a nursery; its tasks are cancelled at the end of the block."""
    async with trio.open_nursery() as nursery:
        yield TrioLoop(nursery)
        nursery.cancel_scope.cancel()


def start_alone(
    work: Callable[[], Coroutine[Any, Any, None]], loop_ends: Callable[[], None], *, name: str
) -> None:
    """Run *work* in a system task; see `run_loop.start_alone`."""
    context = contextvars.copy_context()
    trio.lowlevel.spawn_system_task(_alone, work, loop_ends, name=name, context=context)


async def _alone(
    work: Callable[[], Coroutine[Any, Any, None]], loop_ends: Callable[[], None]
) -> None:
    """Trio cancels its system tasks when the main task has ended: *work* goes on until it has ended, too."""
    ended = trio.Event()

    async def shielded() -> None:
        with trio.CancelScope(shield=True):
            await work()
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shielded)
        try:
            await ended.wait()
        except trio.Cancelled:
            loop_ends()
            raise


class _TrioBlock:
    """A cancel scope around the rest of the block; trio has it left in its own task only."""

    def __init__(self) -> None:
        self._task = trio.lowlevel.current_task()
        self._scope = trio.CancelScope()
        self._scope.__enter__()
        self.over = False

    @property
    def mine(self) -> bool:
        return trio.lowlevel.current_task() is self._task

    def cancel(self) -> None:
        self._scope.cancel()

    def leave(self, error: BaseException | None) -> bool:
        if not self.mine:
            raise ActorsError(
                "trio has a block left in the task that entered it, and this was another; the system has "
                "stopped: use `await actors.start()` and `aclose()`"
            )
        self.over = True
        trace = None if error is None else error.__traceback__
        return bool(self._scope.__exit__(type(error) if error else None, error, trace))

    def when_over(self, fn: Callable[[], object]) -> None:
        """Call *fn* now: trio ends its loop after the end of every task but its own."""
        self.over = True
        fn()


class _TrioWaiter:
    """A future for one waiting task, with the few methods of `asyncio.Future` that are used."""

    __slots__ = ("_cancelled", "_done", "_error", "_task", "_value")

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None
        self._done = self._cancelled = False
        self._error: BaseException | None = None
        self._value: Any = None

    def _abort(self, _raise: object) -> trio.lowlevel.Abort:
        self._task = None
        self._done = self._cancelled = True
        return trio.lowlevel.Abort.SUCCEEDED

    def __await__(self) -> Generator[Any, None, Any]:
        if not self._done:
            self._task = trio.lowlevel.current_task()
            yield from trio.lowlevel.wait_task_rescheduled(self._abort).__await__()  # noqa: ASYNC105 - awaited here
        if self._error is not None:
            raise self._error
        return self._value

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return self._cancelled

    def set_result(self, value: Any, /) -> None:
        self._value, self._done = value, True
        self._wake()

    def set_exception(self, error: BaseException, /) -> None:
        self._error, self._done = error, True
        self._wake()

    def _wake(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)


class _TrioInterrupt:
    """Cancels the scope in which a step runs."""

    __slots__ = ("_scope", "requested")

    def __init__(self) -> None:
        self.requested = False
        self._scope: trio.CancelScope | None = None

    def request(self) -> None:
        if self._scope is not None:
            self.requested = True
            self._scope.cancel()

    async def run(self, step: Callable[[], Awaitable[None]]) -> None:
        self.requested = False
        with trio.CancelScope() as self._scope:
            await step()


class _Call:
    """A call to be made at a time of trio's clock."""

    __slots__ = ("_timers", "args", "at", "fn", "number")

    def __init__(
        self, timers: _Timers, at: float, number: int, fn: Callable[..., object], args: Any
    ) -> None:
        self._timers = timers
        self.at = at
        self.number = number
        self.fn: Callable[..., object] | None = fn
        self.args = args

    def __lt__(self, other: _Call) -> bool:
        return (self.at, self.number) < (other.at, other.number)

    def cancel(self) -> None:
        """As `Timer.cancel`; what it would have called and passed is let go of now, not at its time."""
        self.fn = None
        self.args = ()
        self._timers.reschedule(self)


class _Timers:
    """All timers of a loop, called in the order of their times by one task."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._numbers = itertools.count()
        self._sleep: trio.CancelScope | None = None
        self._running = False

    def add(
        self, nursery: trio.Nursery, seconds: float, fn: Callable[..., object], args: Any
    ) -> _Call:
        call = _Call(self, trio.current_time() + seconds, next(self._numbers), fn, args)
        heapq.heappush(self._calls, call)
        if not self._running:
            self._running = True
            nursery.start_soon(self._run, name="timers")
        self.reschedule(call)
        return call

    def reschedule(self, call: _Call) -> None:
        """Wake the task if *call* is the first one: it was added or cancelled."""
        if self._sleep is not None and self._calls and self._calls[0] is call:
            self._sleep.cancel()

    async def _run(self) -> None:
        try:
            while self._calls:
                first = self._calls[0]
                if first.fn is not None and first.at > trio.current_time():
                    with trio.CancelScope() as self._sleep:
                        await trio.sleep_until(first.at)
                    continue
                heapq.heappop(self._calls)
                if first.fn is not None:
                    first.fn(*first.args)
        finally:
            self._running = False


class TrioLoop:
    """The `Loop` of a running trio loop; its tasks run in *nursery*."""

    backend = "trio"
    # trio's Cancelled belongs to a scope outside and has to reach it.
    passes: tuple[type[BaseException], ...] = (KeyboardInterrupt, SystemExit, trio.Cancelled)

    def __init__(self, nursery: trio.Nursery | None) -> None:
        self._nursery = nursery
        self._empty = empty_context()
        self._token = trio.lowlevel.current_trio_token()
        self._timers = _Timers()
        self._readers: dict[int, trio.CancelScope] = {}
        self._writers: dict[int, trio.CancelScope] = {}
        self.waiter: Callable[[], Waiter] = _TrioWaiter
        self.current_task: Callable[[], object] = trio.lowlevel.current_task
        self.now = trio.current_time
        self.call_soon = self._token.run_sync_soon
        self.call_threadsafe = self._token.run_sync_soon

    def _host(self) -> trio.Nursery:
        if self._nursery is None:
            raise RuntimeError("this loop was given no nursery to start tasks in")
        return self._nursery

    def call_later(self, seconds: float, fn: Callable[..., object], /, *args: Any) -> Timer:
        return self._timers.add(self._host(), seconds, fn, args)

    def _watch(
        self, watched: dict[int, trio.CancelScope], fd: int, fn: Callable[[], object], ready: Any
    ) -> None:
        if fd in watched:
            watched.pop(fd).cancel()
        scope = watched[fd] = trio.CancelScope()

        async def watch() -> None:
            with scope:
                while watched.get(fd) is scope:
                    try:
                        await ready(fd)
                    except (trio.ClosedResourceError, OSError):
                        return
                    if watched.get(fd) is scope:  # no callback of this turn has unwatched it
                        fn()

        self._host().start_soon(watch, name=f"watch fd {fd}")

    def _unwatch(self, watched: dict[int, trio.CancelScope], fd: int) -> None:
        scope = watched.pop(fd, None)
        if scope is not None:
            scope.cancel()

    def watch_readable(self, fd: int, fn: Callable[[], object]) -> None:
        self._watch(self._readers, fd, fn, trio.lowlevel.wait_readable)

    def unwatch_readable(self, fd: int) -> None:
        self._unwatch(self._readers, fd)

    def watch_writable(self, fd: int, fn: Callable[[], object]) -> None:
        self._watch(self._writers, fd, fn, trio.lowlevel.wait_writable)

    def unwatch_writable(self, fd: int) -> None:
        self._unwatch(self._writers, fd)

    def start(
        self,
        fn: Callable[..., Coroutine[Any, Any, Any]],
        /,
        *args: Any,
        name: str,
        fresh: bool = False,
    ) -> Task:
        scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                await fn(*args)

        context = self._empty.copy() if fresh else contextvars.copy_context()
        nursery = self._host()
        # trio gives a task a copy of the caller's context, so the call is made in the wanted one.
        context.run(lambda: nursery.start_soon(run, name=name))
        return scope

    def cancelled_by(self, error: BaseException) -> bool:
        """As `Loop.cancelled_by`; a handler cannot raise trio's Cancelled itself."""
        return isinstance(error, trio.Cancelled)

    def tasks(self) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        root = trio.lowlevel.current_root_task()
        left = [] if root is None else [root]
        while left:
            task = left.pop()
            found.append((task.name, task.coro))
            left.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
        return found

    def interrupt(self) -> Interrupt:
        return _TrioInterrupt()

    def stepper(self) -> None:
        """Return nothing: only trio itself runs the code of a task."""

    def successor(self) -> None:
        """Return nothing: a task of trio is one of a nursery, and of cancel scopes that count on it."""

    def elsewhere(self) -> bool:
        return in_trio() and trio.lowlevel.current_trio_token() is not self._token

    def run_again(self, _fn: Callable[[], Coroutine[Any, Any, object]]) -> bool:
        return False  # trio.run has ended its tasks

    def block(self) -> Block:
        return _TrioBlock()

    async def pause(self) -> None:
        await trio.lowlevel.checkpoint()
