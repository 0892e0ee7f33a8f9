"""One class of each kind that travels, and values made of them."""

import datetime as dt
import enum
import re
import sys
import uuid
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import attrs
from hypothesis import strategies as st

from actors.transport import Decoder, Encoder, Lane


class Color(enum.Enum):
    """Plain members."""

    RED = 1
    BLUE = "blue"


class Level(enum.IntEnum):
    """Members that are integers too."""

    LOW = 1
    HIGH = 2


class Right(enum.Flag):
    """Members that combine."""

    READ = 1
    WRITE = 2


class Unregistered:
    """Is no known kind of class."""


class Point(NamedTuple):
    """A named tuple."""

    x: Any
    y: Any


@dataclass
class Box:
    """A mutable dataclass."""

    item: Any
    callback: Any = None
    rest: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    """A frozen dataclass."""

    left: Any
    right: Any


@dataclass(slots=True)
class Slotted:
    """A dataclass without `__dict__`."""

    one: Any
    two: Any = 2


@dataclass(frozen=True, slots=True)
class FrozenSlotted:
    """Frozen and without `__dict__`."""

    only: Any


@dataclass
class Empty:
    """A dataclass without fields."""


@attrs.define
class Attrs:
    """An attrs class with slots."""

    first: Any
    second: Any = None


@attrs.frozen
class AttrsFrozen:
    """A frozen attrs class."""

    first: Any


class Registered:
    """A class that only `register` makes sendable."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Registered) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


class Odd(Exception):
    """An exception whose `__init__` takes other arguments than `args`."""

    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"odd {code}")
        self.code = code
        self.hint = hint


zones = st.sampled_from(
    [None, dt.UTC, dt.timezone(dt.timedelta(hours=-3), "X"), ZoneInfo("Europe/Berlin")]
)
keys = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(),
    st.dates(), st.uuids(), st.sampled_from([Color.RED, Level.HIGH, Right.READ | Right.WRITE]),
    st.tuples(st.integers(), st.text()), st.fractions(), st.ip_addresses(),
)  # fmt: skip
leaves = st.one_of(
    keys,
    st.text(st.characters(exclude_categories=[])),
    st.integers(-(2**80), 2**80),
    st.complex_numbers(allow_nan=False),
    st.binary().map(bytearray),
    st.datetimes(timezones=zones),
    st.builds(dt.datetime.replace, st.datetimes(), fold=st.integers(0, 1)),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.lists(st.integers(-9, 9)).map(lambda items: array("h", items)),
    st.sampled_from([re.compile("a|b"), re.compile(b"x", re.VERBOSE)]),
    st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 3)),
    st.sampled_from(
        [PurePosixPath("/a/b"), PureWindowsPath("c:\\x"), Empty(), dt.UTC, ZoneInfo("UTC")]
    ),
)


def _grow(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(lambda items: deque(items, 9)),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4).map(OrderedDict),
        st.dictionaries(keys, inner, max_size=4).map(lambda items: defaultdict(list, items)),
        st.dictionaries(st.text(), inner, max_size=4).map(lambda items: SimpleNamespace(**items)),
        st.lists(keys, max_size=4).map(Counter),
        st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4),
        st.builds(Point, inner, inner),
        st.builds(Box, inner, inner),
        st.builds(Frozen, inner, inner),
        st.builds(Slotted, inner, inner),
        st.builds(FrozenSlotted, inner),
        st.builds(Attrs, inner, inner),
        st.builds(AttrsFrozen, inner),
        st.builds(Registered, inner),
    )


values = st.recursive(leaves, _grow, max_leaves=12)


def types(value: Any) -> Any:
    """The exact types of a value and of everything in it, in order."""
    cls = type(value)
    if isinstance(value, list | tuple | deque):
        return cls, [types(item) for item in value]
    if isinstance(value, dict):
        return cls, [(types(key), types(item)) for key, item in value.items()]
    if isinstance(value, SimpleNamespace):
        return cls, types(vars(value))
    if isinstance(value, set | frozenset):
        return cls, sorted((str(types(item)) for item in value), key=str)
    if isinstance(value, Box | Frozen | Slotted | FrozenSlotted | Attrs | AttrsFrozen | Registered):
        names: Any = getattr(value, "__dict__", None) or getattr(value, "__slots__", ())
        return cls, [(name, types(getattr(value, name))) for name in names if name != "__weakref__"]
    return cls


def open_fds() -> int:
    """How many descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def carry(encoder: Encoder, decoder: Decoder, message: list[Any]) -> list[Any]:
    """One message through both codecs, control lane first."""
    encoder.pack(message)
    got: list[Any] = []
    for lane in Lane:
        for body in encoder.take(lane):
            got += decoder.feed(body)
    assert len(got) == 1
    result: list[Any] = got[0]
    return result


def travel(value: Any) -> Any:
    """The value on the other side of a new link."""
    encoder = Encoder()
    message = carry(encoder, Decoder(), [1, encoder.encode_value(value)])
    return message[1]


NOW = dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
SAMPLES: dict[str, Any] = {
    "none": None,
    "bool": True,
    "int": -5,
    "big int": 2**64,
    "negative big int": -(2**200),
    "float": 1.5,
    "complex": 1j,
    "text": "é",
    "lone surrogate": "\ud800",
    "bytes": b"\0",
    "bytearray": bytearray(b"ab"),
    "list": [1, [2]],
    "tuple": (1, (2, [3])),
    "dict": {"a": 1, 2: [3]},
    "dict of tuples": {(1, 2): (3,)},
    "set": {1, 2},
    "frozenset": frozenset({(1, 2)}),
    "deque": deque([1, [2]], 5),
    "date": NOW.date(),
    "datetime": NOW,
    "naive datetime": NOW.replace(tzinfo=None),
    "time": NOW.timetz(),
    "timedelta": dt.timedelta(-1, 2, 3),
    "utc": dt.UTC,
    "zone": ZoneInfo("UTC"),
    "named zone": dt.timezone(dt.timedelta(hours=1), "X"),
    "uuid": uuid.UUID(int=7),
    "decimal": Decimal("1.50"),
    "path": PurePosixPath("a/b"),
    "windows path": PureWindowsPath("c:/"),
    "range": range(1, 9, 2),
    "huge range": range(2**70),
    "enum": Color.BLUE,
    "int enum": Level.HIGH,
    "flag": Right.READ | Right.WRITE,
    "named tuple": Point(1, [2]),
    "dataclass": Box([1]),
    "frozen": Frozen(1, (2,)),
    "slots": Slotted(1, [2]),
    "frozen slots": FrozenSlotted([1]),
    "no fields": Empty(),
    "attrs": Attrs([1]),
    "frozen attrs": AttrsFrozen(1),
    "registered": Registered([1]),
    "ordered dict": OrderedDict([("b", [1]), (("a",), 2)]),
    "counter": Counter("abca"),
    "default dict": defaultdict(list, {"a": [1]}),
    "namespace": SimpleNamespace(a=[1], b=SimpleNamespace()),
    "fraction": Fraction(-(2**70), 3),
    "address": IPv4Address("10.0.0.1"),
    "scoped address": IPv6Address("fe80::1%eth0"),
    "network": IPv4Network("10.0.0.0/8"),
    "big network": IPv6Network("2001:db8::/32"),
    "interface": IPv4Interface("10.0.0.1/8"),
    "big interface": IPv6Interface("2001:db8::1/32"),
    "typed array": array("d", [1.5, 2]),
    "typed text": array("w" if sys.version_info >= (3, 13) else "u", "é€"),
    "empty typed array": array("q"),
    "pattern": re.compile(r"(?i)a.b", re.DOTALL),
    "pattern of bytes": re.compile(rb"\d+"),
    "function": Path.iterdir,
    "class": Registered,
}
