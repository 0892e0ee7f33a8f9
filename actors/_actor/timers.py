"""The timers of one incarnation, `context.timers`: messages an actor sends itself later.

Rule 1: a tick stands in the mailbox like any message, past its bound; at most one of each timer.
Rule 2: whether a tick is still wanted is decided when its turn comes: one of a timer that was
cancelled, replaced or ended with its incarnation is never delivered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._base.errors import not_sendable
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import Handler, MessageKind, handlers_of, refusal
from actors.transport import Local, Unsendable, snapshot_args, snapshot_for_many

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

    from actors._base.loop import Loop, Timer

__all__ = ["Timers"]


class _ActorTimer:
    """One timer: its message, and when it is due."""

    __slots__ = ("alarm", "args", "began", "handler", "key", "kwargs", "period", "ticks", "waits")

    def __init__(
        self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any], period: float | None
    ) -> None:
        self.handler = handler
        self.args = args
        self.kwargs = kwargs
        self.period = period
        self.key: Hashable = None
        self.began = 0.0
        # How many periods have passed; counted, so that no error of rounding adds up.
        self.ticks = 0
        # Whether a tick stands in the mailbox.
        self.waits = False
        self.alarm: Timer | None = None

    def next_in(self, now: float) -> float:
        """Move to the first moment of the row that is still to come; return the seconds until then."""
        assert self.period is not None
        self.ticks = max(self.ticks, int((now - self.began) / self.period)) + 1
        return max(self.began + self.ticks * self.period - now, 0.0)


class Timers:
    """Messages to the actor itself, once or again and again; they end with the incarnation.

    A timer sends a method of the actor's own class, in the order of its mailbox::

        self.context.timers.every(30, Session.ping)
        self.context.timers.once(300, Session.expire, key="expiry")  # replaces the one before
        self.context.timers.cancel("expiry")

    Nobody awaits its result: what the handler raises is the actor's, as with `Ref.tell`.
    """

    def __init__(
        self, loop: Loop, name: str, cls: type, deliver: Callable[[Envelope], None]
    ) -> None:
        self._loop = loop
        self._name = name
        self._cls = cls
        self._deliver = deliver
        self._set: dict[Hashable, _ActorTimer] = {}
        self._named = 0
        self._closed = False

    def once(
        self,
        seconds: float,
        method: Callable[..., Coroutine[Any, Any, object]],
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
            key: what `cancel` calls it; a timer that has this key already is replaced.
            **kwargs: its arguments, as they are now.

        Returns:
            The key; one is made up if none is given.

        Raises:
            ValueError: *seconds* is negative or no number.
            NotAMessage: *method* is not a message of the actor's class.
            NotSendable: an argument cannot travel; no timer was set or replaced.
            RuntimeError: the actor has ended.
        """
        if not _is_number(seconds) or not seconds >= 0:
            raise ValueError(f"once(seconds) must be 0 or more, got {seconds!r}")
        timing = self._timing(method, args, kwargs, None)
        return self._start(timing, key, seconds)

    def every(
        self,
        seconds: float,
        method: Callable[..., Coroutine[Any, Any, object]],
        /,
        *args: Any,
        key: Hashable = None,
        **kwargs: Any,
    ) -> Hashable:
        """Send ``method(*args, **kwargs)`` to the actor itself every *seconds*, first in *seconds*.

        At most one tick waits in the mailbox: an actor that is slower than its timer misses some.
        The rest is as with `once`.

        Raises:
            ValueError: *seconds* is not more than 0.
            NotAMessage, NotSendable, RuntimeError: as `once`.
        """
        if not _is_number(seconds) or not seconds > 0:
            raise ValueError(f"every(seconds) must be more than 0, got {seconds!r}")
        timing = self._timing(method, args, kwargs, seconds)
        return self._start(timing, key, seconds)

    def cancel(self, key: Hashable) -> bool:
        """End the timer called *key*, also if its tick is queued; return whether there was one."""
        timing = self._set.pop(key, None)
        if timing is None:
            return False
        if timing.alarm is not None:
            timing.alarm.cancel()
        return True

    def take(self, tick: Envelope) -> Envelope | None:
        """Return the message of a tick whose turn has come; None if nobody wants it any more."""
        timing: _ActorTimer = tick.args[0]
        if self._set.get(timing.key) is not timing:
            return None
        timing.waits = False
        if timing.period is None:
            del self._set[timing.key]
        # A copy for each tick: what the handler does to one never reaches the next.
        return Envelope(timing.handler, *snapshot_args(timing.args, timing.kwargs))

    def close(self) -> None:
        """End every timer, and set no more."""
        self._closed = True
        for key in list(self._set):
            self.cancel(key)

    def _timing(
        self, method: object, args: tuple[Any, ...], kwargs: dict[str, Any], period: float | None
    ) -> _ActorTimer:
        try:
            handler = handlers_of(self._cls).get(method)
        except TypeError:
            handler = None
        if handler is None or handler.kind is MessageKind.STREAM:
            raise refusal(self._cls, method)
        if self._closed:
            raise RuntimeError(f"{self._name} has ended: it sets no more timers")
        try:
            kept = tuple([_kept(value, f"args[{index}]") for index, value in enumerate(args)])
            return _ActorTimer(
                handler, kept, {name: _kept(value, name) for name, value in kwargs.items()}, period
            )
        except Unsendable as error:
            raise not_sendable(error) from error

    def _start(self, timing: _ActorTimer, key: Hashable, seconds: float) -> Hashable:
        timing.key = self._new_key(timing) if key is None else key
        self.cancel(timing.key)
        self._set[timing.key] = timing
        timing.began = self._loop.now()
        timing.alarm = self._loop.call_later(seconds, self._due, timing)
        return timing.key

    def _new_key(self, timing: _ActorTimer) -> str:
        self._named += 1
        return f"{timing.handler.name} #{self._named}"

    def _due(self, timing: _ActorTimer) -> None:
        # On trio an alarm may still go off in the turn in which it was cancelled.
        if self._set.get(timing.key) is not timing:
            return
        if timing.period is not None:
            seconds = timing.next_in(self._loop.now())
            timing.alarm = self._loop.call_later(seconds, self._due, timing)
        if not timing.waits:
            timing.waits = True
            name, fn = timing.handler.name, timing.handler.fn
            self._deliver(Envelope(Handler(name, fn, MessageKind.TICK), (timing,), {}))


def _is_number(seconds: object) -> bool:
    return isinstance(seconds, int | float) and not isinstance(seconds, bool)


def _kept(value: Any, where: str) -> Any:
    """Return *value* as it is now; what is marked ``local(...)`` keeps its mark until its tick."""
    return value if type(value) is Local else snapshot_for_many(value, where)
