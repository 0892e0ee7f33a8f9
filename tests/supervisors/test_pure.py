"""The decisions, against their definitions. No loop is needed for any of this."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, strategies as st

from actors.supervisors import (
    AutoShutdown,
    Backoff,
    BackoffState,
    Budget,
    ChildSpec,
    ChildState,
    Exit,
    ExitKind,
    InvalidPolicy,
    Restart,
    RestartLog,
    Strategy,
    affected_by,
    should_restart,
)
from actors.supervisors._strategy import next_to_start, shuts_down

CRASHED = Exit.CRASHED(ValueError("bad"))


def half() -> float:
    return 0.5


# Exit.


@pytest.mark.parametrize(
    "exit_,text,abnormal",
    [
        (Exit.NORMAL, "NORMAL", False),
        (Exit.SHUTDOWN, "SHUTDOWN", False),
        (Exit.KILLED, "KILLED", True),
        (Exit.ABANDONED, "ABANDONED", True),
        (CRASHED, "CRASHED(ValueError: bad)", True),
        (Exit.CRASHED(KeyError()), "CRASHED(KeyError)", True),
        (
            Exit.NODE_DOWN("rooms/0: killed by SIGKILL"),
            "NODE_DOWN(rooms/0: killed by SIGKILL)",
            True,
        ),
    ],
)
def test_an_exit_says_what_it_is(exit_: Exit, text: str, abnormal: bool) -> None:
    assert str(exit_) == text
    assert exit_.abnormal is abnormal


def test_exits_are_equal_by_value() -> None:
    error = ValueError("bad")

    assert Exit(ExitKind.KILLED) == Exit.KILLED
    assert Exit.CRASHED(error) == Exit.CRASHED(error)
    assert Exit.CRASHED(error) != Exit.CRASHED(ValueError("bad"))
    assert Exit.NODE_DOWN("x") == Exit.NODE_DOWN("x") != Exit.NODE_DOWN("y")
    assert len({Exit.KILLED, Exit(ExitKind.KILLED), Exit.NORMAL}) == 2


# Which ends bring a child back.


@pytest.mark.parametrize("kind", list(ExitKind))
@pytest.mark.parametrize("restart", list(Restart))
def test_should_restart(restart: Restart, kind: ExitKind) -> None:
    abnormal = kind not in {ExitKind.NORMAL, ExitKind.SHUTDOWN}
    expected = {
        Restart.PERMANENT: True,
        Restart.TRANSIENT: abnormal,
        Restart.TEMPORARY: False,
    }[restart]

    assert should_restart(restart, Exit(kind)) is expected


# Specs.


@pytest.mark.parametrize(
    "fields,message",
    [
        ({"name": ""}, "name must be a string that is not empty, got ''"),
        ({"name": 3}, "name must be a string that is not empty, got 3"),
        ({"start": None}, "start must be callable, got None"),
        ({"restart": "prmanent"}, r"restart must be a Restart \(PERMANENT, .*, got 'prmanent'"),
        ({"shutdown": -10}, "shutdown must be 0 or more seconds, got -10"),
        ({"shutdown": math.nan}, "shutdown must be 0 or more seconds, got nan"),
        ({"shutdown": True}, "shutdown must be 0 or more seconds, got True"),
        ({"shutdown": "5"}, "shutdown must be 0 or more seconds, got '5'"),
        ({"kind": "wrker"}, "kind must be 'worker' or 'supervisor', got 'wrker'"),
        ({"significant": "maybe"}, "significant must be a bool, got 'maybe'"),
        ({"significant": True}, "significant child 'a' must be TRANSIENT or TEMPORARY"),
        ({"backoff": 3}, "backoff must be a Backoff, got 3"),
        ({"host": 3}, "host must be a Host, got 3"),
        ({"gone": 3}, "gone must be callable, got 3"),
    ],
)
def test_c08_a_bad_spec_shows_its_bad_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPolicy, match=message):
        ChildSpec(**{"name": "a", "start": print, **fields})


@pytest.mark.parametrize("kind", ["worker", "supervisor"])
@pytest.mark.parametrize("shutdown", [0, 1000, 0.5, math.inf, None])
@pytest.mark.parametrize("restart", list(Restart))
def test_c08_every_valid_combination_is_accepted(
    restart: Restart, shutdown: float | None, kind: Any
) -> None:
    start: Any = print
    spec = ChildSpec(name="a", start=start, restart=restart, shutdown=shutdown, kind=kind)

    default = math.inf if kind == "supervisor" else 5.0
    assert spec.grace == (default if shutdown is None else shutdown)


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda: Budget(-1), "restarts must be a whole number, 0 or more, got -1"),
        (lambda: Budget(math.inf), "restarts must be a whole number, 0 or more, got inf"),  # type: ignore[arg-type]
        (lambda: Budget(True), "restarts must be a whole number, 0 or more, got True"),
        (lambda: Budget(1, 0), "within must be a finite number of seconds above 0, got 0"),
        (lambda: Budget(1, math.inf), "within must be a finite number of seconds above 0, got inf"),
        (lambda: Backoff(first=-1), "first must be 0 or more seconds, got -1"),
        (lambda: Backoff(first=60), "first must be at most cap, 30 seconds, got 60"),
        (lambda: Backoff(factor=0.5), "factor must be 1 or more, got 0.5"),
        (lambda: Backoff(cap=math.inf), "cap must be finite, got inf"),
        (lambda: Backoff(jitter=-0.1), "jitter must be 0 or more, got -0.1"),
        (lambda: Backoff(reset_after=-1), "reset_after must be 0 or more seconds, got -1"),
        (lambda: Backoff(give_up_after=-1), "give_up_after must be a whole number"),
    ],
)
def test_c08_a_bad_policy_shows_its_bad_value(make: Any, message: str) -> None:
    with pytest.raises(InvalidPolicy, match=message):
        make()


# Strategies.

NAMES = st.lists(st.text(min_size=1), min_size=1, unique=True)


@given(NAMES, st.data())
def test_affected_by(order: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(order))
    position = order.index(name)

    assert affected_by(Strategy.ONE_FOR_ONE, order, name) == (name,)
    assert affected_by(Strategy.ONE_FOR_ALL, order, name) == tuple(order)
    assert affected_by(Strategy.REST_FOR_ONE, order, name) == tuple(order[position:])


WAITING = st.sampled_from([ChildState.RESTARTING, ChildState.BACKING_OFF, ChildState.WAITING_NODE])


@given(st.sampled_from(Strategy), st.lists(WAITING))
def test_next_to_start(strategy: Strategy, states: list[ChildState]) -> None:
    pending = [(str(position), state) for position, state in enumerate(states)]
    free = [name for name, state in pending if state is ChildState.RESTARTING]

    expected = free[0] if free else None
    if strategy is not Strategy.ONE_FOR_ONE and expected != "0":
        expected = None
    assert next_to_start(strategy, pending) == expected


@pytest.mark.parametrize("significant", [False, True])
@pytest.mark.parametrize("others", [[], [False], [False, True], [True, True]])
def test_shuts_down(significant: bool, others: list[bool]) -> None:
    def decide(auto: AutoShutdown) -> bool:
        return shuts_down(auto, significant=significant, others=others)

    assert not decide(AutoShutdown.NEVER)
    assert decide(AutoShutdown.ANY_SIGNIFICANT) is significant
    assert decide(AutoShutdown.ALL_SIGNIFICANT) is (significant and True not in others)


# Budget.


@given(st.lists(st.floats(0, 100)), st.integers(0, 5), st.floats(0.1, 10))
def test_record_agrees_with_the_definition(gaps: list[float], restarts: int, within: float) -> None:
    log = RestartLog(Budget(restarts, within))
    now, times = 0.0, []
    for gap in gaps:
        now += gap
        times.append(now)
        assert log.record(now) is (len([t for t in times if t >= now - within]) <= restarts)


def test_both_ends_of_the_window_belong_to_it() -> None:
    log = RestartLog(Budget(1, 5))

    assert log.record(0.0)
    assert not log.record(5.0)
    assert log.record(10.1)


def test_the_first_error_that_still_counts_is_kept() -> None:
    log = RestartLog(Budget(3, 5))
    early, late = Exit.CRASHED(ValueError("early")), Exit.CRASHED(ValueError("late"))

    firsts = [log.first]
    for now, exit_ in ((0.0, early), (4.0, Exit.KILLED), (6.0, late), (20.0, Exit.KILLED)):
        log.record(now, exit_)
        firsts.append(log.first)

    assert firsts == [None, early, early, late, Exit.KILLED]


# Backoff.


@pytest.mark.parametrize(
    "backoff,delays",
    [
        (Backoff(jitter=0), [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]),
        (Backoff(first=1, factor=1, jitter=0), [0, 1, 1, 1]),
        (Backoff(first=3, factor=3, cap=10, jitter=0), [0, 3, 9, 10, 10]),
        (Backoff(first=1, cap=1, jitter=0), [0, 1, 1]),
        (Backoff(first=0, jitter=1), [0, 0, 0]),
        (Backoff(first=1, jitter=0.2), [0, 1.1, 2.2, 4.4]),
    ],
)
def test_c50_the_delay_table(backoff: Backoff, delays: list[float]) -> None:
    assert [backoff.delay(n, half) for n in range(len(delays))] == pytest.approx(delays)


@given(
    st.integers(0, 2**31),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 10),
    st.floats(1, 10),
    st.floats(0, 100),
    st.floats(0, 2),
)
def test_c50_a_delay_is_within_its_bounds(
    n: int, chance: float, first: float, factor: float, cap: float, jitter: float
) -> None:
    first = min(first, cap)
    delay = Backoff(first=first, factor=factor, cap=cap, jitter=jitter).delay(n, lambda: chance)

    assert 0 <= delay <= cap * (1 + jitter)
    if n == 1:
        assert delay == pytest.approx(first * (1 + jitter * chance))


@pytest.mark.parametrize("first,expected", [(0.1, 30), (0, 0)])
def test_c50_nothing_overflows(first: float, expected: float) -> None:
    assert Backoff(first=first, jitter=0).delay(2**31, half) == expected


def test_c50_a_row_is_forgotten_after_health_and_only_then() -> None:
    row = BackoffState(Backoff(first=10, jitter=0))
    now = 0.0

    assert row.next(now, half) == 0
    row.started(now)
    assert row.next(now + 4.9, half) == 10
    row.started(now)
    assert row.next(now + 19.9, half) == 20
    assert row.next(now + 1000, half) == 30
    row.started(now)
    assert row.next(now + 60, half) == 0
    assert row.restarts == 1


def test_a_row_is_forgotten_after_as_long_as_it_says() -> None:
    row = BackoffState(Backoff(first=10, jitter=0, reset_after=1))

    assert row.next(0, half) == 0
    row.started(0)
    assert row.next(1, half) == 0
    row.started(1)
    assert row.next(1.5, half) == 10


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_a_row_ends(limit: int) -> None:
    row = BackoffState(Backoff(give_up_after=limit))

    given_up = [row.next(0, half) is None for _ in range(limit + 2)]

    assert given_up == [False] * limit + [True, True]
