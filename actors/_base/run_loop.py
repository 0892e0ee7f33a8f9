"""Find the running event loop, or run one: the only module that imports uvloop, and trio with `loop_trio`."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar, cast, get_args

import anyio

from actors._base.errors import ActorsError
from actors._base.log import system_logger
from actors._base.loop_asyncio import (
    UNHURRIED,
    AsyncioLoop,
    HiddenTasks,
    in_hidden_task,
    start_alone as start_alone_on_asyncio,
)
from actors._base.platform import open_standard_descriptors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from anyio.abc import TaskGroup

    from actors._base.loop import Loop

__all__ = ["new_task_group", "open_loop", "open_own_loop", "run_on", "start_alone"]

T = TypeVar("T")
Backend: TypeAlias = Literal["asyncio", "trio"]
"""The event loops there are."""
BACKENDS: Final = get_args(Backend)
_LEFT_BEHIND: Final = 5.0
"""Seconds that cancelled tasks have to end after the main function; as many as a killed actor has."""


@asynccontextmanager
async def open_loop() -> AsyncIterator[Loop]:
    """Provide the `Loop` of the running event loop; tasks it started on trio end with the block.

    Raises:
        ActorsError: no supported loop runs here.
    """
    if "trio" in sys.modules:
        # Import trio only if the program has.
        from actors._base.loop_trio import in_trio, open_trio_loop  # noqa: PLC0415

        if in_trio():
            async with open_trio_loop() as loop:
                yield loop
            return
    yield AsyncioLoop(_running())


@asynccontextmanager
async def open_own_loop() -> AsyncIterator[tuple[Loop, TaskGroup]]:
    """As `open_loop`, with a task group, for `start_alone`: the end of an asyncio loop cancels none of it."""
    async with open_loop() as loop, anyio.create_task_group() as tasks:
        if loop.backend == "trio":
            yield loop, tasks
        else:
            yield AsyncioLoop(_running(), hidden=True), _hidden(tasks)


def _hidden(tasks: TaskGroup) -> TaskGroup:
    return cast("TaskGroup", HiddenTasks(tasks))


def new_task_group() -> TaskGroup:
    """Return a task group for the calling task: in one of `open_own_loop`, its tasks are of the same kind."""
    tasks = anyio.create_task_group()
    on_asyncio = anyio.get_cancelled_exc_class() is asyncio.CancelledError
    return _hidden(tasks) if on_asyncio and in_hidden_task() else tasks


def _running() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError as error:
        raise ActorsError("no event loop runs here: call this from an async function") from error


def start_alone(
    work: Callable[[], Coroutine[Any, Any, None]], loop_ends: Callable[[], None], *, name: str
) -> None:
    """Run *work* in a task that belongs to no caller: nothing that cancels the caller cancels it.

    Args:
        work: raises nothing, and ends soon after *loop_ends* was called; the event loop waits for it.
        loop_ends: called when the event loop is about to end.
        name: of the task.

    Raises:
        ActorsError: no supported loop runs here.
    """
    if "trio" in sys.modules:
        from actors._base import loop_trio  # noqa: PLC0415 - imported only if the program has trio

        if loop_trio.in_trio():
            loop_trio.start_alone(work, loop_ends, name=name)
            return
    _running()
    start_alone_on_asyncio(work, loop_ends, name=name)


def run_on(
    fn: Callable[..., Coroutine[Any, Any, T]],
    /,
    *args: Any,
    backend: Backend = "asyncio",
    uvloop: bool = True,
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
    open_standard_descriptors()
    if backend == "trio":
        try:
            import trio  # noqa: PLC0415 - imported only where trio runs
        except ImportError as error:
            raise ActorsError(
                "backend='trio' needs trio: pip install 'actors-framework[trio]'"
            ) from error
        try:
            return trio.run(fn, *args)
        except BaseExceptionGroup as group:
            # SystemExit and KeyboardInterrupt end the program: unwrap them from the groups.
            ends, _ = group.split((SystemExit, KeyboardInterrupt))
            if ends is not None:
                raise _first(ends) from group
            raise
    if backend != "asyncio":
        raise ActorsError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    with asyncio.Runner(loop_factory=_uvloop_factory() if uvloop else None) as runner:
        try:
            return runner.run(fn(*args))
        finally:
            runner.get_loop().run_until_complete(_end_others())


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first of the errors inside groups of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _end_others() -> None:
    """Cancel the tasks that are left; abandon those that ignore it, or the runner would wait for ever."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    unhurried = left & set(UNHURRIED)
    if unhurried:
        await asyncio.wait(unhurried)
    if left:
        await asyncio.wait(left, timeout=_LEFT_BEHIND)
    for task in left:
        if not task.done():
            system_logger().error("task left behind", task=task.get_name(), seconds=_LEFT_BEHIND)
            asyncio._unregister_task(task)  # noqa: SLF001 - documented, in "Extending"


def _uvloop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        from uvloop import new_event_loop  # noqa: PLC0415 - imported only where it is used
    except ImportError:
        return None  # asyncio's own loop works too, slower
    return new_event_loop
