"""Keys as text, bytes and fields of a message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from actors._keyed.key import check_key, key_bytes, key_fields, key_of, key_text
from actors.routing import owner
from actors.transport import Decoder, Encoder, Lane

SIMPLE = st.one_of(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
    st.integers(-(2**64) + 1, 2**64 - 1),
    st.binary(min_size=1, max_size=12),
    st.sampled_from(["7", "b'7'", "frozenset({7})", "(7,)", "'a'", "_a", "a b", "-7"]),
)
KEYS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)
    ),
    max_leaves=4,
)


@given(KEYS, KEYS)
def test_keys_have_the_same_text_only_if_they_are_equal(one: Any, other: Any) -> None:
    assert (key_text(one) == key_text(other)) == (one == other)


@given(KEYS)
def test_a_key_comes_back_from_its_fields(key: Any) -> None:
    encoder, decoder = Encoder(), Decoder()
    encoder.pack([1, encoder.encode_value(key_fields(key), "key")])
    [[_, fields]] = decoder.feed(encoder.take(Lane.DATA)[0])

    assert key_of(fields) == key
    assert type(key_of(fields)) is type(key)


@given(KEYS)
def test_the_order_in_a_set_does_not_matter_for_the_node(key: Any) -> None:
    both = (frozenset([key, "other"]), frozenset(["other", key]))

    assert key_bytes(both[0]) == key_bytes(both[1])


@pytest.mark.parametrize(
    "key, text",
    [
        ("kitchen", "kitchen"),
        ("room 7", "room 7"),
        ("7", "'7'"),
        (7, "7"),
        ("line\nbreak", "'line\\nbreak'"),
        (("a", 1), "('a', 1)"),
        (frozenset({2, 1}), "frozenset({1, 2})"),
    ],
)
def test_the_text_of_a_key_is_a_word_or_as_python_writes_it(key: Any, text: str) -> None:
    assert key_text(key) == text


def test_a_text_has_the_node_that_a_sticky_listener_gives_to_the_same_value() -> None:
    # `Sticky(keys.query("room"))` hashes the bytes of the value over the slots.
    assert owner(key_bytes("kitchen"), range(4)) == owner(b"kitchen", range(4))


def test_nested_keys_have_a_depth() -> None:
    deep: Any = 1
    for _ in range(2000):
        deep = (deep,)

    with pytest.raises(ValueError, match="got "):
        check_key("rooms", deep)
