"""What arrives equals what was sent, in value and type; what cannot travel says where and why."""

import asyncio
import dataclasses
import datetime as dt
import socket
import sys
import threading
import types as pytypes
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings

from actors.transport import Decoder, Encoder, FrameError, Lane, TooBig, Unsendable, local, snapshot
from tests.transport import sample_values
from tests.transport.sample_values import (
    SAMPLES,
    Box,
    Frozen,
    Point,
    Registered,
    travel,
    types,
    values,
)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_known_type_arrives_as_it_was_sent(name: str) -> None:
    value = SAMPLES[name]
    got = travel(value)
    assert got == value
    assert types(got) == types(value)


@given(values)
@settings(max_examples=300, deadline=None)
def test_any_nesting_arrives_as_it_was_sent(value: Any) -> None:
    got = travel(value)
    assert types(got) == types(value)
    assert got == value


@pytest.mark.parametrize("size", [1000, 70_000, 3_000_000])
def test_large_values_arrive_whole_at_any_depth(size: int) -> None:
    value = ((Box({"a": [b"x" * size, "y"]}), bytearray(size)), {(1,): "z" * size})
    assert travel(value) == value


def test_fold_and_zone_names_survive() -> None:
    got = travel(sample_values.NOW)
    assert (got.fold, got.tzinfo.key) == (1, "Europe/Berlin")
    assert travel(dt.timezone(dt.timedelta(hours=1), "X")).tzname(None) == "X"


def test_a_named_tuple_with_a_field_too_few_is_refused_where_it_is_sent() -> None:
    with pytest.raises(Unsendable, match=r"value\[0\]: .*Point has 2 fields, this one 1"):
        travel([tuple.__new__(Point, (1,))])


def test_attributes_beside_the_fields_travel_too() -> None:
    box = Box(1)
    box.__dict__["cached"] = [2]
    assert travel(box).cached == [2]


def test_a_field_that_was_deleted_stays_unset() -> None:
    box = sample_values.Slotted(1)
    del box.two
    got = travel(box)
    assert got.one == 1
    assert not hasattr(got, "two")


def test_rebuilding_runs_no_user_code(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box([1])
    monkeypatch.setattr(Box, "__init__", lambda *_args, **_kwargs: pytest.fail("ran __init__"))
    monkeypatch.setattr(
        Box, "__setattr__", lambda *_args, **_kwargs: pytest.fail("ran __setattr__")
    )
    assert travel(box).item == [1]
    assert snapshot(box).item == [1]


def test_a_memoryview_arrives_as_a_read_only_view_of_just_its_bytes() -> None:
    source = bytearray(range(16))
    got = travel(memoryview(source)[4:12].cast("H"))
    assert (got.format, got.readonly, got.tobytes()) == ("H", True, bytes(range(4, 12)))


def _generator() -> Any:
    yield 1


async def _coroutine() -> None:
    pass


class Unknown:
    """Not sendable."""


@dataclasses.dataclass
class TextPlus(dict[str, int]):
    """A dataclass that is a dict as well."""

    n: int = 0


REFUSED: dict[str, tuple[Any, str]] = {
    "lambda": (lambda: None, "a lambda has no name to import it by"),
    "method": (
        [].append,
        "a bound method does not travel; send functools.partial(list.append, value)",
    ),
    "lock": (threading.Lock(), "locks belong to one process"),
    "generator": (_generator(), "running code does not travel"),
    "module": (sys, "modules do not travel"),
    "instance": (
        Unknown(),
        "Unknown is not a known type; make it a dataclass, or register(Unknown, ...)",
    ),
    "counter": (type("Tally", (Counter,), {})(), "Tally is a subclass of dict"),
    "dict dataclass": (TextPlus(), "TextPlus is a subclass of dict"),
    "str subclass": (type("Text", (str,), {})("x"), "Text is a subclass of str"),
    "odd zone": (
        dt.datetime(2020, 1, 1, tzinfo=type("Z", (dt.tzinfo,), {})()),
        "the zone of datetime must be",
    ),
    "namespace": (
        type("Names", (pytypes.SimpleNamespace,), {})(),
        "Names is a SimpleNamespace, whose state Python code",
    ),
}


@pytest.mark.parametrize("send", [snapshot, travel], ids=["snapshot", "wire"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_travel_is_refused_with_its_path_and_a_reason(name: str, send: Any) -> None:
    value, why = REFUSED[name]
    nested = {"a": [0, Box(1, callback=(value,))]}
    with pytest.raises(Unsendable) as caught:
        send(nested)
    zone = ".tzinfo" if name == "odd zone" else ""
    assert caught.value.path == f"value['a'][1].callback[0]{zone}"
    assert why in str(caught.value)
    if not zone:
        assert caught.value.value is value


@pytest.mark.parametrize("send", [snapshot, travel], ids=["snapshot", "wire"])
def test_sockets_coroutines_and_local_classes_are_refused(send: Any) -> None:
    @dataclasses.dataclass
    class Inner:
        n: int = 1

    coroutine = _coroutine()
    with socket.socket() as sock:
        for value, why in (
            (sock, "sockets"),
            (coroutine, "forget to await"),
            (Inner(), "inside a function"),
        ):
            with pytest.raises(Unsendable, match=why):
                send([value])
    coroutine.close()


def test_arguments_are_named_by_position_and_keyword() -> None:
    encoder = Encoder()
    with pytest.raises(Unsendable) as first:
        encoder.encode_args((1, [Box(sys)]), {})
    with pytest.raises(Unsendable) as second:
        encoder.encode_args((), {"on_done": {"x": sys}})
    assert (
        str(first.value)
        == "args[1][0].item: cannot send <module 'sys' (built-in)>: modules do not travel"
    )
    assert second.value.path == "on_done['x']"


@pytest.mark.parametrize("send", [snapshot, travel], ids=["snapshot", "wire"])
def test_what_contains_itself_is_refused(send: Any) -> None:
    ring: list[Any] = []
    ring.append((ring,))
    with pytest.raises(Unsendable, match="nested deeper than 200 levels, or contains itself"):
        send(ring)


def test_two_hundred_levels_travel() -> None:
    deep: Any = 1
    for level in range(198):
        deep = [deep] if level % 2 else (deep,)
    assert travel(deep) == deep == snapshot(deep)


@pytest.mark.parametrize(
    "wrap", [Box, sample_values.Slotted, sample_values.Attrs, lambda value: Point(value, 1)]
)
def test_two_hundred_levels_of_objects_travel(wrap: Any) -> None:
    deep: Any = 1
    for _ in range(199):
        deep = wrap(deep)
    assert types(travel(deep)) == types(deep) == types(snapshot(deep))


def test_a_pydantic_model_arrives_whole_without_validation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pydantic = pytest.importorskip("pydantic")
    body = {
        "__module__": sample_values.__name__,
        "__annotations__": {"name": str, "tags": list[str], "limit": int, "_seen": list[int]},
        "limit": 3,
        "_seen": pydantic.PrivateAttr(default_factory=list),
    }
    account = type(pydantic.BaseModel)("Account", (pydantic.BaseModel,), body)
    monkeypatch.setattr(sample_values, "Account", account, raising=False)
    model = account(name="a", tags=["x"])
    model._seen.append(1)
    for got in (travel(model), snapshot(model)):
        assert type(got) is account
        assert got == model
        assert got.tags is not model.tags
        assert (got._seen, got.model_fields_set) == ([1], {"name", "tags"})
        assert got.model_dump() == {"name": "a", "tags": ["x"], "limit": 3}


def test_a_local_value_does_not_leave_its_process() -> None:
    with pytest.raises(
        Unsendable, match=r"args\[0\]\[0\]: .* local values do not leave their process"
    ):
        Encoder().encode_args(([local(print)],), {})


def test_a_message_that_fails_leaves_the_batch_whole() -> None:
    encoder, decoder = Encoder(limit=1000), Decoder()
    encoder.pack([1, "before"])
    with pytest.raises(TooBig, match="1005 bytes, and a message may have 1000") as big:
        encoder.pack([2, "x" * 1000])
    with pytest.raises(Unsendable, match=r"not plain|not a known type"):
        encoder.pack([3, [1, object()]])
    encoder.pack([4, "after \ud800"])
    (body,) = encoder.take(Lane.DATA)
    assert (big.value.size, big.value.limit) == (1005, 1000)
    assert decoder.feed(body) == [[1, "before"], [4, "after \ud800"]]
    assert encoder.batches.pending == 0


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        b"\x01",
        b"\x90",
        b"\x91\xa1x",
        b"\x92\x01",
        b"\x91\x01\xdc",
        b"\x91\x00",
        b"\x81\x90\x01",
    ],
)
def test_bytes_that_are_no_messages_are_a_frame_error(body: bytes) -> None:
    decoder = Decoder()
    with pytest.raises(FrameError):
        decoder.feed(body)


def test_the_registered_type_is_copied_through_its_codec() -> None:
    thing = Registered([1])
    copy = snapshot(thing)
    assert copy == thing
    assert copy.value is not thing.value


def test_running_tasks_are_refused() -> None:
    async def main() -> None:
        task = asyncio.current_task()
        with pytest.raises(Unsendable, match="running code"):
            snapshot(asyncio.get_running_loop().create_future())
        assert task is not None

    asyncio.run(main())


def test_frozen_values_hash_and_compare_after_the_trip() -> None:
    assert {Frozen(1, (2,)): 1}[travel(Frozen(1, (2,)))] == 1
    assert travel({Frozen(1, 2): sample_values.Color.RED}) == {
        Frozen(1, 2): sample_values.Color.RED
    }
