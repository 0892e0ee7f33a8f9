"""The worker of plain functions: an actor that runs what it is sent, in a thread beside its loop."""

from __future__ import annotations

import inspect
import threading
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet, finalize

from anyio import CancelScope, Event, get_cancelled_exc_class

from actors._actor.base import Actor
from actors._base.errors import InvalidSpec, NotSendable, TaskExited
from actors._messaging.handler_options import concurrent

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from actors._base.loop import Loop, Waiter

__all__ = [
    "FunctionWorker",
    "call_chunk",
    "call_chunk_async",
    "chunk_caller",
    "function_name",
    "refuse_function",
]


_GOOD: Final[WeakSet[Any]] = WeakSet()
"""Functions that were looked at and can be sent."""


def function_name(fn: Any) -> str:
    """Return the name of a function for errors and figures; that of a partial is its function's."""
    while isinstance(fn, partial):
        fn = fn.func
    return str(getattr(fn, "__qualname__", None) or type(fn).__qualname__)


def refuse_function(pool: str, fn: Any) -> None:  # noqa: C901 - one mistake after another
    """Refuse at the call what can never run on a worker.

    Raises:
        InvalidSpec: it is not callable, or makes a generator.
        NotSendable: it cannot be found by its name where it is to run.
    """
    if type(fn) is FunctionType and fn in _GOOD:
        return
    inner = fn
    while isinstance(inner, partial):
        inner = inner.func
    name = function_name(fn)
    if inspect.iscoroutine(inner):
        inner.close()
        raise InvalidSpec(
            f"pool {pool!r}: give run the function and its arguments, not a coroutine"
        )
    if not callable(inner):
        raise InvalidSpec(f"pool {pool!r}: run takes a function and its arguments, got {fn!r}")
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise InvalidSpec(
            f"pool {pool!r}: {name} is a generator function, and what it makes cannot travel: "
            "return a list, or use an actor's stream"
        )
    if "<lambda>" in name or "<locals>" in name:
        kind = "a lambda" if "<lambda>" in name else "defined inside another function"
        raise NotSendable(
            "fn", f"{name} is {kind}: a worker cannot import it; move it to the top of a module"
        )
    bound = getattr(inner, "__self__", None)
    if inspect.ismethod(inner) and not isinstance(bound, type):
        raise NotSendable(
            "fn",
            f"{name} is a method bound to {type(bound).__qualname__}, which would have to travel with it: "
            "pass a function of a module, and the object as an argument",
        )
    if type(fn) is FunctionType:
        _GOOD.add(fn)


def chunk_caller(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return what calls *fn* many times in one task; see `call_chunk`."""
    return call_chunk_async if _is_async(fn) else call_chunk


def call_chunk(
    fn: Callable[..., Any], columns: list[list[Any]]
) -> tuple[list[Any], BaseException | None]:
    """Call *fn* with each row of *columns*; return the results, up to the first error, and that."""
    done: list[Any] = []
    try:
        for args in zip(*columns, strict=True):
            done.append(fn(*args))  # noqa: PERF401 - what came before an error is kept
    except Exception as error:  # noqa: BLE001 - raised where the results are read
        return done, error
    return done, None


async def call_chunk_async(
    fn: Callable[..., Any], columns: list[list[Any]]
) -> tuple[list[Any], BaseException | None]:
    """As `call_chunk`, for a coroutine function; one call after another."""
    done: list[Any] = []
    try:
        for args in zip(*columns, strict=True):
            done.append(await fn(*args))  # noqa: PERF401 - as above
    except Exception as error:  # noqa: BLE001 - as above
        return done, error
    return done, None


class _Call:
    """One call in a thread."""

    __slots__ = ("args", "context", "error", "fn", "result", "returned", "waiter")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.context: Context = copy_context()
        self.fn: Any = fn
        self.args: Any = args
        self.returned = False
        self.waiter: Waiter | None = None
        self.result: Any = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        """Wake the task that waits; on the loop's thread."""
        self.returned = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class _CallThread:
    """A thread that runs one call after another."""

    def __init__(self, loop: Loop, name: str) -> None:
        self._loop = loop
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        # Daemon: nobody can end a function that does not return, and the process must be able to end.
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def put(self, call: _Call | None) -> None:
        self._calls.put(call)

    def _run(self) -> None:
        # While it waits for the next call it holds nothing of the last: neither result nor error.
        while self._made(self._calls.get()):
            pass

    def _made(self, call: _Call | None) -> bool:
        """Make a call; return whether there may be another."""
        if call is None:
            return False
        try:
            call.result = call.context.run(call.fn, *call.args)
        except BaseException as error:  # noqa: BLE001 - the submitter gets it
            call.error = error
        call.fn = call.args = None
        try:
            self._loop.call_threadsafe(call.settle)
        except RuntimeError:
            return False  # the loop has ended meanwhile
        return True


class FunctionWorker(Actor):
    """Runs functions: coroutine functions on the loop, others in a thread of its own.

    Args:
        init: called once before the first task, as one of them.
    """

    def __init__(self, init: Callable[[], Any] | None = None) -> None:
        self._init = init
        self._threads: list[_CallThread] = []
        self._idle: list[_CallThread] = []
        self._beside: dict[tuple[str, int], Event] = {}
        # Also a worker that was killed, which no `on_stop` tells.
        finalize(self, _end_threads, self._threads).atexit = False

    async def on_start(self) -> None:
        """Run `init`."""
        if self._init is not None:
            await self._apply(self._init, ())

    async def on_stop(self, _exit: Any) -> None:
        """End the threads, each when what it runs has returned."""
        _end_threads(self._threads)

    async def call(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Return ``fn(*args)``; the next task waits."""
        return await self._apply(fn, args)

    @concurrent
    async def call_beside(
        self, fn: Callable[..., Any], args: tuple[Any, ...], submitter: str, ticket: int
    ) -> Any:
        """Return ``fn(*args)``; others run beside it."""
        self._beside[submitter, ticket] = over = Event()
        try:
            return await self._apply(fn, args)
        finally:
            del self._beside[submitter, ticket]
            over.set()

    @concurrent
    async def wait_over(self, submitter: str, ticket: int) -> None:
        """Return when `call_beside` no longer runs this task."""
        over = self._beside.get((submitter, ticket))
        if over is not None:
            await over.wait()

    async def _apply(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        try:
            result = fn(*args) if _is_async(fn) else await self._in_thread(fn, args)
            # Also a plain function may return a coroutine.
            return await result if inspect.iscoroutine(result) else result
        except (SystemExit, KeyboardInterrupt) as error:
            raise _exited(fn, error) from None

    async def _in_thread(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        loop = self.context.ref.host.loop
        if not self._idle:
            self._idle.append(_CallThread(loop, f"{self.context.name} task"))
            self._threads += self._idle
        thread = self._idle.pop()
        call = _Call(fn, args)
        thread.put(call)
        cancelled: BaseException | None = None
        # The place is taken until the function has returned, whoever no longer waits for it.
        with CancelScope(shield=True):
            while not call.returned:
                call.waiter = loop.waiter()
                try:
                    await call.waiter
                except get_cancelled_exc_class() as error:
                    cancelled = error
        self._idle.append(thread)
        if cancelled is not None:
            raise cancelled
        if call.error is not None and not isinstance(call.error, Exception):
            raise _exited(fn, call.error) from None  # as itself it would end the worker
        if call.error is not None:
            raise call.error
        return call.result


def _exited(fn: Any, error: BaseException) -> TaskExited:
    return TaskExited(
        function_name(fn), f"{type(error).__name__}({', '.join(map(repr, error.args))})"
    )


def _end_threads(threads: list[_CallThread]) -> None:
    for thread in threads:
        thread.put(None)
    threads.clear()


def _is_async(fn: Any) -> bool:
    while isinstance(fn, partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or (
        not inspect.isroutine(fn) and inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004 - its signature is looked at
    )
