"""What is handed over within a process as it is: a copy of a value that holds nothing of its place.

Immutable leaves go by reference; containers and data objects are copied, as `snapshot` does. What
belongs to a link or to memory (refs, arrays, buffers, marks, exceptions, registered types) goes
through the codec of the link.
"""

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from transport._encoder import Encoder
from transport._payload import Mode
from transport._scalars import SCALARS
from transport._shapes import Shape, shape_of
from transport._tags import LEAVES, MAX_DEPTH, Kind

__all__ = ["Handed", "Handing"]

_plain: Final = LEAVES.issuperset
"""Whether each of some types is a leaf, at the speed of C."""

_Copier = Callable[[Any, int], Any]


class NotHanded(Exception):
    """Something in a value has to go through the codec, which says so if it does not travel."""


class Handed:
    """Marks a field of a message that is handed over as it is."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Handing:
    """An encoder whose link stays within the process: it copies what it can, and packs the rest.

    A tuple of leaves among the fields of a message, and what is `Handed`, is handed over as it is; a
    message with any other container in it is packed whole.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.packing = encoder
        self._cargo = encoder.cargo
        self.check_size = encoder.check_size
        self.encode_error = encoder.encode_error

    def encode_args(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Sequence[Any] | Handed, dict[str, Any] | Handed | None]:
        """As `Encoder.encode_args`."""
        handed: tuple[Any, ...] | Handed = args
        keywords = None
        try:
            if not _plain(map(type, args)):
                handed = Handed(tuple([v if type(v) in LEAVES else _copy(v, 0) for v in args]))
            if kwargs:
                copies = {k: v if type(v) in LEAVES else _copy(v, 0) for k, v in kwargs.items()}
                keywords = Handed(copies)
        except (NotHanded, RecursionError):
            return self.packing.encode_args(args, kwargs)
        self._note(args)
        self._note(kwargs.values())
        return handed, keywords

    def encode_value(self, value: Any, root: str = "value") -> Any:
        """As `Encoder.encode_value`."""
        if type(value) in LEAVES:
            self._note((value,))
            return value
        try:
            return Handed(_copy(value, 0))
        except (NotHanded, RecursionError):
            return self.packing.encode_value(value, root)

    def _note(self, values: Iterable[Any]) -> None:
        """Count bytes so big that over another link they would go by shared memory."""
        for value in values:
            if type(value) is bytes and len(value) >= self._cargo.sizes.share:
                self._cargo.modes[Mode.REFERENCE] += 1
                self._cargo.lent += len(value)


def _copy(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise NotHanded
    cls = type(value)
    return (_COPIERS.get(cls) or _find(cls))(value, depth + 1)


def _find(cls: type) -> _Copier:
    """The copier of a class met for the first time."""
    shape = shape_of(cls)
    make = None if shape is None or "<locals>" in cls.__qualname__ else _SHAPED.get(shape.kind)
    if make is None or shape is None:
        raise NotHanded  # not remembered: it may be registered later
    copier = _COPIERS[cls] = make(shape)
    return copier


def _same(value: Any, _depth: int) -> Any:
    return value


def _zoned(value: Any, _depth: int) -> Any:
    """Times are immutable if their zone is one of the standard library's."""
    zone = value.tzinfo
    if zone is None or type(zone) is dt.timezone or (type(zone) is ZoneInfo and zone.key):
        return value
    raise NotHanded


def _list(value: list[Any], depth: int) -> list[Any]:
    if _plain(map(type, value)):
        return value.copy()
    return [item if type(item) in LEAVES else _copy(item, depth) for item in value.copy()]


def _tuple(value: tuple[Any, ...], depth: int) -> tuple[Any, ...]:
    return value if _plain(map(type, value)) else tuple(_list([*value], depth))


def _dict(value: dict[Any, Any], depth: int) -> dict[Any, Any]:
    out = value.copy()
    if not _plain(map(type, out)):
        return dict(zip(_list([*out], depth), _list([*out.values()], depth), strict=True))
    for key, item in out.items():
        if type(item) not in LEAVES:
            out[key] = _copy(item, depth)
    return out


def _set(value: set[Any], depth: int) -> set[Any]:
    return value.copy() if _plain(map(type, value)) else set(_list([*value], depth))


def _frozenset(value: frozenset[Any], depth: int) -> frozenset[Any]:
    return value if _plain(map(type, value)) else frozenset(_list([*value], depth))


def _instance(shape: Shape) -> _Copier:
    """The copier of a class with fields; the closure is made once per class."""

    def copy(value: Any, depth: int) -> Any:
        values, extra = shape.state(value)
        if values is None:
            raise NotHanded
        if not _plain(map(type, values)):
            values = tuple(_list([*values], depth))
        elif shape.immutable and extra is None:
            return value
        return shape.rebuild(values, None if extra is None else _dict(extra, depth))

    return copy


def _named_tuple(shape: Shape) -> _Copier:
    def copy(value: Any, depth: int) -> Any:
        if _plain(map(type, value)):
            return value
        return shape.rebuild(_list([*value], depth), None)

    return copy


def _enum(_shape: Shape) -> _Copier:
    return _same


_SHAPED: Final[dict[Kind, Callable[[Shape], _Copier]]] = {
    Kind.DATACLASS: _instance,
    Kind.ATTRS: _instance,
    Kind.NAMEDTUPLE: _named_tuple,
    Kind.ENUM: _enum,
}

_COPIERS: Final[dict[type, _Copier]] = {
    **dict.fromkeys(LEAVES | (SCALARS.keys() - {memoryview, ZoneInfo}), _same),
    dt.datetime: _zoned,
    dt.time: _zoned,
    list: _list,
    tuple: _tuple,
    dict: _dict,
    set: _set,
    frozenset: _frozenset,
    deque: lambda value, depth: deque(_list([*value], depth), value.maxlen),
}
