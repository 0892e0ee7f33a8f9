"""Classes are introduced once per link and looked up by name; a skew harms one message only."""

import dataclasses
from typing import Any

import pytest

from actors.transport import (
    Decoder,
    Encoder,
    Extra,
    Lane,
    Undecodable,
    Undecoded,
    Unsendable,
    VersionSkew,
    register,
)
from actors.transport.types.registry import CUSTOM
from tests.transport import sample_values
from tests.transport.sample_values import Box, Point, carry


def test_a_class_is_introduced_once_and_on_the_control_lane() -> None:
    encoder, decoder = Encoder(), Decoder()
    for _ in range(3):
        encoder.pack([1, encoder.encode_value(Box(1))])
    (control,) = encoder.take(Lane.CONTROL)
    (data,) = encoder.take(Lane.DATA)
    assert b"Box" in control
    assert b"Box" not in data
    assert decoder.feed(control) == []
    assert decoder.feed(data) == [[1, Box(1)]] * 3


def test_a_class_unknown_to_the_receiver_fails_only_the_message_that_uses_it() -> None:
    encoder = Encoder(rename=lambda module, _: module.replace("sample_values", "elsewhere"))
    decoder = Decoder()
    encoder.pack([1, 7, encoder.encode_value({"a": [Box(1)]}), "envelope"])
    encoder.pack([2, 8, encoder.encode_value([1])])
    (control,), (data,) = encoder.take(Lane.CONTROL), encoder.take(Lane.DATA)
    decoder.feed(control)
    bad, good = decoder.feed(data)
    assert isinstance(bad[2], Undecoded)
    assert "cannot find tests.transport.elsewhere.Box" in str(bad[2].error)
    assert (bad[:2], bad[3], good) == ([1, 7], "envelope", [2, 8, [1]])


def test_a_class_that_only_the_sender_has_registered_is_named_with_what_to_do() -> None:
    register(sample_values.Unregistered, lambda _: 1, lambda _: sample_values.Unregistered())
    try:
        encoder = Encoder()
        value = encoder.encode_value(sample_values.Unregistered())
    finally:
        del CUSTOM[sample_values.Unregistered]
    failed = carry(encoder, Decoder(), [1, value])[1]
    assert isinstance(failed, Undecoded)
    assert "is registered by the sender and not here; call register()" in str(failed.error)


def test_a_resolver_maps_names_and_its_failure_is_contained() -> None:
    seen: list[tuple[str, str]] = []

    def resolve(module: str, qualname: str) -> type:
        seen.append((module, qualname))
        if qualname == "Box":
            raise OSError("no")
        found: type = getattr(sample_values, qualname)
        return found

    encoder, decoder = Encoder(rename=lambda _name, _named: "over.there"), Decoder(resolve=resolve)
    assert carry(encoder, decoder, [1, encoder.encode_value(Point(1, 2))])[1] == Point(1, 2)
    failed = carry(encoder, decoder, [1, encoder.encode_value(Box(1))])[1]
    assert isinstance(failed, Undecoded)
    assert isinstance(failed.error.__cause__, OSError)
    assert seen == [("over.there", "Point"), ("over.there", "Box")]


@dataclasses.dataclass
class BoxOtherField:
    """Like Box with another second field."""

    item: Any
    call: Any = None
    rest: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class BoxOtherType:
    """Like Box with another type of its last field."""

    item: Any
    callback: Any = None
    rest: str = ""


@dataclasses.dataclass
class BoxMore:
    """Like Box with one field more."""

    item: Any
    callback: Any = None
    rest: list[Any] = dataclasses.field(default_factory=list)
    more: int = 0


@pytest.mark.parametrize(
    "other, field",
    [(BoxOtherField, "call"), (BoxOtherType, "rest"), (BoxMore, "more"), (Point, "__class__")],
)
def test_a_class_defined_differently_is_a_version_skew_that_names_the_field(
    other: type, field: str
) -> None:
    encoder, decoder = Encoder(), Decoder(resolve=lambda *_: other)
    got = carry(encoder, decoder, [1, encoder.encode_value(Box(1))])[1]
    assert isinstance(got, Undecoded)
    assert isinstance(got.error, VersionSkew)
    assert got.error.field == field
    assert "both sides must run the same code" in str(got.error)


def test_an_enum_member_that_is_gone_is_a_version_skew() -> None:
    encoder, decoder = Encoder(), Decoder(resolve=lambda *_: sample_values.Level)
    got = carry(encoder, decoder, [1, encoder.encode_value(sample_values.Color.RED)])[1]
    assert isinstance(got.error, VersionSkew)
    assert got.error.field == "RED"


class Handle:
    """What only a link knows."""

    def __init__(self, n: int) -> None:
        self.n = n


def test_extras_are_encoded_and_decoded_with_what_the_link_knows() -> None:
    encoder = Encoder(extras=[Extra(Handle, lambda handle: (handle.n,), Handle)])
    decoder = Decoder(extras=[Extra(Handle, lambda _: None, lambda plain: Handle(plain[0] * 100))])
    got = carry(encoder, decoder, [1, encoder.encode_value([Handle(7)])])[1]
    assert got[0].n == 700
    with pytest.raises(Unsendable, match="Handle is not a known type"):
        Encoder().encode_value(Handle(1))


def test_an_extra_the_receiver_lacks_is_undecoded() -> None:
    encoder = Encoder(extras=[Extra(Handle, lambda handle: handle.n, Handle)])
    got = carry(encoder, Decoder(), [1, encoder.encode_value((Handle(7),))])[1]
    assert str(got.error) == "unknown tag 64"


def test_a_named_class_that_is_not_data_is_never_built() -> None:
    encoder, decoder = Encoder(), Decoder(resolve=lambda *_: __import__("subprocess").Popen)
    got = carry(encoder, decoder, [1, encoder.encode_value(Box(1))])[1]
    assert isinstance(got.error, Undecodable)
    assert "not a sendable class here" in str(got.error)
