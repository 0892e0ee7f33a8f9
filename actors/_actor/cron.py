"""Times of a cron expression, and the timer of one incarnation that follows them by the wall clock.

Rule 1: a time that daylight saving skips is due once, right after the gap; one that occurs twice is due
the first time. Expressions that leave the hour open (``*/5 * * * *``) follow real time: they run on in both.
Rule 2: a tick for each due time while its actor keeps up; all that are missed are one tick, and are told.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop, Timer

__all__ = ["CronSchedule", "CronTimer"]

_LOOK_AGAIN: Final = 60.0
"""Seconds after which the wall clock is read again: it may have been set, or the machine was suspended."""
_CORRECTED: Final = timedelta(hours=3)
"""A wall clock that goes back by more than this was wrong before, as cron has it: times are due again."""
_EXTRA: Final = (
    "context.timers.cron needs cronsim, of the extra `cron`: pip install 'actors-framework[cron]'"
)
_COUNTED: Final = 10_000
"""Due times that have passed are counted up to this many."""


class CronSchedule:
    """The due times of a cron expression in a time zone.

    Args:
        expression: five fields: minute, hour, day of the month, month, day of the week.
        zone: a `tzinfo`, or the name of one ("Europe/Berlin").

    Raises:
        ValueError: *expression* is none, or never due, or there is no such zone.
        TypeError: *expression* is no str.
        ModuleNotFoundError: the extra ``cron`` is not installed.
    """

    def __init__(self, expression: str, zone: tzinfo | str) -> None:
        try:
            from cronsim import CronSim, CronSimError  # noqa: PLC0415 - of an extra
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(_EXTRA) from error
        if not isinstance(expression, str):
            raise TypeError(f"cron(schedule) must be a str, got {expression!r}")
        self.zone: tzinfo = _zone(zone)
        self.expression = expression
        self._times = CronSim
        try:
            CronSim(expression, datetime.now())  # noqa: DTZ005 - it says whether it is one
        except CronSimError as error:
            raise ValueError(f"cron(schedule): {error}, got {expression!r}") from error
        self._follows_real_time = expression.split()[-4].startswith("*")
        self.after(datetime.now(UTC))

    def after(self, moment: datetime) -> datetime:
        """Return the first due time after *moment*, in UTC."""
        local = moment.astimezone(self.zone)
        if self._follows_real_time:
            for time in self._times(self.expression, local):
                return time.astimezone(UTC)
        # Wall times, of which none is skipped or twice; one in a gap stands for the end of the gap.
        for time in self._times(self.expression, local.replace(tzinfo=None)):
            if (due := _instant(time, self.zone)) > moment:
                return due
        raise ValueError(f"cron(schedule) is never due: {self.expression!r}")


class CronTimer:
    """Calls its owner at every due time.

    Args:
        schedule: its due times.
        loop: the loop it waits in.
        clock: the wall clock, in seconds since the epoch.
        tell: called when a time is due, with the first such time since the last call, and how many there
            were: more than one after a suspension, or when the wall clock was set forward.
    """

    def __init__(
        self,
        schedule: CronSchedule,
        loop: Loop,
        clock: Callable[[], float],
        tell: Callable[[datetime, int], None],
    ) -> None:
        self._schedule = schedule
        self._loop = loop
        self._clock = clock
        self._tell = tell
        self._handle: Timer | None = None
        self._cancelled = False
        self.due: datetime = schedule.after(self._now())
        """When it is due next."""
        self._arm()

    def cancel(self) -> None:
        """End it."""
        self._cancelled = True
        if self._handle is not None:
            self._handle.cancel()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _arm(self) -> None:
        left = (self.due - self._now()).total_seconds()
        self._handle = self._loop.call_later(min(max(left, 0.0), _LOOK_AGAIN), self._look)

    def _look(self) -> None:
        if self._cancelled:
            return
        now = self._now()
        if self.due <= now:
            first, count = self.due, 0
            while self.due <= now and count < _COUNTED:
                self.due = self._schedule.after(self.due)
                count += 1
            if self.due <= now:
                self.due = self._schedule.after(now)
            self._arm()
            self._tell(first, count)
            return
        if self.due - now > _CORRECTED:
            self.due = min(self.due, self._schedule.after(now))
        self._arm()


def _zone(zone: tzinfo | str) -> tzinfo:
    if isinstance(zone, tzinfo):
        return zone
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
        raise ValueError(f"cron(tz) is no time zone: {zone!r}") from error


def _instant(wall: datetime, zone: tzinfo) -> datetime:
    """Return when *wall* is shown the first time; of one that is skipped, the end of the gap."""
    first = wall.replace(tzinfo=zone, fold=0)
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == wall:
        return first.astimezone(UTC)
    # In a gap fold=1 takes the offset that follows it, which is the earlier of both; it changes in between.
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    after = first.astimezone(UTC)
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)
