"""The kinds of values in an application file: each checks a value, makes what it stands for, and has a schema.

Rule 1: `checked` gives plain data that JSON can carry and that it would accept again; `made` takes only that.
Rule 2: an error has the path of its value, and quotes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from actors._base.errors import InvalidSpec
from actors._base.printable import printable
from actors._base.suggestions import did_you_mean

__all__ = [
    "Anything",
    "BadField",
    "Choice",
    "Either",
    "Entries",
    "Flag",
    "FromVariable",
    "Items",
    "Kind",
    "Number",
    "Off",
    "Parsed",
    "Path",
    "Record",
    "Size",
    "Text",
    "Whole",
    "blamed",
    "dotted",
]

Path: TypeAlias = tuple[str | int, ...]
"""The tables and the key that lead to a value, such as ``("nodes", "web", "count")``."""
_LONGEST_SHOWN: Final = 80
_IMPORT_PATH: Final = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
_SIZE: Final = r"^[0-9]{1,15} ?([KMGT]i?B?|B)?$"
_CALLED: Final = re.compile(r"^\w+(\([^)]*\))?: ")
"""What the text of an error of a constructor begins with."""
_UNITS: Final = {"K": 10, "M": 20, "G": 30, "T": 40}
"""Powers of two: KiB, MiB, GiB, TiB, also written K, KB and so on."""


class BadField(InvalidSpec):
    """A value of an application file is wrong.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{dotted(path)}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


def dotted(path: Path) -> str:
    """Return a path as people read it, on one line whatever the names are."""
    return printable(".".join(map(str, path)))


class FromVariable(str):
    """Text that a variable gave: it is read as whatever is wanted in its place."""

    __slots__ = ()


class Kind(Protocol):
    """A kind of value."""

    def checked(self, value: Any, path: Path) -> Any:
        """Return *value* as plain data.

        Raises:
            BadField: it is of another kind.
        """

    def made(self, value: Any) -> Any:
        """Return what a checked value stands for."""

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""


def blamed(path: Path, given: Mapping[str, Any], error: Exception) -> BadField:
    """Return what a constructor refused, as the error of the key that it names or whose value it quotes."""
    problem = _CALLED.sub("", str(error), count=1)
    named = [key for key in given if re.search(rf"\b{re.escape(key)}\b", problem)]
    first = min(named, key=problem.index, default=None)
    if first is None:
        quoted = [key for key, value in given.items() if _quotes(problem, value)]
        return BadField((*path, *quoted[:1]), problem)
    needs = problem.startswith(f"{first} must ")
    return BadField((*path, first), problem.removeprefix(f"{first} ") if needs else problem)


def _quotes(problem: str, value: object) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(isinstance(one, str) and repr(one) in problem for one in values)


def _bad(path: Path, wanted: str, value: object, hint: str = "") -> BadField:
    shown = repr(str(value) if isinstance(value, FromVariable) else value)
    cut = shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "..."
    return BadField(path, f"must be {wanted}, got {cut}{hint}")


@dataclass(frozen=True, slots=True)
class Text:
    """Text, perhaps of a certain form."""

    pattern: str = ""
    wanted: str = "text"

    def checked(self, value: Any, path: Path) -> Any:
        if not isinstance(value, str) or "\0" in value or not re.search(self.pattern, value):
            raise _bad(path, self.wanted, value)
        return str(value)

    def made(self, value: Any) -> Any:
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", **({"pattern": self.pattern} if self.pattern else {})}

    @classmethod
    def import_path(cls, example: str) -> Text:
        """Text that names an attribute of a module."""
        return cls(_IMPORT_PATH, f"an import path such as {example!r}")


@dataclass(frozen=True, slots=True)
class Parsed:
    """Text that stands for what *parse* makes of it; that refuses what it does not know by `InvalidSpec`."""

    parse: Callable[[str], Any]
    wanted: str = "text"

    def checked(self, value: Any, path: Path) -> Any:
        text = Text(wanted=self.wanted).checked(value, path)
        try:
            self.parse(text)
        except InvalidSpec as error:
            raise BadField(path, str(error)) from error
        return text

    def made(self, value: Any) -> Any:
        return self.parse(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number."""

    def checked(self, value: Any, path: Path) -> Any:
        if isinstance(value, FromVariable) and re.fullmatch(r"[+-]?[0-9]{1,18}", value):
            return int(value)
        if type(value) is not int:
            raise _bad(path, "a whole number", value)
        return value

    def made(self, value: Any) -> Any:
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "integer"}


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    def checked(self, value: Any, path: Path) -> Any:
        if isinstance(value, FromVariable) and re.fullmatch(
            r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", value
        ):
            return float(value)
        if type(value) not in {int, float} or value in {float("inf"), -float("inf")}:
            raise _bad(path, "a number", value)
        if value != value:  # noqa: PLR0124 - only nan is not itself
            raise _bad(path, "a number", value)
        return value

    def made(self, value: Any) -> Any:
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "number"}


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def checked(self, value: Any, path: Path) -> Any:
        if isinstance(value, FromVariable) and value in {"true", "false"}:
            return value == "true"
        if type(value) is not bool:
            raise _bad(path, "true or false", value)
        return value

    def made(self, value: Any) -> Any:
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bytes, or text with a unit."""

    def checked(self, value: Any, path: Path) -> Any:
        if type(value) is int:
            return value
        if not isinstance(value, str) or not re.search(_SIZE, value):
            raise _bad(path, "bytes, or text such as '512 MiB'", value)
        number, unit = re.fullmatch(r"([0-9]+) ?(.*)", value).groups()  # type: ignore[union-attr] # as above
        return int(number) << _UNITS.get(unit[:1], 0)

    def made(self, value: Any) -> Any:
        return value

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": _SIZE}]}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words, and what each stands for."""

    choices: Mapping[str, Any]

    def checked(self, value: Any, path: Path) -> Any:
        if not isinstance(value, str) or value not in self.choices:
            *some, last = map(repr, self.choices)
            wanted = f"{', '.join(some)} or {last}" if some else last
            raise _bad(path, wanted, value, did_you_mean(str(value), self.choices))
        return str(value)

    def made(self, value: Any) -> Any:
        return self.choices[value]

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.choices)}


@dataclass(frozen=True, slots=True)
class Anything:
    """Whatever JSON can carry too: what a constructor gets."""

    def checked(self, value: Any, path: Path) -> Any:
        if isinstance(value, list):
            return [self.checked(item, (*path, number)) for number, item in enumerate(value)]
        if isinstance(value, dict):
            return {key: self.checked(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, str):
            return str(value)
        if type(value) not in {bool, int, float}:
            raise _bad(path, "text, a number, true or false, a list or a table", value)
        return value

    def made(self, value: Any) -> Any:
        return value

    def schema(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class Items:
    """A list of values of one kind."""

    of: Kind

    def checked(self, value: Any, path: Path) -> Any:
        if not isinstance(value, list):
            words = json.dumps(value.split()) if isinstance(value, str) else ""
            hint = f"; as a list: {words}" if 0 < len(words) <= _LONGEST_SHOWN else ""
            raise _bad(path, "a list", value, hint)
        return [self.of.checked(item, (*path, number)) for number, item in enumerate(value)]

    def made(self, value: Any) -> Any:
        return tuple(self.of.made(item) for item in value)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.of.schema()}


@dataclass(frozen=True, slots=True)
class Entries:
    """A table of any keys, with values of one kind."""

    of: Kind

    def checked(self, value: Any, path: Path) -> Any:
        if not isinstance(value, dict):
            raise _bad(path, "a table", value)
        return {key: self.of.checked(item, (*path, key)) for key, item in value.items()}

    def made(self, value: Any) -> Any:
        return {key: self.of.made(item) for key, item in value.items()}

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self.of.schema()}


@dataclass(frozen=True, slots=True)
class Off:
    """A value that can be turned off: false stands for none."""

    of: Kind

    def checked(self, value: Any, path: Path) -> Any:
        if value is False or (isinstance(value, FromVariable) and value == "false"):
            return False
        return self.of.checked(value, path)

    def made(self, value: Any) -> Any:
        return None if value is False else self.of.made(value)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"const": False}, self.of.schema()]}


@dataclass(frozen=True, slots=True)
class Either:
    """A value of one of some kinds, which no value is two of."""

    kinds: tuple[Kind, ...]
    wanted: str

    def checked(self, value: Any, path: Path) -> Any:
        return self._kind(value, path).checked(value, path)

    def made(self, value: Any) -> Any:
        return self._kind(value, ()).made(value)

    def _kind(self, value: Any, path: Path) -> Kind:
        for kind in self.kinds:
            try:
                kind.checked(value, path)
            except BadField as error:
                if len(error.path) > len(path):  # inside a value of the right kind
                    raise
                continue
            return kind
        raise _bad(path, self.wanted, value)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [kind.schema() for kind in self.kinds]}


@dataclass(frozen=True, slots=True)
class Record:
    """A table with known keys.

    Attributes:
        keys: the kind of each.
        make: called with their values, by name, for what the table stands for.
        needs: the keys that must be there.
        needs_one_of: one of these must be, or *make* refuses it; none if this is empty.
        docs: returns what each key means, for the schema.
    """

    keys: Mapping[str, Kind]
    make: Callable[..., Any] = dict
    needs: tuple[str, ...] = ()
    needs_one_of: tuple[str, ...] = ()
    docs: Callable[[], Mapping[str, str]] = dict

    def checked(self, value: Any, path: Path) -> Any:
        if not isinstance(value, dict):
            raise _bad(path, "a table", value)
        for key in value:
            if key not in self.keys:
                hint = did_you_mean(key, self.keys)
                known = "" if hint else f"; the keys are {', '.join(self.keys)}"
                raise BadField((*path, key), f"there is no such key{hint}{known}")
        for key in self.needs:
            if key not in value:
                raise BadField(path, f"the key {key!r} is missing")
        found = {key: self.keys[key].checked(item, (*path, key)) for key, item in value.items()}
        if self.make is not dict:
            try:
                self.made(found)
            except InvalidSpec as error:
                raise blamed(path, found, error) from error
        return found

    def values(self, value: Any) -> dict[str, Any]:
        """Return what the values of a checked table stand for."""
        return {key: self.keys[key].made(item) for key, item in value.items()}

    def made(self, value: Any) -> Any:
        return self.make(**self.values(value))

    def schema(self) -> dict[str, Any]:
        docs = self.docs()
        properties = {
            key: {**kind.schema(), **({"description": docs[key]} if key in docs else {})}
            for key, kind in self.keys.items()
        }
        needs = {"required": list(self.needs)} if self.needs else {}
        one_of = [{"required": [key]} for key in self.needs_one_of]
        return {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
            **needs,
            **({"anyOf": one_of} if one_of else {}),
        }
