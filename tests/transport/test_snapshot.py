"""A snapshot hides later changes, shares what cannot change, and has the original's types."""

import dataclasses
from collections import deque
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings

from actors.transport import Unsendable, local, register_immutable, snapshot, snapshot_args
from tests.transport import sample_values
from tests.transport.sample_values import (
    SAMPLES,
    Attrs,
    AttrsFrozen,
    Box,
    Color,
    Frozen,
    FrozenSlotted,
    Point,
    Slotted,
    types,
    values,
)


@given(values)
@settings(max_examples=200, deadline=None)
def test_a_snapshot_is_equal_in_value_and_type(value: Any) -> None:
    copy = snapshot(value)
    assert types(copy) == types(value)
    assert copy == value


MUTABLE: list[tuple[Any, Any]] = [
    ([1, [2]], lambda value: value[1].append(3)),
    ({"a": {"b": 1}}, lambda value: value["a"].clear()),
    ({1, 2}, lambda value: value.add(3)),
    (bytearray(b"ab"), lambda value: value.append(0)),
    (deque([[1]]), lambda value: value[0].append(2)),
    ((1, [2]), lambda value: value[1].append(3)),
    (Point(1, [2]), lambda value: value.y.append(3)),
    (Box([1]), lambda value: value.item.append(2)),
    (Box(1), lambda value: setattr(value, "item", 2)),
    (Frozen(1, [2]), lambda value: value.right.append(3)),
    (Slotted(1, [2]), lambda value: value.two.append(3)),
    (FrozenSlotted([1]), lambda value: value.only.append(2)),
    (Attrs([1]), lambda value: value.first.append(2)),
    (AttrsFrozen([1]), lambda value: value.first.append(2)),
    ({"k": (1, Box([2]))}, lambda value: value["k"][1].item.append(3)),
]


@pytest.mark.parametrize("value, change", MUTABLE, ids=lambda part: type(part).__name__)
def test_a_change_after_the_snapshot_does_not_show(value: Any, change: Any) -> None:
    value = deepcopy(value)  # other tests have the same one
    before = repr(value)
    copy = snapshot(value)
    change(value)
    assert repr(value) != before
    assert repr(copy) == before


SHARED = [
    (1, (2, "x")),
    frozenset({(1, 2)}),
    Point(1, (2,)),
    Frozen(1, Frozen(2, (3,))),
    FrozenSlotted("x"),
    AttrsFrozen((1,)),
    Color.RED,
    *(SAMPLES[name] for name in ("datetime", "uuid", "decimal", "path", "range", "big int")),
]


@pytest.mark.parametrize("value", SHARED, ids=lambda value: type(value).__name__)
def test_what_cannot_change_is_shared(value: Any) -> None:
    assert snapshot(value) is value
    assert snapshot([value])[0] is value


def test_a_view_is_a_snapshot_of_its_bytes() -> None:
    source = bytearray(b"abcd")
    copy = snapshot(memoryview(source)[1:3])
    source[:] = b"xxxx"
    assert (copy.tobytes(), copy.readonly) == (b"bc", True)


def test_a_local_value_is_handed_over_as_itself() -> None:
    thing = object()
    assert snapshot(local(thing)) is thing
    assert snapshot({"a": [local(thing)]})["a"][0] is thing


def test_a_registered_immutable_is_handed_over_as_itself() -> None:
    class Token:
        """Passed by reference once registered."""

    token = Token()
    with pytest.raises(Unsendable):
        snapshot(token)
    register_immutable(Token)
    assert snapshot((1, token))[1] is token


def test_arguments_are_copied_and_named() -> None:
    items = [1]
    args, kwargs = snapshot_args((1, items), {"more": {"a": items}})
    items.append(2)
    assert (args, kwargs) == ((1, [1]), {"more": {"a": [1]}})
    with pytest.raises(Unsendable, match=r"^args\[1\]\[0\]: "):
        snapshot_args((1, [object()]), {})
    with pytest.raises(Unsendable, match=r"^callback: "):
        snapshot_args((), {"callback": object()})


def test_plain_arguments_are_not_copied_at_all() -> None:
    args = (1, "x", None)
    assert snapshot_args(args, {})[0] is args


def test_a_frozen_dataclass_with_a_mutable_attribute_beside_its_fields_is_copied() -> None:
    value = Frozen(1, 2)
    value.__dict__["cache"] = [1]
    copy: Any = snapshot(value)
    value.__dict__["cache"].append(2)
    assert copy.cache == [1]


def test_the_path_leads_through_keys_and_members() -> None:
    with pytest.raises(Unsendable, match=r"^value\{\.\.\.\}\.left: "):
        snapshot({Frozen(object(), 1): 1})
    with pytest.raises(Unsendable, match=r"^value\.one\.rest\[0\]: "):
        snapshot(Slotted(Box(1, rest=[object()])))


def test_dataclass_fields_reach_the_copy_without_init() -> None:
    assert dataclasses.asdict(snapshot(sample_values.Box(1, 2, [3]))) == {
        "item": 1,
        "callback": 2,
        "rest": [3],
    }
