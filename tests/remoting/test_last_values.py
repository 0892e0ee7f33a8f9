"""The last values of topics have a bound together: the oldest are forgotten."""

from __future__ import annotations

from actors._remoting.last_value import LastValues

MIB = 1024 * 1024


def test_the_value_that_was_published_longest_ago_is_forgotten_first() -> None:
    values = LastValues()
    for topic in ("a", "b", "c"):
        values.keep(topic, [bytes(20 * MIB)])
    values.keep("a", [bytes(20 * MIB), b"again"])
    values.keep("d", [bytes(20 * MIB)])
    assert values.last("b") == []
    assert [bool(values.last(topic)) for topic in "acd"] == [True, True, True]
    assert values.last("a")[1] == b"again"
