"""A class is found again by its name, or refused at the sender; what is rebuilt has all it had."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Optional, TypeVar

import pydantic
import pytest

from actors.transport import Decoder, Encoder, Unsendable, snapshot
from tests.transport.sample_values import carry

T = TypeVar("T")
U = TypeVar("U")
OLD_OPTIONAL: Any = Optional[str]  # noqa: UP045 - the older form is another object

Bound = collections.namedtuple("BoundElsewhere", "x y")  # type: ignore[name-match] # noqa: PYI024 - the mistake under test
Made = dataclasses.make_dataclass("MadeElsewhere", ["a"])
Functional = enum.Enum("FunctionalElsewhere", "A B")  # type: ignore[misc]


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T]


class Both(pydantic.BaseModel, Generic[T, U]):
    one: T
    other: U


class Outer:
    class Item(pydantic.BaseModel):
        size: int


class Shown(enum.Enum):
    A = 1

    @property
    def name(self) -> str:
        return "shown"

    @property
    def value(self) -> Any:
        return "shown"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2

    @property
    def value(self) -> Any:
        return "shown"


class Pair(NamedTuple):
    a: Any
    b: int = 0


class Noted(Pair):
    note: list[str]


@dataclasses.dataclass
class Dated(dt.date):
    x: int = 0


@dataclasses.dataclass
class Queue(collections.deque):  # type: ignore[type-arg]
    x: int = 0


@pytest.fixture(params=["wire", "snapshot"])
def send(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    def carried(value: Any) -> Any:
        encoder = Encoder()
        return carry(encoder, Decoder(), [1, encoder.encode_value(value)])[1]

    return carried if request.param == "wire" else snapshot


@pytest.mark.parametrize(
    "value",
    [Bound(1, 2), Made(1), Functional.A, Dated.__new__(Dated, 2020, 1, 1), Queue()],
    ids=lambda value: type(value).__name__,
)
def test_what_no_other_process_can_rebuild_is_refused_at_the_sender(
    send: Callable[[Any], Any], value: Any
) -> None:
    with pytest.raises(
        Unsendable, match=r"no other process finds its class|Python code cannot set"
    ):
        send([value])


def test_a_model_parametrised_inside_a_function_arrives_as_that_model(
    send: Callable[[Any], Any],
) -> None:
    for model in (
        Page[int], Page[Outer.Item], Page[list[Outer.Item]], Page[Page[str]], Page[int | None],
        Page[OLD_OPTIONAL], Page[dict[str, Page[int]]],
    ):  # fmt: skip
        value = model.model_construct(items=[])
        assert type(send(value)) is model
    both = Both[int, Page[bytes]](one=1, other=Page[bytes](items=[b"x"]))
    again = send(both)
    assert type(again) is type(both)
    assert again == both


def test_a_model_with_a_parameter_that_has_no_name_is_refused_at_the_sender(
    send: Callable[[Any], Any],
) -> None:
    class Hidden(pydantic.BaseModel):
        pass

    with pytest.raises(Unsendable, match="is defined inside a function, where no other process"):
        send(Page[Hidden](items=[]))


def test_an_enum_with_a_name_or_value_of_its_own_arrives_as_its_member(
    send: Callable[[Any], Any],
) -> None:
    assert send(Shown.A) is Shown.A
    assert send(Rights.READ | Rights.WRITE) == Rights.READ | Rights.WRITE
    assert send(Rights.READ) is Rights.READ


def test_the_attributes_of_a_named_tuple_travel_with_it(send: Callable[[Any], Any]) -> None:
    noted = Noted([1], 2)
    noted.note = ["kept"]
    again = send(noted)
    assert (type(again), again, again.note) == (Noted, noted, ["kept"])
    noted.note.append("later")
    noted.a.append(2)
    assert (again.a, again.note) == ([1], ["kept"])
    plain = Noted(1, 2)
    plain.note = []
    assert send(plain).note is not plain.note
