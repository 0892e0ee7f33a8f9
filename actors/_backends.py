"""Which loop runs here, and how to run one: the only door to uvloop and trio."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ._asyncio import AsyncioLoop
from ._errors import ActorsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from ._loop import Loop

__all__ = ["open_loop", "run_on"]

T = TypeVar("T")
BACKENDS: Final = ("asyncio", "trio")


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
    if backend == "trio":
        try:
            import trio  # noqa: PLC0415 - trio's door: imported only where trio runs
        except ImportError as error:
            raise ActorsError(
                "backend='trio' needs trio: pip install actors-framework[trio]"
            ) from error
        return trio.run(fn, *args)
    if backend != "asyncio":
        raise ActorsError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    with asyncio.Runner(loop_factory=_uvloop_factory() if uvloop else None) as runner:
        return runner.run(fn(*args))


def _uvloop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        from uvloop import new_event_loop  # noqa: PLC0415 - uvloop's door
    except ImportError:
        return None  # asyncio's own loop serves every purpose, slower
    return new_event_loop
