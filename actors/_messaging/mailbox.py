"""The mailbox: a bounded line of envelopes, and the line of senders behind it.

Rule 1: no event, lock or task per message: one deque, one waker.
Rule 2: a sender that waits for room waits in line; its message enters the queue before it wakes.
Rule 3: control never stands in this line: kill, watch, cancel and restart are calls on the cell.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, cast

from actors._base.errors import SendError, not_sendable
from actors.transport import Unsendable, hold_args

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Waiter
    from actors._messaging.message_table import Handler

__all__ = ["DeliveryHooks", "Envelope", "Mailbox", "Tell", "WaitQueue", "WaitingSender"]


class DeliveryHooks(Protocol):
    """What a message came with: told when it leaves the mailbox, in one of two ways."""

    def on_taken(self) -> None:
        """The actor begins to handle it; called in the actor's own task."""

    def on_dropped(self) -> None:
        """It was withdrawn or turned away; called by whoever did so."""

    def for_resume(self) -> DeliveryHooks | None:
        """Return what goes with the further turns of the same message."""


Tell: TypeAlias = "tuple[Handler, tuple[Any, ...], dict[str, Any], DeliveryHooks | None]"
"""A message with no reply and no deadline: the commonest, so it costs only a tuple."""


class Envelope:
    """A message, its reply if one is awaited, and its deadline (seconds on the node's clock)."""

    __slots__ = ("args", "deadline", "handler", "hooks", "kwargs", "reply", "request")

    def __init__(
        self,
        handler: Handler,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        reply: Waiter | None = None,
        deadline: float | None = None,
        hooks: DeliveryHooks | None = None,
    ) -> None:
        self.handler = handler
        self.args = args
        self.kwargs = kwargs
        self.reply = reply
        self.deadline = deadline
        self.hooks = hooks
        # The number a link gave it when it was sent to another node.
        self.request = 0

    @classmethod
    def of(cls, item: Envelope | Tell) -> Envelope:
        """Return what a mailbox holds as an envelope."""
        if isinstance(item, Envelope):
            return item
        handler, args, kwargs, hooks = item
        return cls(handler, args, kwargs, hooks=hooks)

    @property
    def message(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """What an error gives back: (method name, args, kwargs)."""
        return (self.handler.name, self.args, self.kwargs)

    def fail(self, error: BaseException) -> bool:
        """Give *error* to whoever awaits the reply; return whether anybody did."""
        reply = self.reply
        if reply is None:
            return False
        if not reply.done():
            reply.set_exception(error)
        return True


class WaitingSender:
    """A sender's place in the line; `admit` or `refuse` ends it."""

    __slots__ = ("_queue", "admitted", "envelope", "waiter")

    def __init__(self, line: deque[WaitingSender], envelope: Envelope, waiter: Waiter) -> None:
        self._queue = line
        self.envelope = envelope
        self.waiter = waiter
        self.admitted = False
        line.append(self)

    def admit(self) -> None:
        """Let the sender go: its message is on its way."""
        self.admitted = True
        self._queue.remove(self)
        self.waiter.set_result(None)

    def refuse(self, error: BaseException) -> None:
        """Turn the sender away."""
        self._queue.remove(self)
        self.waiter.set_exception(error)


_NOBODY: Final = cast("deque[WaitingSender]", ())
"""The line in which nobody has stood yet: most never need one, and an empty deque takes 760 bytes."""
_NOTHING: Final = cast("deque[Envelope | Tell]", ())
"""The queue in which nothing has been yet. Who adds to a queue without asking for it fails loudly."""


class WaitQueue:
    """Senders waiting for room, first come first served."""

    __slots__ = ("_make_waiter", "waiting")

    def __init__(self, make_waiter: Callable[[], Waiter]) -> None:
        self._make_waiter = make_waiter
        self.waiting = _NOBODY

    async def wait_for_room(self, envelope: Envelope, *, leaves: bool) -> None:
        """Take a snapshot of *envelope* and wait until it is let in.

        Whoever is turned away, or gives up, has everything back that the message was to move.

        Args:
            envelope: the message.
            leaves: whether it leaves this node.

        Raises:
            NotSendable: naming what does not travel.
        """
        given = envelope.args, envelope.kwargs
        try:
            envelope.args, envelope.kwargs, held = hold_args(*given, leaves=leaves)
        except Unsendable as error:
            raise not_sendable(error) from error
        if self.waiting is _NOBODY:
            self.waiting = deque()
        place = WaitingSender(self.waiting, envelope, self._make_waiter())
        try:
            await place.waiter
        except BaseException as error:
            if not place.admitted:
                if place in self.waiting:
                    self.waiting.remove(place)
                held.undo()
                envelope.args, envelope.kwargs = given
                if isinstance(error, SendError):
                    error.message = envelope.message
            raise
        finally:
            if place.admitted:
                held.finish()

    def is_waiting(self, envelope: Envelope) -> bool:
        """Whether the sender of *envelope* is still waiting."""
        return any(place.envelope is envelope for place in self.waiting)

    def refuse(self, envelope: Envelope, error: BaseException) -> None:
        """Turn the sender of *envelope* away, if it is still waiting."""
        for place in self.waiting:
            if place.envelope is envelope and not place.waiter.done():
                place.refuse(error)
                return

    def first(self) -> WaitingSender | None:
        """Return the place of the first sender who still waits."""
        while self.waiting:
            place = self.waiting[0]
            if not place.waiter.done():
                return place
            self.waiting.popleft()
        return None

    def admit_first(self) -> Envelope | None:
        """Let the first sender go; return its envelope."""
        place = self.first()
        if place is None:
            return None
        place.admit()
        return place.envelope

    def refuse_all(self, error: Callable[[Envelope], BaseException]) -> None:
        """Turn everybody away."""
        while (place := self.first()) is not None:
            place.refuse(error(place.envelope))


class Mailbox:
    """What an actor has still to handle; at most *limit* messages, control aside."""

    __slots__ = ("limit", "queue", "wait_queue", "waker")

    def __init__(self, limit: int, make_waiter: Callable[[], Waiter]) -> None:
        self.limit = limit
        self.queue = _NOTHING
        self.wait_queue = WaitQueue(make_waiter)
        self.waker: Waiter | None = None

    def __len__(self) -> int:
        return len(self.queue)

    @property
    def full(self) -> bool:
        """Whether the next sender has to wait."""
        return len(self.queue) >= self.limit or bool(self.wait_queue.waiting)

    def put(self, envelope: Envelope | Tell) -> None:
        """Add *envelope* whatever the bound says, and wake the actor."""
        (self.queue or self.open()).append(envelope)
        if self.waker is not None:
            self.wake()

    def open(self) -> deque[Envelope | Tell]:
        """Return the queue to add to."""
        if self.queue is _NOTHING:
            self.queue = deque()
        return self.queue

    def wake(self) -> None:
        """Have the actor look: there is something for it."""
        waker, self.waker = self.waker, None
        if waker is not None and not waker.done():
            waker.set_result(None)

    def take(self) -> Envelope | Tell:
        """Remove the first message, and let the next sender's in."""
        envelope = self.queue.popleft()
        if self.wait_queue.waiting:
            self._refill()
        return envelope

    def remove(self, envelope: Envelope) -> bool:
        """Remove a message that is not wanted any more; return whether it was still here."""
        if envelope not in self.queue:
            return False
        self.queue.remove(envelope)
        self._refill()
        return True

    def _refill(self) -> None:
        while len(self.queue) < self.limit:
            envelope = self.wait_queue.admit_first()
            if envelope is None:
                return
            self.put(envelope)

    def clear(self) -> list[Envelope]:
        """Empty the mailbox; return what was in it."""
        left = [Envelope.of(item) for item in self.queue]
        self.queue = _NOTHING
        return left
