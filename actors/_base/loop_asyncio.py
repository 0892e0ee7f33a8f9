"""The `Loop` interface on asyncio, uvloop included."""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from actors._base.loop import Interrupt, Task, Waiter

__all__ = ["AsyncioLoop"]


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


class AsyncioLoop:
    """The `Loop` of a running asyncio loop."""

    backend = "asyncio"
    # A CancelledError that nobody requested is a failure of the actor.
    passes: tuple[type[BaseException], ...] = (KeyboardInterrupt, SystemExit)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._forget = self._tasks.discard
        self._loop = loop
        # Bound once, because they are called for each message.
        self.waiter: Callable[[], Waiter] = loop.create_future
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
    ) -> Task:
        """Run ``fn(*args)`` as a task; *fresh* gives it an empty context."""
        context = contextvars.Context() if fresh else None
        task = self._loop.create_task(fn(*args), name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def cancelled_by(self, error: BaseException) -> bool:
        """As `Loop.cancelled_by`."""
        task = asyncio.current_task()
        return (
            isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
        )

    def tasks(self) -> list[tuple[str, Any]]:
        """Return the name and the coroutine of every task."""
        return [(task.get_name(), task.get_coro()) for task in asyncio.all_tasks(self._loop)]

    def interrupt(self) -> Interrupt:
        """Make a fresh interrupt for the calling task."""
        return _AsyncioInterrupt()

    async def pause(self) -> None:
        """Let everything else that is ready run once."""
        await asyncio.sleep(0)
