"""A function on its way to a worker: its name, what refuses it, and many calls of it in one."""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from actors._base.errors import InvalidSpec, NotSendable, TaskExited

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "call_chunk",
    "call_chunk_async",
    "chunk_caller",
    "exited",
    "function_name",
    "is_async",
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
    if isinstance(inner, Coroutine):
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
    return call_chunk_async if is_async(fn) else call_chunk


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


def exited(fn: Any, error: BaseException) -> TaskExited:
    """Return what a task fails with that has raised *error*, which would end its worker."""
    return TaskExited(
        function_name(fn), f"{type(error).__name__}({', '.join(map(repr, error.args))})"
    )


def is_async(fn: Any) -> bool:
    """Whether calling *fn* returns a coroutine, as far as that can be seen."""
    while isinstance(fn, partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or (
        not inspect.isroutine(fn) and inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004 - its signature is looked at
    )
