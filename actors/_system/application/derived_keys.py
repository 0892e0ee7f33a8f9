"""The keys of a table, from the keywords of the function or class that a program would call in its place.

A keyword that is added there is a key here, with the type it is annotated with and the meaning that its
docstring gives.
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
import textwrap
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import partial
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from actors._system.application.kinds import (
    Choice,
    Entries,
    Flag,
    Items,
    Kind,
    Number,
    Off,
    Record,
    Text,
    Whole,
)

__all__ = ["derived_keys", "meanings"]

_PLAIN: Final[dict[Any, Callable[[], Kind]]] = {
    str: Text,
    bool: Flag,
    int: Whole,
    float: Number,
}
_ARGUMENT: Final = re.compile(r"^(\w+): (.*)$")


def derived_keys(
    made_by: Callable[..., Any],
    *,
    without: Sequence[str] = (),
    own: Mapping[str, Kind] | None = None,
) -> dict[str, Kind]:
    """Return the kind of each keyword of *made_by*.

    Args:
        made_by: a function, or a dataclass.
        without: keywords that are no keys.
        own: the kinds of those whose annotation does not say enough.
    """
    called = inspect.unwrap(made_by.__init__ if isinstance(made_by, type) else made_by)  # type: ignore[misc] # of a class that is known
    hints = get_type_hints(called)
    found: dict[str, Kind] = {}
    for name, parameter in inspect.signature(called).parameters.items():
        variadic = parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}
        if name == "self" or name in without or variadic:
            continue
        kind = (own or {}).get(name)
        found[name] = _kind(hints[name], parameter.default) if kind is None else kind
    return found


def _kind(hint: Any, default: object) -> Kind:
    """Return the kind of an annotation; one that may be None is off by false, unless that is its default."""
    if get_origin(hint) not in {Union, types.UnionType}:
        return _single(hint)
    (single,) = [one for one in get_args(hint) if one not in {types.NoneType, types.EllipsisType}]
    can_be_off = types.NoneType in get_args(hint) and default is not None
    return Off(_single(single)) if can_be_off else _single(single)


def _single(hint: Any) -> Kind:
    if hint in _PLAIN:
        return _PLAIN[hint]()
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return Choice({word: word for word in arguments})
    if origin is Sequence:
        return Items(_single(arguments[0]))
    if origin is Mapping:
        return Entries(_single(arguments[1]))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return Choice({member.name.lower(): member for member in hint})
    if isinstance(hint, type) and is_dataclass(hint):
        made_by: Callable[..., Any] = hint
        return Record(derived_keys(made_by), made_by, docs=partial(meanings, made_by))
    raise TypeError(f"no kind of value for the annotation {hint!r}")


def meanings(made_by: Callable[..., Any]) -> dict[str, str]:
    """Return what each keyword means, as its docstring says it; nothing where docstrings were removed."""
    found = _of_section(inspect.getdoc(made_by) or "")
    return found | _of_fields(made_by) if is_dataclass(made_by) else found


def _of_section(doc: str) -> dict[str, str]:
    """Return what the sections ``Args:`` and ``Attributes:`` say."""
    found: dict[str, str] = {}
    for section in re.findall(r"^(?:Args|Attributes):\n((?:    .*\n?|\n)+)", doc, re.MULTILINE):
        name = ""
        for line in textwrap.dedent(section).splitlines():
            begins = _ARGUMENT.match(line)
            if begins:
                name = begins[1]
                found[name] = begins[2]
            elif name and line.strip():
                found[name] += f" {line.strip()}"
    return {name: _plain(text) for name, text in found.items()}


def _of_fields(made_by: Any) -> dict[str, str]:
    """Return what stands below each field of a dataclass."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(made_by))).body
    except OSError:  # no source is there
        return {}
    found: dict[str, str] = {}
    field = ""
    for part in getattr(tree, "body", []):
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            field = part.target.id
        elif isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) and field:
            found[field] = _plain(" ".join(str(part.value.value).split()))
            field = ""
    return found


def _plain(text: str) -> str:
    return text.replace("``", "`")
