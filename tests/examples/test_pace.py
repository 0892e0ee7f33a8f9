"""How fast somebody may talk, in a time of our own."""

import pytest

from examples.chat._pace import Pace


def test_a_burst_is_free_and_then_turns_come_at_their_pace() -> None:
    pace = Pace(per_second=2, burst=3)
    assert [pace.take(100.0) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]


def test_who_waits_for_their_turns_never_gets_more_than_the_pace() -> None:
    pace, now = Pace(per_second=10, burst=5), 0.0
    for _ in range(105):
        now += pace.take(now)
    assert now == pytest.approx(10.0)


def test_silence_saves_up_a_burst_and_not_more() -> None:
    pace = Pace(per_second=2, burst=3)
    for _ in range(3):
        pace.take(0.0)
    assert pace.take(0.5) == 0
    assert [pace.take(1000.0) for _ in range(4)] == [0, 0, 0, 0.5]
