"""The arithmetic of leases: whatever is lost or late, the old run is over before a new one begins."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings, strategies as st

from actors.errors import InvalidSpec
from actors.machines.lease import GrantedLease, HeldLease, check_length


class Step(NamedTuple):
    """What happens to one question of the agent; seconds of true time."""

    after: float
    """Between the question before and this one."""
    there: float | None
    """On the way to the parent; None is lost."""
    back: float | None
    """Of the answer."""
    stalled: float
    """Between the moment in which the agent notes the time and the one in which it sends the question."""


delay = st.one_of(st.floats(0, 0.01), st.floats(0, 30))
steps = st.lists(
    st.builds(
        Step,
        after=st.one_of(st.just(0.2), st.floats(0, 3)),
        there=st.one_of(st.none(), delay),
        back=st.one_of(st.none(), delay),
        stalled=st.one_of(st.just(0.0), st.floats(0, 5)),
    ),
    max_size=30,
)


class Places(NamedTuple):
    """Both ends at their latest, in true time."""

    held_until: float
    over_at: float


def play(length: float, schedule: list[Step], agent_rate: float, parent_rate: float) -> Places:
    """Play a schedule; the clocks run by their rates and begin anywhere."""
    held, granted = HeldLease(length), GrantedLease(length, 0.0)
    on_way: list[tuple[float, int, Step]] = []
    at = 0.0
    for step in schedule:
        at += step.after
        number = held.ask(1000 + at * agent_rate)
        at += step.stalled
        if step.there is not None:
            on_way.append((at + step.there, number, step))
    answers = []
    for heard_at, number, step in sorted(on_way):
        if granted.heard(heard_at * parent_rate) and step.back is not None:
            answers.append((heard_at + step.back, number))
    for _, number in sorted(answers):
        held.granted(number)
    return Places((held.until - 1000) / agent_rate, granted.over_at / parent_rate)


@settings(max_examples=500)
@given(st.floats(1, 60), steps, st.floats(0.96, 1.04), st.floats(0.96, 1.04))
def test_no_schedule_lets_the_agents_lease_outlast_what_the_parent_counts(
    length: float, schedule: list[Step], agent_rate: float, parent_rate: float
) -> None:
    places = play(length, schedule, agent_rate, parent_rate)
    assert places.held_until < places.over_at


@given(st.floats(1, 60))
def test_an_agent_whose_questions_are_answered_at_once_keeps_its_lease(length: float) -> None:
    held, granted = HeldLease(length), GrantedLease(length, 0.0)
    for turn in range(100):
        now = turn * length / 5
        number = held.ask(now)
        assert granted.heard(now)
        assert held.granted(number) == now + length


TABLE = [
    # sent, heard, answered (None is lost) by the agent's and the parent's clock; then what both count
    ([(0.0, 100.0, 0.1)], 10.0, 111.25),
    ([(0.0, 100.0, None)], float("-inf"), 111.25),
    ([(0.0, 105.0, 5.1)], 10.0, 116.25),
    ([(0.0, 100.0, 0.1), (2.0, None, None)], 10.0, 111.25),
    ([(0.0, 100.0, 0.1), (2.0, 102.0, None)], 10.0, 113.25),
    ([(0.0, 100.0, 9.9), (2.0, 102.0, 2.1)], 12.0, 113.25),
]


@pytest.mark.parametrize("questions, until, over_at", TABLE)
def test_a_lease_runs_from_the_sending_for_the_agent_and_from_the_hearing_for_the_parent(
    questions: list[tuple[float, float | None, float | None]], until: float, over_at: float
) -> None:
    held, granted = HeldLease(10.0), GrantedLease(10.0, 100.0)
    answers = []
    for sent, heard, answered in questions:
        number = held.ask(sent)
        if heard is not None:
            assert granted.heard(heard)
        if answered is not None:
            answers.append((answered, number))
    for _, number in sorted(answers):
        held.granted(number)
    assert held.until == until
    assert granted.over_at == pytest.approx(over_at)


def test_who_was_called_over_is_not_answered_again() -> None:
    granted = GrantedLease(1.0, 0.0)
    assert granted.heard(1.3)
    assert not granted.heard(granted.over_at)
    assert granted.over_at == pytest.approx(1.3 + 1.35)


def test_a_place_is_silent_after_a_third_of_its_lease() -> None:
    granted = GrantedLease(9.0, 1.0)
    assert granted.silent_at == pytest.approx(4.0)
    assert granted.left(1.0) == pytest.approx(10.15)
    assert granted.left(1000.0) == 0.0


def test_an_answer_twice_or_to_no_question_gives_nothing() -> None:
    held = HeldLease(10.0)
    number = held.ask(5.0)
    assert held.granted(77) == float("-inf")
    assert held.granted(number) == 15.0
    held.ask(50.0)
    assert held.granted(number) == 15.0


def test_an_agent_that_nobody_answers_does_not_keep_every_question() -> None:
    held = HeldLease(10.0)
    first = held.ask(0.0)
    for turn in range(1000):
        held.ask(float(turn))
    assert held.granted(first) == float("-inf")


@pytest.mark.parametrize("wrong", [0.99, 0, -1, float("inf"), float("nan"), "10", None, True])
def test_a_lease_of_less_than_a_second_or_of_no_number_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidSpec, match=r"lease must be .*got"):
        check_length(wrong)


def test_a_lease_may_be_one_second() -> None:
    assert check_length(1) == 1.0
