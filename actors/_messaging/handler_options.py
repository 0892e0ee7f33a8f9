"""What a decorator says of a handler: that it runs beside others.

Rule: a decorator checks its own options and marks the function; `message_table` reads the marks.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, overload

from actors._base.errors import InvalidSpec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OPTIONS_MARK", "Concurrency", "concurrent", "group_limits"]

OPTIONS_MARK: Final = "__actors_handler__"

F = TypeVar("F", bound="Callable[..., Any]")


class Concurrency(NamedTuple):
    """How a concurrent handler runs: at most *limit* of its *group* at a time; None for no limit."""

    limit: int | None
    group: str | None


@overload
def concurrent(handler: F, /) -> F: ...
@overload
def concurrent(*, limit: int | None = None, group: str | None = None) -> Callable[[F], F]: ...
def concurrent(
    handler: F | None = None, /, *, limit: int | None = None, group: str | None = None
) -> F | Callable[[F], F]:
    """Let this handler run concurrently with others of its actor, each in a task of the actor.

    Without it an actor handles one message at a time. A concurrent handler starts in its turn
    and then shares the actor's state with whatever else runs: it must expect that between awaits::

        class Fetcher(Actor):
            @concurrent(limit=8)
            async def fetch(self, url: str) -> bytes: ...

    A call that comes while *limit* of them run waits until one has ended. It keeps its place in the
    mailbox's bound, and the actor handles other messages meanwhile; the calls of one group start in the order
    in which they were queued.

    Args:
        handler: the handler, where the decorator is written without parentheses.
        limit: how many of them may run at a time, 1 or more; without it, any number.
        group: a name: the methods of a class with the same group share its limit. It has to be given
            with one of them, and the same wherever it is given.

    Raises:
        InvalidSpec: an option is not allowed, or the handler is no ``async def``.
    """
    if handler is not None:
        return _mark(handler, Concurrency(None, None))
    if limit is not None:
        _check_count("concurrent: limit", limit)
    if group is not None and not _is_name(group):
        raise InvalidSpec(f"concurrent: group must be a name, got {group!r}")
    return lambda handler: _mark(handler, Concurrency(limit, group))


def _check_count(what: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidSpec(f"{what} must be a whole number of 1 or more, got {value!r}")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _mark(handler: F, options: Concurrency) -> F:
    name = getattr(handler, "__qualname__", repr(handler))
    if not inspect.iscoroutinefunction(handler):
        raise InvalidSpec(
            f"concurrent: only an async def can run beside others, and {name} is none"
        )
    if hasattr(handler, OPTIONS_MARK):
        raise InvalidSpec(f"{name} is decorated twice: a handler is either concurrent or batched")
    setattr(handler, OPTIONS_MARK, options)
    return handler


def group_limits(cls: type, marks: dict[str, Any]) -> dict[str, int]:
    """Return the limit of each group of *cls*, whose *marks* are given by method.

    Raises:
        InvalidSpec: two methods give a group different limits, or none gives it one.
    """
    limits: dict[str, tuple[int | None, str]] = {}
    for name, options in marks.items():
        if not isinstance(options, Concurrency) or options.group is None:
            continue
        known, first = limits.get(options.group, (None, name))
        if known is not None and options.limit not in {None, known}:
            raise InvalidSpec(
                f"{cls.__name__}: the group {options.group!r} has limit={known} in {first} "
                f"and limit={options.limit} in {name}"
            )
        limits[options.group] = (known, first) if options.limit is None else (options.limit, name)
    for group, (limit, name) in limits.items():
        if limit is None:
            raise InvalidSpec(f"{cls.__name__}.{name}: no method gives the group {group!r} a limit")
    return {group: limit for group, (limit, _) in limits.items() if limit is not None}
