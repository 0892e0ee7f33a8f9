"""Instances arrive as they were: with all of their fields, some of them, or more than them."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from actors.transport import Decoder, Encoder, Lane, Unsendable, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable


class Doubled:
    """A field that is kept under its own name, and read as twice that."""

    def __set__(self, instance: Any, value: int) -> None:
        instance.__dict__["number"] = value

    def __get__(self, instance: Any, _owner: type) -> int:
        return 1 if instance is None else 2 * int(instance.__dict__["number"])


@dataclass
class Free:
    number: int
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    number: int
    tags: Any


@dataclass(slots=True, weakref_slot=True)
class Slotted:
    number: int
    tags: Any


@dataclass(frozen=True, slots=True)
class FrozenSlotted:
    number: int
    tags: Any


@dataclass
class WithDescriptor:
    number: Doubled = Doubled()


class Cached:
    __slots__ = ("cache",)
    cache: list[str]


@dataclass
class WithCache(Cached):
    number: int


CLASSES = [Free, Frozen, Slotted, FrozenSlotted]


def over_a_link(value: Any) -> Any:
    encoder, decoder = Encoder(), Decoder()
    encoder.pack([1, encoder.encode_value(value)])
    bodies = [*encoder.take(Lane.CONTROL), *encoder.take(Lane.DATA)]
    return next(message for body in bodies for message in decoder.feed(body))[1]


@pytest.fixture(params=[snapshot, over_a_link])
def travel(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """What makes the receiver's value of the sender's: on the same node, and on another."""
    way: Callable[[Any], Any] = request.param
    return way


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("tags", ["text", ["a", "b"], [["deep"]], {"k": ["v"]}])
def test_all_fields_arrive_and_what_can_change_is_a_copy(
    travel: Callable[[Any], Any], cls: Any, tags: Any
) -> None:
    sent = cls(1, tags)

    arrived = travel(sent)

    assert type(arrived) is cls
    assert (arrived.number, arrived.tags) == (1, tags)
    if type(tags) is not str:
        assert arrived.tags is not tags


def test_an_immutable_instance_of_leaves_is_not_copied_on_its_own_node() -> None:
    for sent in (Frozen(1, "a"), FrozenSlotted(1, "a")):
        assert snapshot(sent) is sent
    for changeable in (Free(1, []), Slotted(1, "a")):
        assert snapshot(changeable) is not changeable


@pytest.mark.parametrize("cls", CLASSES)
def test_a_field_that_is_unset_stays_unset(travel: Callable[[Any], Any], cls: Any) -> None:
    sent = cls(1, "a")
    object.__delattr__(sent, "tags")

    arrived = travel(sent)

    assert arrived.number == 1
    assert not hasattr(arrived, "tags")


@pytest.mark.parametrize("cls", [Free, Frozen])
def test_attributes_that_are_no_fields_arrive_and_their_order_does_not_matter(
    travel: Callable[[Any], Any], cls: Any
) -> None:
    more = cls(1, "a")
    object.__setattr__(more, "note", ["x"])
    turned = object.__new__(cls)
    vars(turned).update(tags="a", number=1)

    assert travel(more).note == ["x"]
    assert travel(more).note is not more.note
    assert (travel(turned).number, travel(turned).tags) == (1, "a")


def test_a_slot_of_a_base_arrives(travel: Callable[[Any], Any]) -> None:
    sent = WithCache(1)
    sent.cache = ["x"]

    assert travel(sent).cache == ["x"]
    assert travel(sent).cache is not sent.cache


def test_weak_references_to_a_copy_work(travel: Callable[[Any], Any]) -> None:
    arrived = travel(Slotted(1, "a"))

    assert weakref.ref(arrived)() is arrived


def test_a_field_with_a_descriptor_arrives_as_it_was_read(travel: Callable[[Any], Any]) -> None:
    sent = WithDescriptor(2)

    assert sent.number == 4
    assert vars(travel(sent))["number"] == 4


@pytest.mark.parametrize("cls", CLASSES)
def test_what_cannot_be_sent_is_named_by_its_field(travel: Callable[[Any], Any], cls: Any) -> None:
    with pytest.raises(Unsendable) as caught:
        travel(cls(1, [1, {"k": object()}]))

    assert caught.value.path == "value.tags[1]['k']"
