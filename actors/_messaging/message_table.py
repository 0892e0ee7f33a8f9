"""The messages of an actor class: which of its methods a ref can call, and how each of them runs.

Rule: this file alone decides what is a message, once per class.
"""

from __future__ import annotations

import enum
import inspect
import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from actors._base.errors import InvalidSpec, NotAMessage
from actors._base.twins import bind
from actors._messaging.handler_options import (
    OPTIONS_MARK,
    Batching,
    Concurrency,
    checked_replies,
    group_limits,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ASK_TIMEOUT_MARK",
    "BLOCKING_MARK",
    "HOOKS",
    "MESSAGES",
    "ROOT_MARK",
    "Handler",
    "MessageKind",
    "ask_timeout_of",
    "check_class",
    "handlers_by_name",
    "handlers_of",
    "inspection_of",
    "is_blocking",
    "own_handler",
    "refusal",
    "takes_state",
]

HOOKS: Final = frozenset({"on_start", "on_stop", "on_exit", "on_inspect", "on_renew"})
ROOT_MARK: Final = "__actors_root__"
"""Marks the class where messages end: its own methods are not messages."""
BLOCKING_MARK: Final = "__actors_blocking__"
"""Marks a class whose methods are plain functions, which run in the actor's own thread."""
ASK_TIMEOUT_MARK: Final = "__actors_ask_timeout__"
"""Has the seconds after which an ask of an actor of the class ends, None for never, if the class says so."""
_BY_FUNCTION: Final[dict[type, dict[Any, Handler]]] = {}
_BY_NAME: Final[dict[type, dict[str, Handler]]] = {}


class MessageKind(enum.Enum):
    """What an envelope asks of the actor's loop."""

    CALL = "call"
    CONCURRENT = "concurrent"
    BATCH = "batch"
    STREAM = "stream"
    RESUME = "resume"
    NOTICE = "notice"
    TICK = "tick"
    OWN = "own"
    STOP = "stop"


MESSAGES: Final = frozenset(
    {MessageKind.CALL, MessageKind.CONCURRENT, MessageKind.BATCH, MessageKind.STREAM}
)
"""The kinds that are methods of users' classes; the others are the framework's own."""


class Handler:
    """One message of an actor class: its name, its function and how it runs.

    Attributes:
        method: the method as senders see it, which says what arguments a message may have.
        fn: what the message loop calls; a coroutine function, or an async generator function.
        options: what a decorator says of it; None for most handlers.
        group: of a concurrent handler with a limit: the key of those that share the limit.
        limit: how many of its group run at a time; None for any number.
        begins_later: whether a message may have to wait after it was taken in its turn.
    """

    __slots__ = (
        "_binder",
        "begins_later",
        "fn",
        "group",
        "kind",
        "least",
        "limit",
        "method",
        "most",
        "name",
        "options",
        "plain",
        "steps",
    )

    def __init__(
        self,
        name: str,
        method: Callable[..., Any],
        kind: MessageKind,
        fn: Callable[..., Any] | None = None,
    ) -> None:
        self.name: str = name
        self.method: Callable[..., Any] = method
        self.fn: Callable[..., Any] = fn or method
        self.kind: MessageKind = kind
        # Asked by the message loop for every message.
        self.plain: bool = kind is MessageKind.CALL
        # Whether a call of `fn` makes a coroutine, and runs no code before that is awaited.
        code = getattr(self.fn, "__code__", None)
        self.steps: bool = (
            self.plain and code is not None and bool(code.co_flags & inspect.CO_COROUTINE)
        )
        self.begins_later: bool = kind in {MessageKind.CONCURRENT, MessageKind.BATCH}
        self.options: Concurrency | Batching | None = getattr(method, OPTIONS_MARK, None)
        self.group: tuple[str, str] | None = None
        self.limit: int | None = None
        self._binder: Callable[..., None] | None = None
        self.least: int
        self.most: int
        self.least, self.most = _counts(method)

    def __repr__(self) -> str:
        return f"Handler({self.name}, {self.kind.value})"

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Check that the method can be called with these arguments.

        Without keywords, as many as from `least` to `most` are right: senders compare those themselves.

        Raises:
            TypeError: it cannot; the text is Python's own.
        """
        if self._binder is None:
            self._binder = _binder(self.method)
        self._binder(None, *args, **kwargs)

    def misfit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """Return why the method cannot be called with these arguments; None if it can."""
        try:
            self.check(args, kwargs)
        except TypeError as error:
            return str(error)
        return None


bind(Handler)


def _counts(fn: Any) -> tuple[int, int]:
    """Return the least and the most positional arguments of a call without keywords, self not counted."""
    code = fn.__code__
    required = code.co_kwonlyargcount - len(fn.__kwdefaults__ or ())
    if required > 0:
        return 0, -1  # no count is right
    most = sys.maxsize if code.co_flags & inspect.CO_VARARGS else code.co_argcount - 1
    return code.co_argcount - 1 - len(fn.__defaults__ or ()), most


def _binder(fn: Any) -> Callable[..., None]:
    """Return a function that takes what *fn* itself takes, not what it wraps, and does nothing."""
    code, flags = fn.__code__, inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
    nothing = (lambda: None).__code__
    count = code.co_argcount + code.co_kwonlyargcount + (code.co_flags & flags).bit_count()
    binder = FunctionType(
        nothing.replace(
            co_argcount=code.co_argcount,
            co_posonlyargcount=code.co_posonlyargcount,
            co_kwonlyargcount=code.co_kwonlyargcount,
            co_nlocals=count,
            co_varnames=code.co_varnames[:count],
            co_flags=nothing.co_flags | code.co_flags & flags,
        ),
        {},
        fn.__name__,
        fn.__defaults__,
    )
    binder.__kwdefaults__ = fn.__kwdefaults__
    binder.__qualname__ = fn.__qualname__
    return binder


def _handler(name: str, fn: Any) -> Handler | None:
    if name.startswith("_") or name in HOOKS or not inspect.isfunction(fn):
        return None
    if inspect.isasyncgenfunction(fn):
        return Handler(name, fn, MessageKind.STREAM)
    if not inspect.iscoroutinefunction(fn):
        return None
    options = getattr(fn, OPTIONS_MARK, None)
    if isinstance(options, Batching):
        return Handler(name, fn, MessageKind.BATCH, _whole_batch(options.fn, options.fn))
    concurrent = isinstance(options, Concurrency)
    return Handler(name, fn, MessageKind.CONCURRENT if concurrent else MessageKind.CALL)


def _blocking_handler(name: str, fn: Any) -> Handler | None:
    """As `_handler`, for a class whose methods run in the actor's own thread."""
    if name.startswith("_") or name in HOOKS or not inspect.isfunction(fn):
        return None
    options = getattr(fn, OPTIONS_MARK, None)
    if isinstance(options, Batching):
        in_thread = _in_thread(options.fn)
        return Handler(name, fn, MessageKind.BATCH, _whole_batch(options.fn, in_thread))
    if inspect.isgeneratorfunction(fn):
        return Handler(name, fn, MessageKind.STREAM, _items_in_thread(fn))
    return Handler(name, fn, MessageKind.CALL, _in_thread(fn))


def _whole_batch(written: Any, run: Callable[..., Any]) -> Callable[..., Any]:
    async def whole_batch(actor: object, items: list[Any]) -> list[Any]:
        return checked_replies(written, await run(actor, items), len(items))

    return whole_batch


def _in_thread(fn: Callable[..., Any]) -> Callable[..., Any]:
    async def in_thread(actor: Any, *args: Any, **kwargs: Any) -> Any:
        return await actor.context.in_thread(fn, actor, *args, **kwargs)

    return in_thread


def _items_in_thread(fn: Callable[..., Any]) -> Callable[..., Any]:
    async def items_in_thread(actor: Any, *args: Any, **kwargs: Any) -> Any:
        items, in_thread = fn(actor, *args, **kwargs), actor.context.in_thread
        try:
            while (item := await in_thread(next, items, _END)) is not _END:
                yield item
        finally:
            await in_thread(items.close)

    return items_in_thread


_END: Final = object()


def _own_functions(cls: type) -> list[tuple[str, Any]]:
    """Return every function *cls* or a parent of it defines, most derived first."""
    classes = [base for base in cls.__mro__ if base is not object and ROOT_MARK not in vars(base)]
    return [item for parent in classes for item in vars(parent).items()]


def handlers_by_name(cls: type) -> dict[str, Handler]:
    """Return the messages of *cls* by name."""
    table = _BY_NAME.get(cls)
    if table is None:
        table = _BY_NAME[cls] = _handlers(cls)
    return table


def inspection_of(cls: type) -> Handler:
    """Return what runs the hook `on_inspect` of *cls* as a message."""
    hook: Any = cls.on_inspect  # type: ignore[attr-defined] # of every actor

    async def inspect_it(actor: Any) -> Any:
        found = hook(actor)
        return await found if inspect.isawaitable(found) else found

    run = _in_thread(hook) if is_blocking(cls) else inspect_it
    return Handler("on_inspect", hook, MessageKind.CALL, run)


def check_class(cls: type) -> None:
    """Check what *cls* and the decorators in it say, taken together.

    Raises:
        InvalidSpec: a method of a blocking class is async, one that is batched is not; or limits contradict
            each other; or `on_renew` returns what `on_start` does not take.
    """
    blocking = is_blocking(cls)
    _check_renewal(cls, blocking=blocking)
    for name, _ in _own_functions(cls):
        fn = inspect.getattr_static(cls, name)
        if name.startswith("_") or not inspect.isfunction(fn):
            continue
        is_async = inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn)
        if blocking and is_async:
            raise InvalidSpec(
                f"{cls.__name__}.{name} is async, and {cls.__name__} is blocking: its methods run in its "
                "own thread, where nothing can be awaited: write def"
            )
        if not blocking and not is_async and hasattr(fn, OPTIONS_MARK):
            raise InvalidSpec(
                f"{cls.__name__}.{name} is batched and no async def: write async def, or give the class "
                "blocking=True"
            )
    _handlers(cls)


def _check_renewal(cls: type, *, blocking: bool) -> None:
    renew = dict(_own_functions(cls)).get("on_renew")
    if renew is None:
        return
    if not blocking and not inspect.iscoroutinefunction(renew):
        raise InvalidSpec(f"{cls.__name__}.on_renew is no async def")
    if not takes_state(cls):
        kind = "" if blocking else "async "
        raise InvalidSpec(
            f"{cls.__name__}.on_renew returns a state for the next on_start, which takes none: "
            f"write {kind}def on_start(self, state=None)"
        )


def takes_state(cls: type) -> bool:
    """Whether `on_start` of *cls* takes what `on_renew` of the incarnation before returned."""
    code = inspect.getattr_static(cls, "on_start").__code__
    return code.co_argcount > 1 or bool(code.co_flags & inspect.CO_VARARGS)


def ask_timeout_of(cls: type, default: float | None) -> float | None:
    """Return the seconds that an ask of *cls* may take, None for any; *default* if the class does not say."""
    found: float | None = getattr(cls, ASK_TIMEOUT_MARK, default)
    return found


def is_blocking(cls: type) -> bool:
    """Whether actors of *cls* have a thread of their own, which runs their methods."""
    return bool(getattr(cls, BLOCKING_MARK, False))


def _handlers(cls: type) -> dict[str, Handler]:
    names = {name: None for name, _ in _own_functions(cls)}
    handler_for = _blocking_handler if is_blocking(cls) else _handler
    found = {name: handler_for(name, inspect.getattr_static(cls, name)) for name in names}
    table = {name: handler for name, handler in found.items() if handler is not None}
    limits = group_limits(cls, {name: handler.options for name, handler in table.items()})
    for name, handler in table.items():
        if isinstance(handler.options, Concurrency):
            limit, group = handler.options
            handler.limit = limit if group is None else limits[group]
            if handler.limit is not None:
                handler.group = ("method", name) if group is None else ("group", group)
    return table


def handlers_of(cls: type) -> dict[Any, Handler]:
    """Return the messages of *cls* by function, overridden ones of its parents included."""
    table = _BY_FUNCTION.get(cls)
    if table is None:
        named = handlers_by_name(cls)
        functions = [
            (fn, named.get(name)) for name, fn in _own_functions(cls) if inspect.isfunction(fn)
        ]
        table = _BY_FUNCTION[cls] = {
            fn: handler for fn, handler in functions if handler is not None
        }
    return table


def own_handler(cls: type, method: object) -> Handler:
    """Return the handler that an actor of *cls* names for messages to itself.

    Raises:
        NotAMessage: *method* is no message of *cls*, or a stream.
    """
    try:
        handler = handlers_of(cls).get(method)
    except TypeError:
        handler = None
    if handler is None or handler.kind is MessageKind.STREAM:
        raise refusal(cls, method)
    return handler


def refusal(cls: type, method: object) -> NotAMessage:
    """Return the error that says why *method* is not a message of *cls*."""
    kind = "" if is_blocking(cls) else "async "
    rule = f"only public {kind}methods of the class are messages"
    example = next(iter(handlers_by_name(cls)), "method")
    if not inspect.isfunction(method):
        return NotAMessage(
            f"a message is a method of the class, like {cls.__name__}.{example}; "
            f"got {method!r} ({type(method).__name__})"
        )
    name, owner = method.__name__, method.__qualname__
    if name in HOOKS:
        return NotAMessage(f"{owner} is a hook of Actor: {rule}")
    if not any(fn is method for _, fn in _own_functions(cls)):
        return NotAMessage(f"{owner} is not a method of {cls.__name__}: {rule}")
    if name.startswith("_"):
        return NotAMessage(f"{owner} is private: {rule}")
    if inspect.isasyncgenfunction(method) or is_blocking(cls):
        return NotAMessage(f"{owner} is a{'n' * bool(kind)} {kind}generator: open it with stream()")
    return NotAMessage(f"{owner} is not async: {rule}")
