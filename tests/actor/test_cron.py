"""`timers.cron`: the times of a cron expression in a zone, and what becomes of those that pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import pytest
import sniffio
import trio

from actors import Actor, Ref, System, concurrent, local
from actors._actor.cron import CronSchedule, CronTimer
from actors._base.events import Event, EventStream
from actors.errors import NotAMessage
from actors.testing import Probe, running_system
from actors.transport.testing import ManualLoop
from tests.actor.virtual_time import VIRTUAL_LOOPS, virtual_loop

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(params=VIRTUAL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_loop(request.param)


def due(expression: str, since: str, count: int, zone: Any = BERLIN) -> list[str]:
    """Return the next due times, as they are shown in *zone*."""
    schedule, moment = CronSchedule(expression, zone), datetime.fromisoformat(since)
    shown = []
    for _ in range(count):
        moment = schedule.after(moment)
        shown.append(moment.astimezone(schedule.zone).strftime("%d %H:%M%z"))
    return shown


SPRING, AUTUMN = "2026-03-28T12:00+01:00", "2026-10-25T00:50+02:00"


@pytest.mark.parametrize(
    "expression, times",
    [
        ("30 2 * * *", ["29 03:00+0200", "30 02:30+0200"]),
        ("0,30 2 * * *", ["29 03:00+0200", "30 02:00+0200"]),
        ("*/30 2 * * *", ["29 03:00+0200", "30 02:00+0200"]),
        ("0 2,3 * * *", ["29 03:00+0200", "30 02:00+0200"]),
        ("15 2 29 3 *", ["29 03:00+0200", "29 02:15+0200"]),
    ],
)
def test_a_time_that_daylight_saving_skips_is_due_once_right_after_it(
    expression: str, times: list[str]
) -> None:
    assert due(expression, SPRING, 2) == times


def test_right_after_it_is_the_first_moment_of_the_new_time() -> None:
    schedule = CronSchedule("30 2 * * *", BERLIN)
    assert schedule.after(datetime.fromisoformat(SPRING)) == datetime(2026, 3, 29, 1, tzinfo=UTC)


@pytest.mark.parametrize("expression", ["30 2 * * *", "30 2 25,26 10 *"])
def test_a_time_that_occurs_twice_is_due_the_first_time(expression: str) -> None:
    assert due(expression, AUTUMN, 2) == ["25 02:30+0200", "26 02:30+0100"]
    assert due(expression, "2026-10-25T02:40+02:00", 1) == ["26 02:30+0100"]


def test_what_leaves_the_hour_open_follows_real_time() -> None:
    assert due("30 * * * *", "2026-03-29T01:00+01:00", 2) == ["29 01:30+0100", "29 03:30+0200"]
    assert due("30 * * * *", "2026-10-25T02:00+02:00", 2) == ["25 02:30+0200", "25 02:30+0100"]


def test_a_day_that_a_zone_skips_and_a_change_of_half_an_hour_are_gaps_too() -> None:
    assert due("0 12 30 12 *", "2011-12-29T00:00+00:00", 1, "Pacific/Apia") == ["31 00:00+1400"]
    assert due("0 2 * * *", "2026-10-03T12:00+10:30", 1, "Australia/Lord_Howe") == ["04 02:30+1100"]


@pytest.mark.parametrize(
    "bad", ["", "* * * *", "61 * * * *", "@daily", "0 0 30 2 *", "0 0 31 4,6 *", "a b c d e"]
)
def test_what_is_no_cron_expression_is_refused_by_name(bad: str) -> None:
    with pytest.raises(ValueError, match=r"cron\(schedule\)") as error:
        CronSchedule(bad, UTC)
    assert repr(bad) in str(error.value)


@pytest.mark.parametrize("bad", ["Mars/Olympus", "../etc/passwd", "", 5])
def test_what_is_no_time_zone_is_refused_by_name(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"cron\(tz\) is no time zone") as error:
        CronSchedule("* * * * *", bad)
    assert repr(bad) in str(error.value)


def test_an_expression_that_is_no_text_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="must be a str, got 5"):
        CronSchedule(5, UTC)  # type: ignore[arg-type] # that is what is looked at


class Wall:
    """A wall clock that begins at a minute before three in the night, and can be set."""

    def __init__(self) -> None:
        trio_runs = sniffio.current_async_library() == "trio"
        self.now = trio.current_time if trio_runs else asyncio.get_running_loop().time
        self.offset = datetime(2026, 1, 5, 2, 59, tzinfo=UTC).timestamp() - self.now()

    def __call__(self) -> float:
        return self.now() + self.offset


class Nightly(Actor):
    def __init__(self, probe: Probe, clock: Callable[[], float]) -> None:
        self.probe = probe
        self.clock = clock
        self.began = anyio.current_time()

    async def follow(self, schedule: str, busy: float = 0) -> None:
        timers = self.context.timers
        timers.cron(schedule, Nightly.run, busy, key="run", clock=self.clock)

    async def run(self, busy: float) -> None:
        self.probe.put(round(anyio.current_time() - self.began, 3))
        if busy:
            await anyio.sleep(busy)

    async def end(self) -> bool:
        return self.context.timers.cancel("run")

    @concurrent
    async def beside(self) -> None: ...

    async def follow_beside(self) -> None:
        self.context.timers.cron("* * * * *", Nightly.beside)

    async def follow_nothing(self) -> None:
        self.context.timers.cron("* * * * *", len)


async def _nightly(system: System, probe: Probe, clock: Callable[[], float]) -> Ref[Nightly]:
    return await system.spawn(Nightly, local(probe), local(clock))


async def _missed(events: EventStream) -> Event:
    while (event := await anext(events)).kind != "cron_missed":
        pass
    return event


async def test_a_run_for_each_due_time_until_it_is_cancelled() -> None:
    async with running_system() as system:
        probe = await Probe.start(system)
        ref = await _nightly(system, probe, Wall())
        await ref.ask(Nightly.follow, "0 3 * * *")

        assert [await probe.next(timeout=200_000) for _ in range(3)] == [60, 86_460, 172_860]
        assert await ref.ask(Nightly.end)
        await anyio.sleep(86_000)
        assert len(probe.heard) == 3


async def test_a_run_that_is_late_delays_the_next_and_stands_for_those_that_pass() -> None:
    async with running_system() as system:
        probe, events = await Probe.start(system), system.events()
        ref = await _nightly(system, probe, Wall())
        await ref.ask(Nightly.follow, "* * * * *", 150)  # two and a half minutes, each minute

        assert [await probe.next(timeout=1000) for _ in range(3)] == [60, 210, 360]
        event = await _missed(events)
        assert event.facts["message"] == "run"
        assert event.facts["count"] == 1
        assert event.facts["first"] == "2026-01-05T03:02:00+00:00"


async def test_times_that_pass_while_the_machine_sleeps_are_one_run_and_one_event() -> None:
    async with running_system() as system:
        probe, events, wall = await Probe.start(system), system.events(), Wall()
        ref = await _nightly(system, probe, wall)
        await ref.ask(Nightly.follow, "0 * * * *")
        assert await probe.next(timeout=100) == 60
        wall.offset += 5 * 3600

        assert await probe.next(timeout=100) <= 60 + 61
        event = await _missed(events)
        assert (event.facts["count"], event.facts["first"]) == (4, "2026-01-05T04:00:00+00:00")
        assert len(probe.heard) == 2


async def test_a_wall_clock_that_is_set_back_repeats_nothing_unless_it_was_wrong_by_hours() -> None:
    async with running_system() as system:
        probe, wall = await Probe.start(system), Wall()
        ref = await _nightly(system, probe, wall)
        await ref.ask(Nightly.follow, "0 * * * *")
        assert await probe.next(timeout=100) == 60

        wall.offset -= 600  # ten minutes: three o'clock comes again
        assert await probe.next(timeout=10_000) == 60 + 3600 + 600
        wall.offset -= 24 * 3600  # a day: it was wrong
        assert await probe.next(timeout=10_000) == 60 + 3600 + 600 + 3600


async def test_what_may_run_beside_itself_and_what_is_no_message_are_refused() -> None:
    async with running_system() as system:
        ref = await _nightly(system, await Probe.start(system), Wall())
        with pytest.raises(ValueError, match="beside may run beside itself"):
            await ref.ask(Nightly.follow_beside)
        ref = await _nightly(system, await Probe.start(system), Wall())
        with pytest.raises(NotAMessage):
            await ref.ask(Nightly.follow_nothing)


class At:
    """A wall clock that a test sets, and a `CronTimer` whose loop runs when the test lets time pass."""

    def __init__(self, expression: str, now: str) -> None:
        self.loop = ManualLoop()
        self.now = datetime.fromisoformat(now)
        self.told: list[tuple[str, int]] = []
        schedule = CronSchedule(expression, UTC)
        loop: Any = self.loop
        self.timer = CronTimer(schedule, loop, self._clock, self._tell)

    def _clock(self) -> float:
        return self.now.timestamp()

    def _tell(self, first: datetime, count: int) -> None:
        self.told.append((first.strftime("%d %H:%M"), count))

    def __call__(self, now: str) -> list[tuple[str, int]]:
        """What it says when it looks at this time, once."""
        self.told.clear()
        self.now = datetime.fromisoformat(now)
        self.loop.let_time_pass()
        self.loop.turn()
        return list(self.told)

    @property
    def waits(self) -> list[float]:
        return [call.seconds for call in self.loop.later]


def test_a_time_is_due_from_its_first_moment_and_until_then_the_clock_is_read_each_minute() -> None:
    at = At("0 3 * * *", "2026-01-05T02:58:30+00:00")
    assert at.waits == [60]
    assert at("2026-01-05T02:59:59.5+00:00") == []
    assert at.waits == [0.5]
    assert at("2026-01-05T03:00:00+00:00") == [("05 03:00", 1)]
    assert at("2026-01-06T03:00:00+00:00") == [("06 03:00", 1)]


def test_times_that_have_passed_are_counted_up_to_ten_thousand() -> None:
    at = At("* * * * *", "2026-01-05T00:00:30+00:00")
    # Of the last one, which is due in this moment, nothing is told a second time.
    assert at("2026-01-11T22:41:00+00:00") == [("05 00:01", 10_000)]
    assert at.waits == [60]
    assert at("2026-01-11T22:42:00+00:00") == [("11 22:42", 1)]
    assert at("2026-01-19T00:00:00+00:00") == [("11 22:43", 10_000)]
    assert at("2026-01-19T00:01:00+00:00") == [("19 00:01", 1)]


def test_one_that_is_cancelled_looks_no_more() -> None:
    at = At("* * * * *", "2026-01-05T00:00:30+00:00")
    at.timer.cancel()
    assert at.waits == []
    at.timer._look()
    assert (at.told, at.waits) == ([], [])
