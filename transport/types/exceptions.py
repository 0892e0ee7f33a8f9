"""Take an exception apart and rebuild it without running its `__init__`.

An argument or attribute that cannot be sent becomes its repr. An exception that cannot be rebuilt arrives
as a `RemoteError` with its text.
"""

import re
import sys
import traceback
from collections.abc import Callable
from functools import lru_cache
from operator import eq
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final, NamedTuple

from actors.transport.errors import Undecodable, Unsendable, short_repr

__all__ = [
    "ErrorParts",
    "RemoteError",
    "RemoteTraceback",
    "attach_text",
    "capture",
    "copy_error",
    "rebuild_error",
    "text_of",
]

REMOTE_TRACEBACK: Final = "__remote_traceback__"
_HEAP_TYPE: Final = 1 << 9
_MAX_CHAIN: Final = 30
_MAX_TEXT: Final = 64 * 1024
_MAX_PART: Final = 8 * 1024
_NOT_STATE: Final = frozenset({"obj", "message", "exceptions", "characters_written"})

_HIDES_INPUT: Final = re.compile(r"\[type=[^,\]]*\]$", re.MULTILINE)
_INPUT_TYPES: Final = ("python", "json")

_put: Final = BaseException.__setattr__
"""Sets an attribute past the `__setattr__` of the class."""

Walk = Callable[[Any], Any]
Nest = Callable[[BaseException, frozenset[int]], Any]


class RemoteError(Exception):
    """Stands for an exception whose class is not known here, or that could not be rebuilt.

    Attributes:
        text: its traceback, or at least its last line.
        class_name: ``module.qualname`` of its class in the sending process.
    """

    def __init__(self, text: str, class_name: str) -> None:
        super().__init__(text, class_name)
        self.text = text
        self.class_name = class_name

    def __str__(self) -> str:
        return self.text or self.class_name


class RemoteTraceback(Exception):
    """The traceback of another process, as the first cause of what it raised, so it is printed."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class ErrorParts(NamedTuple):
    """Everything an exception is made of, each value already encoded or copied."""

    args: list[Any]
    state: dict[str, Any]
    message: Any
    members: list[Any] | None
    cause: Any
    context: Any
    suppress: bool


def capture(error: BaseException, walk: Walk, nest: Nest, seen: frozenset[int]) -> ErrorParts:
    """Take `error` apart.

    Args:
        error: any exception.
        walk: encodes or copies one argument or attribute; if it raises `Unsendable`, its repr is sent.
        nest: encodes or copies a cause, context or group member.
        seen: ids of the exceptions that this one is a cause, context or member of, so that a cycle ends.
    """
    seen |= {id(error)}

    def chained(link: BaseException | None) -> Any:
        if (
            link is None
            or id(link) in seen
            or len(seen) > _MAX_CHAIN
            or isinstance(link, RemoteTraceback)
        ):
            return None
        return nest(link, seen)

    message, members = None, None
    args = _validation_args(error) if _is_validation_error(type(error)) else error.args
    if isinstance(error, BaseExceptionGroup):
        message = str(error.message)
        members = (
            [nest(member, seen) for member in error.exceptions] if len(seen) <= _MAX_CHAIN else None
        )
        args = ()
    return ErrorParts(
        args=[_safe(value, walk) for value in args],
        state={str(name): _safe(value, walk) for name, value in _state(error).items()},
        message=message,
        members=members,
        cause=chained(error.__cause__),
        context=None if error.__suppress_context__ else chained(error.__context__),
        suppress=bool(error.__suppress_context__),
    )


def _is_validation_error(cls: type[BaseException]) -> bool:
    """Whether it is pydantic's, which no `__new__` makes and whose parts are not in `args`."""
    return cls.__module__.startswith("pydantic_core.") and hasattr(cls, "from_exception_data")


def _validation_args(error: Any) -> tuple[Any, ...]:
    """Its title, whether it hides its inputs, and of each line type, place, input, message and context."""
    parts = [error.title, _HIDES_INPUT.search(str(error)) is not None]
    for line in error.errors(include_url=False):
        context = line.get("ctx") or {}
        parts += (line["type"], line["loc"], line["input"], line["msg"], len(context))
        parts += [part for item in context.items() for part in item]
    return tuple(parts)


def _validation_error(cls: Any, title: str, hides_input: Any, *parts: Any) -> BaseException:
    lines: list[tuple[dict[str, Any], str]] = []
    left = iter(parts)
    for kind in left:
        where, value, text, size = (next(left) for _ in range(4))
        context = {next(left): next(left) for _ in range(size)}
        lines.append(({"type": kind, "loc": where, "input": value, "ctx": context}, text))
    # Whether JSON was validated is not to be asked, and pydantic's own messages differ by it.
    texts = {mode: [_pydantic_text(cls, line, mode) for line, _ in lines] for mode in _INPUT_TYPES}
    sent = [text for _, text in lines]
    mode = max(_INPUT_TYPES, key=lambda mode: list(map(eq, texts[mode], sent)).count(True))
    rebuilt = [
        line if text == known else _custom_line(cls, line, text)
        for (line, text), known in zip(lines, texts[mode], strict=True)
    ]
    made: BaseException = cls.from_exception_data(
        title, rebuilt, input_type=mode, hide_input=bool(hides_input)
    )
    return made


def _pydantic_text(cls: Any, line: dict[str, Any], mode: str) -> str | None:
    """The message that pydantic itself has for such a line; None if it has no such type."""
    try:
        text: str = cls.from_exception_data("", [line], input_type=mode).errors()[0]["msg"]
    except (KeyError, TypeError, ValueError):
        return None
    return text


def _custom_line(cls: Any, line: dict[str, Any], text: str) -> dict[str, Any]:
    """A line as a `PydanticCustomError` of a validator makes it, whose message is *text*."""
    custom = sys.modules[cls.__module__].PydanticCustomError(line["type"], text, line["ctx"])
    if custom.message() != text:
        raise ValueError(f"pydantic would write {text!r} as {custom.message()!r}")
    return {**line, "type": custom}


def _safe(value: Any, walk: Walk) -> Any:
    try:
        return walk(value)
    except (Unsendable, RecursionError):
        return short_repr(value)


@lru_cache(maxsize=1024)
def _members(cls: type[Any]) -> tuple[str, ...]:
    """Attributes that C code or slots keep outside `__dict__`."""
    names = []
    for base in cls.__mro__[: cls.__mro__.index(BaseException)]:
        for name, member in vars(base).items():
            if isinstance(
                member, MemberDescriptorType | GetSetDescriptorType
            ) and not name.startswith("__"):
                names.append(name)
    return tuple(name for name in names if name not in _NOT_STATE)


def _state(error: BaseException) -> dict[str, Any]:
    state = {}
    cls: Any = type(error)
    for name in _members(cls):
        value = getattr(error, name, None)
        if value is not None:
            state[name] = value
    state.update(error.__dict__)
    state.pop(REMOTE_TRACEBACK, None)
    return state


def _native(cls: type[BaseException]) -> Any:
    """The nearest base written in C, whose `__new__` makes the object."""
    return next(base for base in cls.__mro__ if not base.__flags__ & _HEAP_TYPE)


def rebuild_error(cls: type[BaseException], parts: ErrorParts) -> BaseException:
    """An exception of `cls` made of `parts`.

    Raises:
        Undecodable: the class or the parts do not allow it.
    """
    try:
        error = _rebuild(cls, parts)
    except Exception as failure:
        raise Undecodable(f"cannot rebuild {cls.__qualname__}: {failure}") from failure
    if type(error) is not cls:
        raise Undecodable(f"rebuilding {cls.__qualname__} gave {type(error).__qualname__}")
    return error


def _rebuild(cls: type[BaseException], parts: ErrorParts) -> BaseException:
    error: BaseException
    if _is_validation_error(cls):
        error = _validation_error(cls, *parts.args)
    elif parts.members is not None:
        error = BaseExceptionGroup.__new__(cls, parts.message, list(parts.members))  # type: ignore[type-var]
    else:
        error = _native(cls).__new__(cls, *parts.args)
        _put(error, "args", tuple(parts.args))
    for name, value in parts.state.items():
        try:
            _put(error, name, value)
        except (AttributeError, TypeError):
            error.__dict__[name] = value
    _put(error, "__cause__", parts.cause)
    _put(error, "__context__", parts.context)
    _put(error, "__suppress_context__", bool(parts.suppress))
    return error


def copy_error(
    error: BaseException, walk: Walk, seen: frozenset[int] = frozenset()
) -> BaseException:
    """A copy for the same process, traceback included; the original if it cannot be rebuilt."""
    parts = capture(error, walk, lambda link, above: copy_error(link, walk, above), seen)
    try:
        copy = rebuild_error(type(error), parts)
    except Undecodable:
        return error
    if REMOTE_TRACEBACK in error.__dict__:
        copy.__dict__[REMOTE_TRACEBACK] = error.__dict__[REMOTE_TRACEBACK]
    if parts.cause is None and isinstance(error.__cause__, RemoteTraceback):
        _put(copy, "__cause__", error.__cause__)
    _put(copy, "__suppress_context__", error.__suppress_context__)
    return copy.with_traceback(error.__traceback__)


def text_of(error: BaseException) -> tuple[str, str]:
    """The last line of the traceback and, if the exception was raised, all of it; never raises.

    Of a long message its middle is left out, so that the frames stay. Longer than 64 KiB, the text keeps its
    end, where the error is.
    """
    try:
        last = "".join(traceback.format_exception_only(error)).strip()
        raised = error.__traceback__ is not None or REMOTE_TRACEBACK in error.__dict__
        whole = "".join(map(_shortened, traceback.format_exception(error))) if raised else ""
    except Exception:  # noqa: BLE001 - users' __str__ and __repr__ run here
        return type(error).__qualname__, ""
    return last[-_MAX_TEXT:], whole[-_MAX_TEXT:]


def _shortened(part: str) -> str:
    """One entry of a traceback without the middle of what is too long: only messages are."""
    left_out = len(part) - _MAX_PART
    if left_out <= 0:
        return part
    half = _MAX_PART // 2
    return f"{part[:half]}... ({left_out} characters left out) ...{part[-half:]}"


def traceback_text(error: BaseException) -> str:
    """The traceback of *error*, from the process in which it was raised."""
    kept: str | None = error.__dict__.get(REMOTE_TRACEBACK)
    return text_of(error)[1] if kept is None else kept


def keep_text(error: BaseException, text: str) -> None:
    """Have *text* be what `traceback_text` returns of *error*, and what `drop_frames` keeps of it."""
    error.__dict__[REMOTE_TRACEBACK] = text


def drop_frames(error: BaseException) -> None:
    """Keep the traceback of *error* as text, as one from another process has it, and free its frames.

    The frames would keep every local variable of the code that failed alive, `self` included.
    """
    if REMOTE_TRACEBACK not in error.__dict__:
        attach_text(error, text_of(error)[1])
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        link = waiting.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        link.__traceback__ = None
        waiting += (link.__cause__, link.__context__)
        if isinstance(link, BaseExceptionGroup):
            waiting += link.exceptions


def attach_text(error: BaseException, text: str) -> None:
    """Keep the remote traceback on `error` and as the first cause of its chain, to be printed."""
    if not text:
        return
    keep_text(error, text)
    root = error
    while True:
        link = root.__cause__ or (None if root.__suppress_context__ else root.__context__)
        if link is None:
            break
        root = link
    _put(root, "__cause__", RemoteTraceback(text))
