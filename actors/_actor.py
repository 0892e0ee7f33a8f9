"""The Actor base class, and the table of messages each subclass gets.

Rule: what is a message and what is not is decided here, once per class.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ._envelope import Handler, Kind
from ._errors import NotAMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisors import Exit

    from ._context import Context
    from ._ref import Ref

__all__ = ["Actor", "concurrent", "handlers_by_name", "handlers_of", "refusal"]

F = TypeVar("F", bound="Callable[..., Any]")
_HOOKS: Final = frozenset({"on_start", "on_stop", "on_exit"})
_BY_FUNCTION: Final[dict[type, dict[Any, Handler]]] = {}
_BY_NAME: Final[dict[type, dict[str, Handler]]] = {}


def concurrent(handler: F) -> F:
    """Let this handler run beside others of its actor, in the actor's own tasks.

    Without it an actor handles one message at a time. A concurrent handler starts in its turn
    and then shares the actor's state with whatever else runs: it must expect that between awaits.
    """
    handler.__actors_concurrent__ = True  # type: ignore[attr-defined] # functions take attributes
    return handler


class Actor:
    """State that one task owns; its public async methods are its messages.

    Subclass it, keep state in ``self``, and write each message as ``async def``. An async
    generator is a stream. Everything else (underscored names, plain methods, the hooks below)
    cannot be called through a ref.

    Hooks, all optional:
        on_start: runs before the first message; the actor is ready when it returns.
        on_stop: runs when this incarnation ends, unless it was killed, with its `Exit`.
        on_exit: told once of the final end of each watched ref.

    ``self.context`` is there from the first line of ``__init__``.
    """

    context: Context

    async def on_start(self) -> None:
        """Make ready; an exception here means the actor failed to start."""

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002 - the field's word, and the hook's public name
        """Let go of what is held; *exit* says how this incarnation ended."""

    async def on_exit(self, ref: Ref[Any], exit: Exit) -> None:  # noqa: A002 - as above
        """Hear that *ref*, which this actor watches, has ended for good."""


def _handler(name: str, fn: Any) -> Handler | None:
    if name.startswith("_") or name in _HOOKS or not inspect.isfunction(fn):
        return None
    if inspect.isasyncgenfunction(fn):
        return Handler(name, fn, Kind.STREAM)
    if not inspect.iscoroutinefunction(fn):
        return None
    return Handler(name, fn, Kind.CONCURRENT if hasattr(fn, "__actors_concurrent__") else Kind.CALL)


def _own_functions(cls: type) -> list[tuple[str, Any]]:
    """Return every function *cls* or a parent of it defines, most derived first."""
    classes = [parent for parent in cls.__mro__ if parent not in {Actor, object}]
    return [item for parent in classes for item in vars(parent).items()]


def handlers_by_name(cls: type) -> dict[str, Handler]:
    """Return the messages of *cls* by name."""
    table = _BY_NAME.get(cls)
    if table is None:
        found = {name: _handler(name, inspect.getattr_static(cls, name)) for name, _ in _own_functions(cls)}
        table = _BY_NAME[cls] = {name: handler for name, handler in found.items() if handler is not None}
    return table


def handlers_of(cls: type) -> dict[Any, Handler]:
    """Return the messages of *cls* by function, overridden ones of its parents included."""
    table = _BY_FUNCTION.get(cls)
    if table is None:
        named = handlers_by_name(cls)
        functions = [(fn, named.get(name)) for name, fn in _own_functions(cls) if inspect.isfunction(fn)]
        table = _BY_FUNCTION[cls] = {fn: handler for fn, handler in functions if handler is not None}
    return table


def refusal(cls: type, method: object) -> NotAMessage:
    """Return the error that says why *method* is not a message of *cls*."""
    rule = "only public async methods of the class are messages"
    example = next(iter(handlers_by_name(cls)), "method")
    if not inspect.isfunction(method):
        return NotAMessage(
            f"a message is a method of the class, like {cls.__name__}.{example}; "
            f"got {method!r} ({type(method).__name__})"
        )
    name, owner = method.__name__, method.__qualname__
    if method.__name__ in _HOOKS or getattr(Actor, name, None) is method:
        return NotAMessage(f"{owner} is a hook of Actor: {rule}")
    if not any(fn is method for _, fn in _own_functions(cls)):
        return NotAMessage(f"{owner} is not a method of {cls.__name__}: {rule}")
    if name.startswith("_"):
        return NotAMessage(f"{owner} is private: {rule}")
    if inspect.isasyncgenfunction(method):
        return NotAMessage(f"{owner} is an async generator: open it with stream()")
    return NotAMessage(f"{owner} is not async: {rule}")
