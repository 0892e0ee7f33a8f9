"""`actors.run`: runs an async main function in an event loop, and ends it cleanly on a signal."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

import anyio

from actors._base.allocator import keep_big_blocks
from actors._base.collector import collecting_less_often
from actors._base.errors import ActorsError, InvalidSpec
from actors._base.received_signals import received_signals
from actors._base.run_loop import Backend, run_on
from actors._known_options import known_options
from actors.nodes import MainImportEnded, importing_main

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["run", "with_signals"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_EXIT_CODES: Final = {signal.SIGTERM: 0, signal.SIGINT: 130}


@known_options(InvalidSpec)
def run(
    main: Callable[[*Ts], Coroutine[Any, Any, T]],
    /,
    *args: *Ts,
    backend: Backend = "asyncio",
    uvloop: bool = True,
) -> T:
    """Run ``main(*args)`` to its end and return its result; this belongs under ``if __name__ == "__main__"``.

    SIGTERM cancels it, lets it end (a `System` drains), and exits 0; SIGINT does so and exits 130;
    a second signal ends the process at once. A thread that is not the main one hears of no signals. Meanwhile
    the garbage collector looks for cycles at every 5,000 new containers, unless its thresholds have been set,
    and malloc keeps blocks of up to 32 MiB.

    Args:
        main: an async function, or a `functools.partial` of one, with keywords for it.
        *args: its positional arguments.
        backend: "asyncio" or "trio".
        uvloop: run asyncio on uvloop where it is installed.

    Raises:
        SystemExit: ended by a signal.
        ActorsError: unknown backend; *main* is no async function; multiprocessing imports the file.
    """
    _check_main(main)
    if importing_main():
        # A node imports this file for its classes; only the parent runs main.
        raise MainImportEnded
    _refuse_while_multiprocessing_imports()
    keep_big_blocks()
    with collecting_less_often():
        result: T = run_on(with_signals, main, args, backend=backend, uvloop=uvloop)
    return result


def _check_main(main: object) -> None:
    if callable(main):
        return
    if isinstance(main, Coroutine):
        main.close()
        raise ActorsError("run takes an async function, not its result: run(main), not run(main())")
    raise ActorsError(f"run takes an async function, got {main!r}")


def _refuse_while_multiprocessing_imports() -> None:
    """Refuse to start the program again in each process that it starts with multiprocessing."""
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None and getattr(process.current_process(), "_inheriting", False):
        raise ActorsError(
            "multiprocessing imports this file for its functions, and the file calls run: put that under "
            'if __name__ == "__main__":'
        )


def _checked(main: object, made: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
    """Return what *main* returned, which has to be a coroutine: that shows only when it was called."""
    if not inspect.isawaitable(made):
        raise ActorsError(f"run takes an async function; {main!r} returned {made!r}")
    return made


async def with_signals(
    main: Callable[..., Coroutine[Any, Any, T]], args: tuple[Any, ...] = ()
) -> T:
    """Run ``main(*args)``, ended cleanly by the first signal and at once by the second."""
    caught: list[signal.Signals] = []
    results: list[T] = []
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(_watch_signals, caught, scope)
            try:
                results.append(await _checked(main, main(*args)))
            except Exception as error:  # noqa: BLE001 - raised below, outside the task group
                failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if caught or not results:
        raise SystemExit(_EXIT_CODES[caught[0]] if caught else 1)
    return results[0]


async def _watch_signals(caught: list[signal.Signals], scope: anyio.CancelScope) -> None:
    if threading.current_thread() is not threading.main_thread():
        return  # signals are the main thread's: as `asyncio.run`, it runs without
    with received_signals(*_EXIT_CODES) as signals:
        async for number in signals:
            if caught:
                # The default action ends this process; its nodes see that on their lifelines and end.
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
                # Process 1 of a container, which the kernel spares.
                os._exit(128 + number)
            caught.append(number)
            scope.cancel()
