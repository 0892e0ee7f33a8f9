"""Arguments of a message from JSON, by the annotations of its method; and replies as JSON.

Rule 1: what JSON cannot say is refused by the path to it: ``argument 'items'[2].price: ...``.
Rule 2: nothing here imports or calls what a JSON text names; only what the method's annotations name is made.
"""

from __future__ import annotations

import base64
import binascii
import collections.abc
import dataclasses
import datetime as dt
import decimal
import enum
import inspect
import json
import math
import pathlib
import types
import typing
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from actors._base.errors import InvalidSpec

__all__ = ["BadArgument", "bind_json", "json_of"]

_DEEPEST: Final = 64
_LONGEST_TEXT: Final = 2000
_SEQUENCES: Final[dict[Any, Callable[[list[Any]], Any]]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Iterable: list,
    collections.abc.Collection: list,
    collections.abc.Set: set,
}
_FROM_TEXT: Final[dict[type, Callable[[str], Any]]] = {
    dt.datetime: dt.datetime.fromisoformat,
    dt.date: dt.date.fromisoformat,
    dt.time: dt.time.fromisoformat,
    uuid.UUID: uuid.UUID,
    decimal.Decimal: decimal.Decimal,
    pathlib.Path: pathlib.Path,
    bytes: lambda text: base64.b64decode(text, validate=True),
}
_HOW: Final = {bytes: "base64 text", decimal.Decimal: "a number as text", pathlib.Path: "text"}
_NUMBER: Final = (int, float)
_PLAIN: Final[dict[type, tuple[tuple[type, ...], str, Callable[[Any], Any]]]] = {
    bool: ((bool,), "true or false", bool),
    str: ((str,), "text", str),
    int: ((int,), "a whole number", int),
    float: (_NUMBER, "a number", float),
    dt.timedelta: (_NUMBER, "a number of seconds", lambda seconds: dt.timedelta(seconds=seconds)),
}
"""Types of single JSON values: what those are in Python, how they are called, and what makes the argument."""


class BadArgument(InvalidSpec):
    """A JSON text that is no argument of the method; the text says which, and why."""


def bind_json(
    method: Callable[..., Any], args: Sequence[str], kwargs: Mapping[str, str]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments that JSON texts say, as values of the types that *method* names.

    Raises:
        BadArgument: naming the argument.
    """
    signature = inspect.signature(method)
    parameters = list(signature.parameters.values())[1:]  # without self
    try:
        hints = typing.get_type_hints(method)
    except Exception:  # noqa: BLE001 - an annotation that only checkers can read says nothing here
        hints = {}
    try:
        bound = inspect.Signature(parameters).bind(*args, **kwargs)
    except TypeError as error:
        shown = str(inspect.Signature(parameters))
        raise BadArgument(f"{method.__name__}{shown}: {error}") from None
    values: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.name not in bound.arguments:
            continue
        given, hint = bound.arguments[parameter.name], hints.get(parameter.name, Any)
        path = f"argument {parameter.name!r}"
        if parameter.kind is parameter.VAR_POSITIONAL:
            values[parameter.name] = tuple(_one(text, hint, path) for text in given)
        elif parameter.kind is parameter.VAR_KEYWORD:
            values[parameter.name] = {
                name: _one(text, hint, f"argument {name!r}") for name, text in given.items()
            }
        else:
            values[parameter.name] = _one(given, hint, path)
    bound.arguments.update(values)
    return list(bound.args), bound.kwargs


def _one(text: str, hint: Any, path: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        hint_text = "; a text is written in double quotes" if text.isprintable() else ""
        raise BadArgument(f"{path}: {text[:80]!r} is no JSON{hint_text}") from None
    return _as(value, hint, path)


def _refused(path: str, wanted: str, value: Any) -> BadArgument:
    shown = json.dumps(value)
    return BadArgument(f"{path}: must be {wanted}, got {shown[:80]}{'...' * (len(shown) > 80)}")  # noqa: PLR2004 - as shown


def _as(value: Any, hint: Any, path: str) -> Any:
    """Return *value* as one of the type *hint*."""
    hint = getattr(hint, "__supertype__", hint)  # a NewType
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _as(value, inner[0], path)
    if hint in {Any, object, inspect.Parameter.empty} or isinstance(hint, typing.TypeVar):
        return value
    make = _FORMS.get(type(None) if hint is None else origin or hint)
    if make is not None:
        return make(value, origin or hint, inner, path)
    if isinstance(origin or hint, type):
        return _as_type(value, origin or hint, path)
    raise BadArgument(f"{path}: JSON cannot say a {hint}")


def _as_none(value: Any, _kind: Any, _inner: tuple[Any, ...], path: str) -> None:
    if value is not None:
        raise _refused(path, "null", value)


def _as_literal(value: Any, _kind: Any, inner: tuple[Any, ...], path: str) -> Any:
    if not any(type(value) is type(one) and value == one for one in inner):
        raise _refused(path, "one of " + ", ".join(map(json.dumps, inner)), value)
    return value


def _as_one_of(value: Any, _kind: Any, choices: tuple[Any, ...], path: str) -> Any:
    problems: list[str] = []
    for choice in sorted(choices, key=lambda one: one is not type(None)):
        try:
            return _as(value, choice, path)
        except BadArgument as error:
            problems.append(str(error))
    real = [problem for problem in problems if "must be null" not in problem]
    raise BadArgument(" or ".join(real or problems))


def _as_sequence(value: Any, kind: Any, inner: tuple[Any, ...], path: str) -> Any:
    if type(value) is not list:
        raise _refused(path, "an array", value)
    if kind is tuple and inner and inner[-1] is not ...:
        if len(value) != len(inner):
            raise _refused(path, f"an array of {len(inner)}", value)
        hints = list(inner)
    else:
        hints = [inner[0] if inner else Any] * len(value)
    items = [_as(item, hints[at], f"{path}[{at}]") for at, item in enumerate(value)]
    try:
        return _SEQUENCES[kind](items)
    except TypeError as error:
        raise BadArgument(f"{path}: {error}") from None


def _as_mapping(value: Any, _kind: Any, inner: tuple[Any, ...], path: str) -> Any:
    if type(value) is not dict:
        raise _refused(path, "an object", value)
    key_hint, item_hint = inner or (Any, Any)
    return {
        _key(key, key_hint, f"{path}[{key!r}]"): _as(item, item_hint, f"{path}[{key!r}]")
        for key, item in value.items()
    }


_FORMS: Final[dict[Any, Callable[[Any, Any, tuple[Any, ...], str], Any]]] = {
    type(None): _as_none,
    typing.Union: _as_one_of,
    types.UnionType: _as_one_of,
    typing.Literal: _as_literal,
    **dict.fromkeys(_SEQUENCES, _as_sequence),
    **dict.fromkeys((dict, collections.abc.Mapping, collections.abc.MutableMapping), _as_mapping),
}


def _key(key: str, hint: Any, path: str) -> Any:
    if hint in {int, float}:
        try:
            return hint(key)
        except ValueError:
            raise BadArgument(f"{path}: the key must be a number, got {key!r}") from None
    return _as(key, hint, path)


def _as_type(value: Any, kind: Any, path: str) -> Any:
    if kind in _PLAIN:
        types_, wanted, make = _PLAIN[kind]
        if type(value) not in types_:
            raise _refused(path, wanted, value)
        return make(value)
    if kind in _FROM_TEXT:
        return _from_text(value, kind, path)
    if issubclass(kind, enum.Enum):
        return _as_member(value, kind, path)
    return _as_fielded(value, kind, path)


def _as_fielded(value: Any, kind: Any, path: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _as_dataclass(value, kind, path)
    if hasattr(kind, "__required_keys__"):
        return _as_typed_dict(value, kind, path)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _as_named_tuple(value, kind, path)
    if hasattr(kind, "model_validate"):
        return _as_model(value, kind, path)
    raise BadArgument(f"{path}: JSON cannot say a {kind.__module__}.{kind.__qualname__}")


def _as_named_tuple(value: Any, kind: Any, path: str) -> Any:
    needed = kind._fields[: len(kind._fields) - len(kind._field_defaults)]
    return kind(**_as_fields(value, kind._fields, needed, typing.get_type_hints(kind), path))


def _as_model(value: Any, kind: Any, path: str) -> Any:
    """Return a model of pydantic, which checks its values itself."""
    try:
        return kind.model_validate(value)
    except ValueError as error:
        raise BadArgument(f"{path}: {error}") from None


def _from_text(value: Any, kind: type, path: str) -> Any:
    wanted = _HOW.get(kind, f"a {kind.__name__} as text")
    if type(value) is not str:
        raise _refused(path, wanted, value)
    try:
        return _FROM_TEXT[kind](value)
    except (ValueError, ArithmeticError, binascii.Error):
        raise _refused(path, wanted, value) from None


def _as_member(value: Any, kind: type[enum.Enum], path: str) -> Any:
    for member in kind:
        if (type(member.value) is type(value) and member.value == value) or member.name == value:
            return member
    known = ", ".join(member.name for member in kind)
    raise _refused(path, f"one of {known}", value)


def _as_dataclass(value: Any, kind: Any, path: str) -> Any:
    made = [field for field in dataclasses.fields(kind) if field.init]
    missing = dataclasses.MISSING
    needed = [one.name for one in made if one.default is missing and one.default_factory is missing]
    hints = typing.get_type_hints(kind)
    fields = _as_fields(value, [one.name for one in made], needed, hints, path)
    try:
        return kind(**fields)
    except (ValueError, TypeError) as error:
        raise BadArgument(f"{path}: {error}") from None


def _as_typed_dict(value: Any, kind: Any, path: str) -> Any:
    hints = typing.get_type_hints(kind)
    return _as_fields(value, list(hints), sorted(kind.__required_keys__), hints, path)


def _as_fields(
    value: Any, names: Sequence[str], needed: Sequence[str], hints: Mapping[str, Any], path: str
) -> dict[str, Any]:
    if type(value) is not dict:
        raise _refused(path, "an object", value)
    for name in value:
        if name not in names:
            raise BadArgument(f"{path}: has no field {name!r}; it has {', '.join(names)}")
    for name in needed:
        if name not in value:
            raise BadArgument(f"{path}.{name}: is missing")
    return {name: _as(item, hints.get(name, Any), f"{path}.{name}") for name, item in value.items()}


def json_of(value: Any, longest: int) -> str:
    """Return *value* as JSON; what JSON cannot say, as readable text in it.

    Args:
        value: a reply.
        longest: characters; a longer one is cut to a text that says so.
    """
    text = json.dumps(_plain(value, 0), ensure_ascii=False)
    if len(text) > longest:
        return json.dumps(f"{text[: longest // 2]}... ({len(text)} characters in all)")
    return text


_TO_JSON: Final[Sequence[tuple[Any, Callable[[Any], Any]]]] = (
    (enum.Enum, lambda value: value.value),
    (str, str),
    (float, lambda value: value if math.isfinite(value) else str(value)),
    (bytes | bytearray, lambda value: base64.b64encode(value).decode()),
    (dt.timedelta, dt.timedelta.total_seconds),
    (dt.datetime | dt.date | dt.time, lambda value: value.isoformat()),
    (uuid.UUID | decimal.Decimal | pathlib.PurePath, str),
)
"""What is said by one value that JSON has."""


def _plain(value: Any, depth: int) -> Any:
    if value is None or (isinstance(value, bool | int) and not isinstance(value, enum.Enum)):
        return value
    for kind, make in _TO_JSON:
        if isinstance(value, kind):
            said = make(value)
            return said if not isinstance(value, enum.Enum) else _plain(said, depth + 1)
    if depth > _DEEPEST:
        return "..."
    parts = _parts_of(value)
    if isinstance(parts, Mapping):
        return {_text(key): _plain(item, depth + 1) for key, item in parts.items()}
    if parts is not None:
        return [_plain(item, depth + 1) for item in parts]
    return _text(value)


def _parts_of(value: Any) -> Any:
    """Return the parts of a value as a mapping or a collection; None if it has none that JSON can say."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name, None) for one in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()
    if isinstance(value, Mapping | list | tuple | collections.abc.Set):
        return value
    dump = getattr(value, "model_dump", None)  # of pydantic
    return dump() if callable(dump) else None


def _text(value: Any) -> str:
    try:
        return str(value)[:_LONGEST_TEXT]
    except Exception as error:  # noqa: BLE001 - a user's method
        return f"<{type(value).__name__}: {type(error).__name__} in its text>"
