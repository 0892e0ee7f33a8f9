"""What a decorator says of a handler: that it runs beside others, or takes many calls at once.

Rule: a decorator checks its own options and marks the function; `message_table` reads the marks.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, Final, NamedTuple, Protocol, TypeVar, overload

from actors._base.errors import InvalidSpec
from actors._known_options import known_options

__all__ = [
    "OPTIONS_MARK",
    "Batching",
    "Concurrency",
    "batched",
    "checked_replies",
    "concurrent",
    "group_limits",
]

OPTIONS_MARK: Final = "__actors_handler__"

F = TypeVar("F", bound=Callable[..., Any])
A = TypeVar("A")
T = TypeVar("T")
R = TypeVar("R")


class Concurrency(NamedTuple):
    """How a concurrent handler runs: at most *limit* of its *group* at a time; None for no limit."""

    limit: int | None
    group: str | None


class Batching(NamedTuple):
    """How a batched handler runs: *fn* is called with at most *most* calls, or what came *within* seconds."""

    most: int
    within: float
    fn: Callable[..., Any]


@overload
def concurrent(handler: F, /) -> F: ...
@overload
def concurrent(*, limit: int | None = None, group: str | None = None) -> Callable[[F], F]: ...
@known_options(InvalidSpec)
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


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _mark(handler: F, options: Concurrency) -> F:
    name = getattr(handler, "__qualname__", repr(handler))
    if not inspect.iscoroutinefunction(handler):
        raise InvalidSpec(
            f"concurrent: only an async def can run beside others, and {name} is none"
        )
    _refuse_second(handler, name)
    setattr(handler, OPTIONS_MARK, options)
    return handler


def _refuse_second(handler: object, name: str) -> None:
    if hasattr(handler, OPTIONS_MARK):
        raise InvalidSpec(f"{name} is decorated twice: a handler is either concurrent or batched")


class _BatchDecorator(Protocol):
    """Turns a handler of a list of calls into a method of one call, as callers see it."""

    @overload
    def __call__(
        self, handler: Callable[[A, list[T]], Coroutine[Any, Any, None]], /
    ) -> Callable[[A, T], Coroutine[Any, Any, None]]: ...
    @overload
    def __call__(
        self, handler: Callable[[A, list[T]], Coroutine[Any, Any, Sequence[R | Exception]]], /
    ) -> Callable[[A, T], Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, handler: Callable[[A, list[T]], None], /) -> Callable[[A, T], None]: ...
    @overload
    def __call__(
        self, handler: Callable[[A, list[T]], Sequence[R | Exception]], /
    ) -> Callable[[A, T], R]: ...


@known_options(InvalidSpec)
def batched(*, most: int = 32, within: float = 0.01) -> _BatchDecorator:
    """Let this handler take many queued calls at once, as a list, and return a list of their replies.

    For work that costs less together than one by one: a model's forward pass, an insert of many rows. Who
    sends a message sees a method that takes one item and returns one reply::

        class Model(Actor):
            @batched(most=32, within=0.01)
            async def predict(self, images: list[Image]) -> list[str]: ...


        label = await model.ask(Model.predict, image)

    A batch is what is queued of this method in a row, up to *most*. If that is less, and no other message is
    queued behind it, the actor waits up to *within* seconds for more calls. So no message overtakes another.

    Each asker gets its own reply. An exception in the list is raised at that asker; the annotation then is
    ``list[str | Exception]``. None in place of the list answers every call with None. If the handler
    itself raises, or the list has another length, every asker gets that error, and it counts as one
    failed message. Calls that were cancelled or have expired are not in the list.

    Args:
        most: how many calls a batch has at most, 1 or more.
        within: seconds to wait for more calls, 0 or more; 0 takes what is queued.

    Raises:
        InvalidSpec: an option is not allowed, or the handler does not take one list.
    """
    _check_count("batched: most", most)
    if not _is_number(within) or not 0 <= within < math.inf:
        raise InvalidSpec(f"batched: within must be 0 or more seconds, got {within!r}")

    def mark(handler: Any, /) -> Any:
        name = getattr(handler, "__qualname__", repr(handler))
        _check_takes_list(handler, name)
        _refuse_second(handler, name)
        one = _for_one_call(handler)
        setattr(one, OPTIONS_MARK, Batching(most, within, handler))
        return one

    return mark


_SELF_AND_LIST: Final = 2
_MORE: Final = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


def _check_takes_list(handler: Any, name: str) -> None:
    generator = inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler)
    if not inspect.isfunction(handler) or generator:
        raise InvalidSpec(f"batched: only a def or async def takes a list, and {name} is none")
    code = handler.__code__
    if code.co_argcount != _SELF_AND_LIST or code.co_kwonlyargcount or code.co_flags & _MORE:
        found = inspect.signature(handler)
        raise InvalidSpec(f"batched: {name} must take self and one list, got {found}")


def _for_one_call(handler: Any) -> Any:
    """Return the method that takes one item: what a class's own code calls, and what callers see."""
    if inspect.iscoroutinefunction(handler):

        @wraps(handler)
        async def one_async(self: Any, item: Any, /) -> Any:
            return _only(checked_replies(handler, await handler(self, [item]), 1))

        return one_async

    @wraps(handler)
    def one(self: Any, item: Any, /) -> Any:
        return _only(checked_replies(handler, handler(self, [item]), 1))

    return one


def _only(replies: list[Any]) -> Any:
    reply = replies[0]
    if isinstance(reply, BaseException):
        raise reply
    return reply


def checked_replies(handler: Any, replies: Any, calls: int) -> list[Any]:
    """Return the replies that *handler* returned for as many *calls*; None stands for a None each.

    Raises:
        TypeError: it returned no list.
        ValueError: the list has another length.
    """
    if replies is None:
        return [None] * calls
    name = handler.__qualname__
    if not isinstance(replies, list):
        got = type(replies).__name__
        raise TypeError(f"{name} must return a list of replies, one for each call, got {got}")
    if len(replies) != calls:
        raise ValueError(
            f"{name} must return {calls} replies, one for each call, got {len(replies)}"
        )
    return replies


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
