"""Find the running event loop, or run one: the only module that imports uvloop, and trio with `loop_trio`."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from actors._base.errors import ActorsError
from actors._base.log import get_logger
from actors._base.loop_asyncio import AsyncioLoop
from actors._base.platform import open_standard_descriptors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from actors._base.loop import Loop

__all__ = ["open_loop", "run_on"]

T = TypeVar("T")
BACKENDS: Final = ("asyncio", "trio")
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
    try:
        running = asyncio.get_running_loop()
    except RuntimeError as error:
        raise ActorsError("no event loop runs here: call this from an async function") from error
    yield AsyncioLoop(running)


def run_on(
    fn: Callable[..., Coroutine[Any, Any, T]],
    /,
    *args: Any,
    backend: str = "asyncio",
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
                "backend='trio' needs trio: pip install actors-framework[trio]"
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
    if left:
        await asyncio.wait(left, timeout=_LEFT_BEHIND)
    for task in left:
        if not task.done():
            get_logger().error("task left behind", task=task.get_name(), seconds=_LEFT_BEHIND)
            asyncio._unregister_task(task)  # noqa: SLF001 - documented, in "Extending"


def _uvloop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        from uvloop import new_event_loop  # noqa: PLC0415 - imported only where it is used
    except ImportError:
        return None  # asyncio's own loop works too, slower
    return new_event_loop
