"""The loop shim: waiter, wake, call-soon, timer, watch-fd, task, now, for asyncio (uvloop) and trio.

Rule 1: the message path touches an event loop only through this file.
Rule 2: nothing here knows an actor, a message or a node.
Rule 3: this is the only door to trio and uvloop.

A waiter is an `asyncio.Future` on asyncio, so that the hot path pays for C code only; the trio
waiter offers the same few methods.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from ._errors import ActorsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator

__all__ = ["AsyncioLoop", "Interrupt", "Loop", "Task", "Timer", "Waiter", "open_loop", "run_on"]

T = TypeVar("T")
BACKENDS: Final = ("asyncio", "trio")


class Waiter(Protocol):
    """One reply on its way: awaited by one task, resolved once by another."""

    def __await__(self) -> Generator[Any, None, Any]: ...
    def done(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def set_result(self, value: Any, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> object: ...


class Task(Protocol):
    """A task that somebody owns."""

    def cancel(self) -> object: ...


class Interrupt(Protocol):
    """Runs one step of a task so that it can be broken off without ending the task."""

    asked: bool

    def ask(self) -> None: ...
    async def run(self, step: Callable[[], Awaitable[None]]) -> None: ...


class Loop(Protocol):
    """What the message path needs of an event loop; one per node."""

    backend: str
    stray_cancellation: type[BaseException] | tuple[()]
    """What a cancellation that nobody asked for looks like, where it can be told apart."""

    def now(self) -> float: ...
    def waiter(self) -> Waiter: ...
    def call_soon(self, fn: Callable[..., object], /, *args: Any) -> object: ...
    def call_later(self, seconds: float, fn: Callable[..., object], /, *args: Any) -> Timer: ...
    def call_threadsafe(self, fn: Callable[..., object], /, *args: Any) -> object: ...
    def watch_readable(self, fd: int, fn: Callable[[], None]) -> None: ...
    def unwatch_readable(self, fd: int) -> None: ...
    def watch_writable(self, fd: int, fn: Callable[[], None]) -> None: ...
    def unwatch_writable(self, fd: int) -> None: ...
    def start(
        self, fn: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any, name: str, fresh: bool = False
    ) -> Task: ...
    def interrupt(self) -> Interrupt: ...
    async def pause(self) -> None: ...


class _AsyncioInterrupt:
    """Breaks off the current await by cancelling the task, then takes the cancellation back."""

    __slots__ = ("_task", "asked")

    def __init__(self) -> None:
        self.asked = False
        self._task: asyncio.Task[Any] | None = None

    def ask(self) -> None:
        """Break off what `run` is awaiting; once is enough."""
        if not self.asked and self._task is not None:
            self.asked = True
            self._task.cancel()

    async def run(self, step: Callable[[], Awaitable[None]]) -> None:
        """Await *step*; return when it returned or was broken off by `ask`."""
        self._task = asyncio.current_task()
        self.asked = False
        try:
            await step()
        except asyncio.CancelledError:
            if not self.asked:
                raise
        finally:
            if self.asked and self._task is not None:
                self._task.uncancel()


class AsyncioLoop:
    """The shim over asyncio, uvloop included."""

    backend = "asyncio"
    stray_cancellation = asyncio.CancelledError

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = loop
        # Bound once: these are called per message.
        self.waiter: Callable[[], Waiter] = loop.create_future
        self.now = loop.time
        self.call_soon = loop.call_soon
        self.call_later = loop.call_later
        self.call_threadsafe = loop.call_soon_threadsafe
        self.watch_readable = loop.add_reader
        self.unwatch_readable = loop.remove_reader
        self.watch_writable = loop.add_writer
        self.unwatch_writable = loop.remove_writer

    def start(
        self, fn: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any, name: str, fresh: bool = False
    ) -> Task:
        """Run ``fn(*args)`` as a task; *fresh* gives it an empty context."""
        context = contextvars.Context() if fresh else None
        task = self._loop.create_task(fn(*args), name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def interrupt(self) -> Interrupt:
        """Make a fresh interrupt for the calling task."""
        return _AsyncioInterrupt()

    async def pause(self) -> None:
        """Let everything else that is ready run once."""
        await asyncio.sleep(0)


@asynccontextmanager
async def open_loop() -> AsyncIterator[Loop]:
    """Give the shim for the running loop; what it started on trio ends with the block.

    Raises:
        ActorsError: no supported loop runs here.
    """
    if "trio" in sys.modules:
        from ._trio import in_trio, open_trio_loop  # noqa: PLC0415 - trio's door: imported only where trio runs

        if in_trio():
            async with open_trio_loop() as loop:
                yield loop
            return
    try:
        running = asyncio.get_running_loop()
    except RuntimeError as error:
        raise ActorsError("no event loop runs here: call this from an async function") from error
    yield AsyncioLoop(running)


def run_on(
    fn: Callable[..., Coroutine[Any, Any, T]], /, *args: Any, backend: str = "asyncio", uvloop: bool = True
) -> T:
    """Run ``fn(*args)`` to its end on a new loop and return its result.

    Args:
        fn: an async function.
        *args: its arguments.
        backend: "asyncio" or "trio".
        uvloop: use uvloop under asyncio where it is installed.

    Raises:
        ActorsError: *backend* is unknown, or trio is not installed.
    """
    if backend == "trio":
        try:
            import trio  # noqa: PLC0415 - trio's door: imported only where trio runs
        except ImportError as error:
            raise ActorsError("backend='trio' needs trio: pip install actors-framework[trio]") from error
        return trio.run(fn, *args)
    if backend != "asyncio":
        raise ActorsError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    factory = None
    if uvloop:
        try:
            from uvloop import new_event_loop as factory  # noqa: PLC0415 - uvloop's door
        except ImportError:
            factory = None  # asyncio's own loop serves every purpose, slower
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(fn(*args))
