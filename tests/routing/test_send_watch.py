"""Who has taken something of what waits for it, in virtual time: the arithmetic of `send_timeout`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors.routing.serving.send_watch import SendWatch, Unsent

LIMIT = 4.0
WAITS = Unsent(size=100, paused=False, taken=0)
PAUSED = Unsent(size=100, paused=True, taken=0)


class Clock:
    """The timers of an asyncio loop whose time moves only by `advance`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []
        self.looks: list[float] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, fn: Callable[..., None], *args: Any) -> Any:
        self.timers.append((self.now + seconds, fn, args))
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while self.timers and min(at for at, _, _ in self.timers) <= until:
            due = min(self.timers, key=lambda timer: timer[0])
            self.timers.remove(due)
            self.now, fn, args = due
            self.looks.append(self.now)
            fn(*args)
        self.now = until


class Client:
    """A connection that is its own and only sender."""

    def __init__(self, *looks: Unsent) -> None:
        self.looks = list(looks)
        self.given_up = False

    def senders(self) -> Iterator[Client]:
        yield self

    def unsent(self) -> Unsent:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def give_up(self) -> None:
        self.given_up = True


def watch(clients: dict[int, Any], limit: float = LIMIT) -> tuple[SendWatch, Clock, list[int]]:
    late: list[int] = []
    return SendWatch(limit, clients, late.append), Clock(), late


STILL = {
    "nothing changes": (WAITS, WAITS),
    "nothing changes of what waits for room": (PAUSED, PAUSED),
    "it waits for room from now on": (WAITS, PAUSED),
    "more was added although it waits for room": (PAUSED, PAUSED._replace(size=101)),
}
TAKES = {
    "less waits": (WAITS, WAITS._replace(size=99)),
    "less waits, and still for room": (PAUSED, PAUSED._replace(size=99)),
    "there was room again": (PAUSED, PAUSED._replace(taken=1)),
    "more was added, and some of it may have been taken": (WAITS, WAITS._replace(size=101)),
    "more was added before it waits for room": (WAITS, PAUSED._replace(size=101)),
    "more was added since there was room": (PAUSED, WAITS._replace(size=101)),
}


@pytest.mark.parametrize("looks", STILL.values(), ids=STILL)
def test_a_client_that_takes_nothing_is_given_up_after_the_limit(
    looks: tuple[Unsent, Unsent],
) -> None:
    client = Client(*looks)
    sends, clock, late = watch({7: client})
    sends.begin(clock)  # type: ignore[arg-type] # all of it that is called
    clock.advance(LIMIT / 4 + LIMIT - 0.1)
    assert not late
    clock.advance(0.1)
    assert (late, client.given_up) == ([7], True)


@pytest.mark.parametrize("looks", TAKES.values(), ids=TAKES)
def test_whatever_a_client_may_have_taken_begins_its_time_anew(
    looks: tuple[Unsent, Unsent],
) -> None:
    client = Client(*looks)
    sends, clock, late = watch({7: client})
    sends.begin(clock)  # type: ignore[arg-type] # as above
    clock.advance(LIMIT / 4 + LIMIT)
    assert not late
    clock.advance(LIMIT / 4)
    assert late == [7]


def test_a_client_for_whom_nothing_waits_has_all_the_time() -> None:
    client = Client(WAITS, WAITS, WAITS._replace(size=0), WAITS)
    sends, clock, late = watch({7: client, 8: None})
    sends.begin(clock)  # type: ignore[arg-type] # as above
    clock.advance(LIMIT + 3 * LIMIT / 4)
    assert not late
    clock.advance(LIMIT / 4)
    assert late == [7]


def test_all_connections_are_looked_at_by_one_timer_which_ends_with_the_last() -> None:
    clients: dict[int, Any] = {1: None, 2: None}
    sends, clock, _ = watch(clients)
    for _ in clients:
        sends.begin(clock)  # type: ignore[arg-type] # as above
    clock.advance(LIMIT)
    assert clock.looks == [1.0, 2.0, 3.0, 4.0]
    clients.clear()
    clock.advance(LIMIT)
    assert clock.looks == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert not clock.timers


def test_a_watch_that_was_stopped_looks_no_more_until_it_begins_again() -> None:
    sends, clock, _ = watch({1: None})
    sends.begin(clock)  # type: ignore[arg-type] # as above
    sends.stop()
    assert not clock.timers
    sends.begin(clock)  # type: ignore[arg-type] # as above
    assert len(clock.timers) == 1


def test_without_a_limit_there_is_no_timer() -> None:
    sends, clock, _ = watch({1: None}, math.inf)
    sends.begin(clock)  # type: ignore[arg-type] # as above
    assert not clock.timers
