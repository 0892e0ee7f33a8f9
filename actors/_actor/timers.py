"""The timers of one incarnation, `context.timers`: messages an actor sends itself later.

Rule 1: a due timer puts a tick into the mailbox, past its bound; at most one tick of a timer is queued.
Rule 2: the tick is checked when it is taken: if its timer was cancelled or replaced, or ended with its
incarnation, no message is handled.
"""

from __future__ import annotations

import time
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVarTuple, overload

from actors._actor.cron import CronSchedule, CronTimer
from actors._actor.idle import IdleTimer
from actors._base.errors import not_sendable
from actors._messaging.mailbox import Envelope, OwnMessage
from actors._messaging.message_table import Handler, MessageKind, own_handler
from actors.transport import Local, Unsendable, snapshot_args, snapshot_for_many

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from datetime import datetime, tzinfo

    from actors._actor.idle import Idleness
    from actors._base.loop import Loop, Timer

__all__ = ["Timers"]

P = ParamSpec("P")
Ts = TypeVarTuple("Ts")


class _ActorTimer:
    """One timer: its message, its period and whether a tick of it is queued."""

    __slots__ = (
        "args",
        "began",
        "handle",
        "handler",
        "idle",
        "key",
        "kwargs",
        "period",
        "queued",
        "repeats",
        "ticks",
    )

    def __init__(
        self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any], period: float | None
    ) -> None:
        self.handler = handler
        self.args = args
        self.kwargs = kwargs
        self.period = period
        self.key: Hashable = None
        self.began = 0.0
        # How many periods have passed: counted, so that rounding errors do not add up.
        self.ticks = 0
        # Whether a tick of it is in the mailbox.
        self.queued = False
        self.handle: Timer | IdleTimer | CronTimer | None = None
        # The same as `handle`, of a timer for idleness.
        self.idle: IdleTimer | None = None
        self.repeats = period is not None

    def next_in(self, now: float) -> float:
        """Move to the next tick that is not in the past; return the seconds until then."""
        assert self.period is not None
        self.ticks = max(self.ticks, int((now - self.began) / self.period)) + 1
        return max(self.began + self.ticks * self.period - now, 0.0)


class Timers:
    """Messages to the actor itself, once or periodically; they end with the incarnation.

    A timer sends a method of the actor's own class, in the order of its mailbox::

        self.context.timers.every(30, Session.ping)
        self.context.timers.once(300, Session.expire, key="expiry")  # replaces the one before
        self.context.timers.cancel("expiry")
        self.context.timers.idle(30, Session.asleep)  # no message has come for half a minute
        self.context.timers.cron("0 3 * * *", Session.back_up)  # at three in the night

    Nobody awaits the result: an error of the handler crashes the actor, as with `Ref.tell`.
    """

    def __init__(
        self,
        loop: Loop,
        name: str,
        cls: type,
        deliver: Callable[[Envelope], None],
        idleness: Callable[[], Idleness],
        runs_missed: Callable[[str, int, datetime], None],
    ) -> None:
        self._loop = loop
        self._name = name
        self._cls = cls
        self._deliver = deliver
        self._idleness = idleness
        self._runs_missed = runs_missed
        self._set: dict[Hashable, _ActorTimer] = {}
        self._named = 0
        self._closed = False

    @overload
    def once(
        self,
        seconds: float,
        method: Callable[Concatenate[Any, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Hashable: ...
    @overload
    def once(
        self,
        seconds: float,
        method: Callable[[Any, *Ts], object],
        /,
        *args: *Ts,
        key: Hashable,
    ) -> Hashable: ...
    def once(  # type: ignore[misc] # mypy does not find `*Ts` in `*Any`
        self,
        seconds: float,
        method: Callable[..., object],
        /,
        *args: Any,
        key: Hashable = None,
        **kwargs: Any,
    ) -> Hashable:
        """Send ``method(*args, **kwargs)`` to the actor itself in *seconds*.

        Args:
            seconds: 0 or more.
            method: a message of the actor's class.
            *args: its arguments, as they are now.
            key: its name for `cancel`; a timer that has this key already is replaced. Beside a key a
                checker takes the arguments by position.
            **kwargs: its arguments, as they are now.

        Returns:
            The key; one is made up if none is given.

        Raises:
            ValueError: *seconds* is negative or no number.
            NotAMessage: *method* is not a message of the actor's class.
            TypeError: *method* does not take these arguments.
            NotSendable: an argument cannot travel; no timer was set or replaced.
            RuntimeError: the actor has ended.
        """
        if not _is_number(seconds) or not seconds >= 0:
            raise ValueError(f"once(seconds) must be 0 or more, got {seconds!r}")
        timer = self._make_timer(method, args, kwargs, None)
        return self._start(timer, key, seconds)

    @overload
    def every(
        self,
        seconds: float,
        method: Callable[Concatenate[Any, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Hashable: ...
    @overload
    def every(
        self,
        seconds: float,
        method: Callable[[Any, *Ts], object],
        /,
        *args: *Ts,
        key: Hashable,
    ) -> Hashable: ...
    def every(  # type: ignore[misc] # mypy does not find `*Ts` in `*Any`
        self,
        seconds: float,
        method: Callable[..., object],
        /,
        *args: Any,
        key: Hashable = None,
        **kwargs: Any,
    ) -> Hashable:
        """Send ``method(*args, **kwargs)`` to the actor itself every *seconds*, first in *seconds*.

        At most one tick queued in the mailbox: an actor that is slower than its timer misses some.
        The rest is as with `once`.

        Raises:
            ValueError: *seconds* is not more than 0.
            NotAMessage, TypeError, NotSendable, RuntimeError: as `once`.
        """
        if not _is_number(seconds) or not seconds > 0:
            raise ValueError(f"every(seconds) must be more than 0, got {seconds!r}")
        timer = self._make_timer(method, args, kwargs, seconds)
        return self._start(timer, key, seconds)

    def idle(
        self,
        seconds: float,
        method: Callable[[Any, *Ts], object],
        /,
        *args: *Ts,
        key: Hashable = None,
    ) -> Hashable:
        """Send ``method(*args)`` to the actor itself when it has had no message for *seconds*.

        It is told once; any message after that sets the timer again. The time counts from the end of the last
        message. An actor is not idle while a concurrent handler of it runs, or a stream of it is open. Its own
        timers' ticks, notices for `on_exit` and the tasks of `context.tasks` are no messages. The rest is as
        with `once`; keyword arguments of the method: by `functools.partial`.

        Raises:
            ValueError: *seconds* is not more than 0.
            NotAMessage, TypeError, NotSendable, RuntimeError: as `once`.
        """
        if not _is_number(seconds) or not seconds > 0:
            raise ValueError(f"idle(seconds) must be more than 0, got {seconds!r}")
        timer = self._make_timer(method, args, {}, None)
        self._set_key(timer, key)
        timer.handle = timer.idle = IdleTimer(
            self._idleness(), seconds, lambda: self._queue_tick(timer)
        )
        return timer.key

    def cron(
        self,
        schedule: str,
        method: Callable[[Any, *Ts], object],
        /,
        *args: *Ts,
        tz: tzinfo | str = UTC,
        key: Hashable = None,
        clock: Callable[[], float] = time.time,
    ) -> Hashable:
        """Send ``method(*args)`` to the actor itself at the times of a cron expression (extra ``cron``).

        A run that has not begun when the next one is due stands for both, and one that has delays the
        next: they never overlap. Times that passed while the machine was suspended, or that the wall clock
        was set forward over, are one run, made at once. An event `cron_missed` tells how many had no run of
        their own. A time that daylight saving skips is due once, right after it; one that occurs twice is due
        the first time; expressions that leave the hour open (``*/5 * * * *``) follow real time. What is due
        while the actor or its node is down is not made up for.

        Args:
            schedule: minute, hour, day of the month, month, day of the week: ``"30 2 * * mon-fri"``.
            method: a message of the actor's class.
            *args: its arguments, as they are now; keyword arguments by `functools.partial`.
            tz: the time zone of *schedule*, or its name ("Europe/Berlin").
            key: as for `once`.
            clock: the wall clock, in seconds since the epoch; tests hand in their own.

        Raises:
            ValueError: *schedule* is no cron expression or is never due, there is no such *tz*, or *method* may
                run beside itself (`concurrent` without ``limit=1``).
            ModuleNotFoundError: cronsim is not installed.
            NotAMessage, TypeError, NotSendable, RuntimeError: as `once`.
        """
        times = CronSchedule(schedule, tz)
        timer = self._make_timer(method, args, {}, None)
        if timer.handler.kind is MessageKind.CONCURRENT and timer.handler.limit != 1:
            raise ValueError(
                f"{timer.handler.name} may run beside itself: cron needs a handler that is not concurrent,"
                " or one with limit=1"
            )
        timer.repeats = True
        self._set_key(timer, key)
        timer.handle = CronTimer(times, self._loop, clock, partial(self._run, timer))
        return timer.key

    def cancel(self, key: Hashable) -> bool:
        """End the timer *key*, even if its tick is queued; return whether there was one."""
        timer = self._set.pop(key, None)
        if timer is None:
            return False
        if timer.handle is not None:
            timer.handle.cancel()
        return True

    def take(self, tick: Envelope) -> Envelope | None:
        """Return the message to handle for a tick that was taken; None if its timer has ended."""
        timer: _ActorTimer = tick.args[0]
        if self._set.get(timer.key) is not timer:
            return None
        timer.queued = False
        if timer.idle is not None:
            if not timer.idle.told:
                return None  # a message came first
        elif not timer.repeats:
            del self._set[timer.key]
        # A copy for each tick: what the handler changes must not reach the next.
        return OwnMessage(timer.handler, *snapshot_args(timer.args, timer.kwargs))

    def close(self) -> None:
        """End every timer, and set no more."""
        self._closed = True
        for key in list(self._set):
            self.cancel(key)

    def _make_timer(
        self, method: object, args: tuple[Any, ...], kwargs: dict[str, Any], period: float | None
    ) -> _ActorTimer:
        handler = own_handler(self._cls, method)
        handler.check(args, kwargs)
        if self._closed:
            raise RuntimeError(f"{self._name} has ended: it sets no more timers")
        try:
            kept = tuple([_kept(value, f"args[{index}]") for index, value in enumerate(args)])
            return _ActorTimer(
                handler, kept, {name: _kept(value, name) for name, value in kwargs.items()}, period
            )
        except Unsendable as error:
            raise not_sendable(error) from error

    def _start(self, timer: _ActorTimer, key: Hashable, seconds: float) -> Hashable:
        self._set_key(timer, key)
        timer.began = self._loop.now()
        timer.handle = self._loop.call_later(seconds, self._due, timer)
        return timer.key

    def _set_key(self, timer: _ActorTimer, key: Hashable) -> None:
        timer.key = self._new_key(timer) if key is None else key
        self.cancel(timer.key)
        self._set[timer.key] = timer

    def _new_key(self, timer: _ActorTimer) -> str:
        self._named += 1
        return f"{timer.handler.name} #{self._named}"

    def _due(self, timer: _ActorTimer) -> None:
        # On trio a call may still be made in the pass of the loop in which it was cancelled.
        if self._set.get(timer.key) is not timer:
            return
        if timer.period is not None:
            seconds = timer.next_in(self._loop.now())
            timer.handle = self._loop.call_later(seconds, self._due, timer)
        self._queue_tick(timer)

    def _run(self, timer: _ActorTimer, first: datetime, count: int) -> None:
        """Queue one run for the times that are due, and report those that have none of their own."""
        missed = count if timer.queued else count - 1
        self._queue_tick(timer)
        if missed:
            self._runs_missed(timer.handler.name, missed, first)

    def _queue_tick(self, timer: _ActorTimer) -> None:
        if not timer.queued:
            timer.queued = True
            name, method = timer.handler.name, timer.handler.method
            self._deliver(Envelope(Handler(name, method, MessageKind.TICK), (timer,), {}))


def _is_number(seconds: object) -> bool:
    return isinstance(seconds, int | float) and not isinstance(seconds, bool)


def _kept(value: Any, where: str) -> Any:
    """Return a copy of *value*; what is marked ``local(...)`` is kept by reference."""
    return value if type(value) is Local else snapshot_for_many(value, where)
