"""When a group of nodes that scales itself gets a node more or less."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, strategies as st

from actors._system.scaling_rule import GroupLoad, ScalingRule


def load(nodes: int, busy: float, waiting: int = 0, memory_left: float = 0.5) -> GroupLoad:
    return GroupLoad(nodes, busy, waiting, memory_left)


def after(rule: ScalingRule, seconds: Iterable[float], now: GroupLoad) -> list[int]:
    return [rule.wanted(now, second) for second in seconds]


def test_a_node_more_is_wanted_when_loops_have_been_busy_for_three_seconds() -> None:
    rule = ScalingRule(1, 4, 0.0)
    assert after(rule, [10, 11, 12, 13], load(2, 0.8)) == [2, 2, 2, 3]
    assert rule.why == "its loops compute 80% of their time"


def test_a_moment_without_load_starts_the_wait_again() -> None:
    rule = ScalingRule(1, 4, 0.0)
    assert after(rule, [10, 11, 12], load(2, 0.8)) == [2, 2, 2]
    assert rule.wanted(load(2, 0.6), 12.5) == 2
    assert after(rule, [13, 14, 15, 16], load(2, 0.8)) == [2, 2, 2, 3]


def test_messages_that_wait_are_a_reason_too() -> None:
    rule = ScalingRule(1, 4, 0.0)
    assert after(rule, [10, 13], load(2, 0.1, waiting=200)) == [2, 3]
    assert rule.why == "200 messages and connections wait"
    assert after(ScalingRule(1, 4, 0.0), [10, 13], load(2, 0.1, waiting=199)) == [2, 2]


def test_a_node_less_is_wanted_after_a_minute_if_the_others_stay_far_from_the_limit() -> None:
    rule = ScalingRule(1, 4, 0.0)
    assert after(rule, [100, 159, 160], load(4, 0.3)) == [4, 4, 3]
    # Three could not do it with room to spare: 4 x 0.4 / 3 is more than a half.
    assert after(ScalingRule(1, 4, 0.0), [100, 160, 400], load(4, 0.4)) == [4, 4, 4]


def test_after_a_change_everything_is_waited_for_again() -> None:
    rule = ScalingRule(1, 8, 0.0)
    assert after(rule, [10, 13], load(2, 1.0)) == [2, 3]
    rule.changed(13)
    assert after(rule, [14, 15, 16, 17], load(3, 1.0)) == [3, 3, 3, 4]


def test_a_group_that_begins_is_not_changed_at_once() -> None:
    rule = ScalingRule(1, 8, 100.0)
    assert after(rule, [101, 102, 103, 104], load(2, 1.0)) == [2, 2, 2, 3]


def test_without_memory_left_it_does_not_grow() -> None:
    assert after(ScalingRule(1, 4, 0.0), [10, 13, 20], load(2, 1.0, memory_left=0.09)) == [2, 2, 2]


@pytest.mark.parametrize(
    "look, wanted",
    [
        (load(2, 0.75), 3),
        (load(2, 0.74), 2),
        (load(2, 0.6, waiting=200), 3),
        (load(1, 0.75, memory_left=0.1), 2),
        (load(4, 1.0), 4),
    ],
    ids=["busy enough", "not quite", "many wait", "just enough memory", "no more allowed"],
)
def test_where_a_node_more_begins(look: GroupLoad, wanted: int) -> None:
    assert after(ScalingRule(1, 4, 0.0), [10, 13], look)[-1] == wanted


@pytest.mark.parametrize(
    "look, wanted",
    [
        (load(2, 0.24), 1),
        (load(2, 0.25), 2),
        (load(3, 0.3), 2),
        (load(2, 0.1, waiting=99), 1),
        (load(2, 0.1, waiting=100), 2),
        (load(1, 0.0), 1),
    ],
    ids=["rests", "not quite", "two could do it", "few wait", "too many wait", "the last"],
)
def test_where_a_node_less_begins(look: GroupLoad, wanted: int) -> None:
    rule = ScalingRule(1, 4, 0.0)
    assert after(rule, [100, 160], look)[-1] == wanted
    if wanted < look.nodes:
        assert rule.why == f"its loops compute {look.busy:.0%} of their time"


def test_it_is_pressed_while_a_node_more_is_wanted_that_cannot_be_had() -> None:
    rule = ScalingRule(1, 2, 0.0)
    seen = [rule.pressed]
    for now, busy in ((10, 1.0), (11, 0.6), (12, 1.0)):
        rule.wanted(load(2, busy), now)
        seen.append(rule.pressed)
    rule.changed(13)
    assert [*seen, rule.pressed] == [False, True, False, True, False]


@given(
    st.integers(1, 5),
    st.integers(0, 5),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1000), st.floats(0, 100)), max_size=60),
)
def test_it_stays_within_its_range_and_changes_by_one(
    least: int, more: int, looks: list[tuple[float, int, float]]
) -> None:
    rule, now, nodes = ScalingRule(least, least + more, 0.0), 0.0, least
    for busy, waiting, later in looks:
        now += later
        wanted = rule.wanted(load(nodes, busy, waiting), now)
        assert abs(wanted - nodes) <= 1
        assert least <= wanted <= least + more
        if wanted != nodes:
            rule.changed(now)
        nodes = wanted


@pytest.mark.parametrize("busy, pressed", [(0.75, True), (0.74, False)])
def test_whether_it_is_pressed_is_known_after_a_look(busy: float, pressed: bool) -> None:
    rule = ScalingRule(1, 4, 0.0)
    rule.wanted(load(1, busy), 1.0)
    assert rule.pressed is pressed
