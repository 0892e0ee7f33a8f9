"""How many messages a second somebody may send, in simulated time."""

import pytest

from examples.chat._rate_limiter import RateLimiter


def test_a_burst_is_free_and_then_turns_come_at_their_pace() -> None:
    limiter = RateLimiter(per_second=2, burst=3)
    assert [limiter.take(100.0) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]


def test_who_waits_for_their_turns_never_gets_more_than_the_pace() -> None:
    limiter, now = RateLimiter(per_second=10, burst=5), 0.0
    for _ in range(105):
        now += limiter.take(now)
    assert now == pytest.approx(10.0)


def test_silence_saves_up_a_burst_and_not_more() -> None:
    limiter = RateLimiter(per_second=2, burst=3)
    for _ in range(3):
        limiter.take(0.0)
    assert limiter.take(0.5) == 0
    assert [limiter.take(1000.0) for _ in range(4)] == [0, 0, 0, 0.5]
