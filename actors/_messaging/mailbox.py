"""The mailbox: a bounded queue of envelopes, and the queue of senders that wait for room in it.

Rule 1: no event, lock or task per message: one deque, and one waiter while the actor is idle.
Rule 2: senders get room in the order they came, each for several messages if the actor is quick
(`sender_turns`); a message is queued before its sender wakes.
Rule 3: kill, watch, cancel and restart are calls on the cell and never wait in a mailbox.
"""

from __future__ import annotations

from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from actors._base.errors import SendError, failed_codec, not_sendable
from actors._base.twins import COMPILED, bind
from actors._messaging.byte_bound import counted_bytes
from actors._messaging.delivery_hooks import BigMessage
from actors._messaging.mailbox_options import Bounded, Priority
from actors._messaging.priority_queue import PriorityMessages, PriorityQueue, priority_of
from actors._messaging.sender_turns import SenderTurns, longest_turn
from actors.transport import LEAVES, Unsendable, hold_args, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop, Waiter, Waker
    from actors._messaging.delivery_hooks import DeliveryHooks
    from actors._messaging.message_table import Handler

__all__ = [
    "NO_MESSAGES",
    "Envelope",
    "Mailbox",
    "OwnMessage",
    "PriorityEnvelope",
    "Tell",
    "WaitQueue",
    "WaitingSender",
    "answer",
    "envelope_of",
]


Tell: TypeAlias = "tuple[Handler, tuple[Any, ...], dict[str, Any], DeliveryHooks | None]"
"""A message without reply and deadline: the most frequent kind, so it is only a tuple."""


class _Fields:
    __slots__ = ("args", "deadline", "handler", "hooks", "kwargs", "reply", "request")


class _EnvelopeInPython(_Fields):
    __slots__ = ()

    def __init__(
        self,
        handler: Handler,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        reply: Waiter | None = None,
        deadline: float | None = None,
        hooks: DeliveryHooks | None = None,
    ) -> None:
        self.handler: Handler = handler
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = kwargs
        self.reply: Waiter | None = reply
        self.deadline: float | None = deadline
        self.hooks: DeliveryHooks | None = hooks
        # Its number on the link, once it was sent to another node.
        self.request: int = 0


_EnvelopeTwin = _EnvelopeInPython
if not TYPE_CHECKING and COMPILED:

    class _EnvelopeTwin(COMPILED.EnvelopeMethods, _Fields):
        __slots__ = ()


class Envelope(_EnvelopeTwin):
    """A message, its reply if one is awaited, and its deadline (seconds on the node's clock)."""

    __slots__ = ()

    priority = 0

    @classmethod
    def of(cls, item: Envelope | Tell) -> Envelope:
        """Return an item of a mailbox as an envelope."""
        if isinstance(item, Envelope):
            return item
        handler, args, kwargs, hooks = item
        return cls(handler, args, kwargs, hooks=hooks)

    @property
    def message(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """The message as errors have it: (method name, args, kwargs)."""
        return (self.handler.name, self.args, dict(self.kwargs))

    @property
    def asked(self) -> bool:
        """Whether whoever sent it gets its error."""
        return self.reply is not None

    def fail(self, error: BaseException) -> bool:
        """Raise *error* at the asker; return whether there is one."""
        reply = self.reply
        if reply is None:
            return False
        if not reply.done():
            reply.set_exception(error)
        return True


class PriorityEnvelope(Envelope):
    """A message with a priority, for a mailbox that is `Priority`."""

    __slots__ = ("priority",)

    def __init__(self, priority: int, *message: Any, **more: Any) -> None:
        super().__init__(*message, **more)
        self.priority: int = priority


class OwnMessage(Envelope):
    """A message that an incarnation sends itself: a later one never sees it, even if it was deferred."""

    __slots__ = ()


def envelope_of(
    priority: int,
    handler: Handler,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    reply: Waiter | None = None,
) -> Envelope:
    """Return a message with a *priority*, which is a header of it on a link; most have none, which is 0."""
    if not priority:
        return Envelope(handler, args, kwargs, reply)
    return PriorityEnvelope(priority, handler, args, kwargs, reply)


def answer(reply: Waiter, result: Any) -> None:
    """Resolve *reply* with a snapshot of *result*, or with the error that there can be none."""
    # A reply to another node is encoded at once, which copies it too.
    if type(result) not in LEAVES and not getattr(reply, "leaves", False):
        try:
            result = snapshot(result, "reply")
        except Unsendable as error:
            reply.set_exception(not_sendable(error))
            return
        except Exception as error:  # noqa: BLE001 - raised by a codec the user registered; the asker gets it
            reply.set_exception(failed_codec("reply", error))
            return
    reply.set_result(result)


class WaitingSender:
    """A sender that waits for room, until `admit` or `refuse`."""

    __slots__ = ("_line", "actor", "admitted", "envelope", "waiter")

    def __init__(self, line: WaitQueue, envelope: Envelope, waiter: Waiter, actor: object) -> None:
        self._line = line
        self.actor: object = actor
        self.envelope: Envelope = envelope
        self.waiter: Waiter = waiter
        self.admitted: bool = False
        line.waiting.append(self)
        if actor is not None and line.turns is not None:
            line.turns.waits(actor)

    def admit(self) -> None:
        """Wake the sender: its message was sent."""
        self.admitted = True
        self.leave()
        turns, waiter = self._line.turns, self.waiter
        if turns is not None and not isinstance(waiter, _Placed):
            turns.promise(self)
        self.waiter.set_result(None)

    def refuse(self, error: BaseException) -> None:
        """Wake the sender with *error*: its message was not sent."""
        self.leave()
        self.waiter.set_exception(error)

    def leave(self) -> None:
        """Wait no more, if it still does."""
        line = self._line
        if self not in line.waiting:
            return
        line.waiting.remove(self)
        if self.actor is not None and line.turns is not None:
            line.turns.waits_no_more(self.actor)


class _Placed:
    """A waiter of a sender that does not wait: it calls what is to follow."""

    __slots__ = ("_done", "_refused", "held")

    def __init__(self, refused: Callable[[BaseException], None]) -> None:
        self._refused = refused
        self._done = False
        self.held: Any = None

    def done(self) -> bool:
        """Whether the message was sent or refused."""
        return self._done

    def set_result(self, _value: Any, /) -> None:
        """The message was sent."""
        self._done = True
        self.held.finish()

    def set_exception(self, error: BaseException, /) -> None:
        """The message was refused."""
        self._done = True
        self.held.undo()
        self._refused(error)


_NOBODY: Final = cast("deque[WaitingSender]", ())
"""Stands for an empty deque, which takes 760 bytes, until somebody waits: most queues are never used."""
NO_MESSAGES: Final = cast("deque[Envelope | Tell]", ())
"""Stands for an empty deque until the first message; `Mailbox.open` makes the real one."""
_NONE_ASIDE: Final = cast("dict[Envelope, None]", MappingProxyType({}))


def _priority_of_sender(sender: WaitingSender) -> int:
    return priority_of(sender.envelope)


class WaitQueue:
    """Senders waiting for room, first come first served; of a mailbox by *priority* in its order."""

    __slots__ = ("_make_waiter", "_priority", "leaves_machine", "turns", "waiting")

    def __init__(self, make_waiter: Callable[[], Waiter], *, priority: bool = False) -> None:
        self._make_waiter = make_waiter
        self._priority = priority
        self.turns: SenderTurns | None = None
        self.leaves_machine: bool = False  # whether what waits here goes to another machine
        self.waiting: deque[WaitingSender] = _NOBODY

    def take_turns(self, loop: Loop, places: int, refill: Callable[[], object]) -> None:
        """Have senders take turns, if they do not yet; called before one waits.

        Args:
            loop: of this node.
            places: of the mailbox.
            refill: as in `SenderTurns`.
        """
        if self.turns is None and not self._priority and longest_turn(places) > 1:
            self.turns = SenderTurns(loop, longest_turn(places), refill)

    def enter(
        self,
        envelope: Envelope,
        refused: Callable[[BaseException], None],
        *,
        leaves: bool,
        actor: object = None,
    ) -> Callable[[], None]:
        """Take a snapshot of *envelope* and a place in the queue, without waiting there.

        Args:
            envelope: the message.
            refused: called with the error if it is refused.
            leaves: whether it leaves this node.
            actor: which one sends it, if one does.

        Returns:
            What leaves the queue, if the message is still in it.

        Raises:
            NotSendable: naming what cannot be sent.
        """
        sender, held, original = self._enter(envelope, _Placed(refused), actor, leaves=leaves)
        sender.waiter.held = held

        def leave() -> None:
            if sender in self.waiting:
                sender.leave()
                held.undo()
                envelope.args, envelope.kwargs = original

        return leave

    def _enter(
        self, envelope: Envelope, waiter: Any, actor: object, *, leaves: bool
    ) -> tuple[Any, Any, Any]:
        original = envelope.args, envelope.kwargs
        try:
            envelope.args, envelope.kwargs, held = hold_args(
                *original, leaves=leaves, leaves_machine=self.leaves_machine
            )
        except Unsendable as error:
            raise not_sendable(error) from error
        if self.waiting is _NOBODY:
            by_priority: Any = PriorityQueue[WaitingSender](_priority_of_sender)
            self.waiting = by_priority if self._priority else deque()
        return WaitingSender(self, envelope, waiter, actor), held, original

    async def wait_for_room(
        self, envelope: Envelope, *, leaves: bool, actor: object = None
    ) -> None:
        """Take a snapshot of *envelope* and wait until it is sent.

        A sender that is refused or cancelled gets back what the message was to move.

        Args:
            envelope: the message.
            leaves: whether it leaves this node.
            actor: which one sends it, if one does.

        Raises:
            NotSendable: naming what cannot be sent.
        """
        sender, held, original = self._enter(envelope, self._make_waiter(), actor, leaves=leaves)
        try:
            await sender.waiter
        except BaseException as error:
            if not sender.admitted:
                sender.leave()
                held.undo()
                envelope.args, envelope.kwargs = original
                if isinstance(error, SendError):
                    error.message = envelope.message
            elif self.turns is not None:
                self.turns.forgo(sender)
            raise
        else:
            if self.turns is not None:
                self.turns.begin(sender, actor)
        finally:
            if sender.admitted:
                held.finish()

    @property
    def held(self) -> int:
        """How many places are kept for turns."""
        return 0 if self.turns is None else self.turns.held

    def lets_pass(self) -> bool:
        """Whether the calling task may send now: nobody waits, or it is its turn."""
        return not self.waiting or self.goes_on()

    def goes_on(self) -> bool:
        """Whether it is the turn of the calling task, which may send one more message ahead of who waits."""
        return self.turns is not None and self.turns.goes_on()

    def is_waiting(self, envelope: Envelope) -> bool:
        """Whether the sender of *envelope* is still waiting, and not only for the turns of others."""
        if self.turns is not None and self.turns.held:
            self.turns.end()
        return any(sender.envelope is envelope for sender in self.waiting)

    def refuse(self, envelope: Envelope, error: BaseException) -> None:
        """Refuse the sender of *envelope*, if it is still waiting."""
        for sender in self.waiting:
            if sender.envelope is envelope and not sender.waiter.done():
                sender.refuse(error)
                return

    def first(self) -> WaitingSender | None:
        """Return the first sender that still waits."""
        while self.waiting:
            sender = self.waiting[0]
            if not sender.waiter.done():
                return sender
            sender.leave()
        return None

    def refuse_all(self, error: Callable[[Envelope], BaseException]) -> None:
        """Refuse every sender."""
        while (sender := self.first()) is not None:
            sender.refuse(error(sender.envelope))


class _Queue:
    __slots__ = ("queue", "waker")

    def __init__(self) -> None:
        self.queue: deque[Envelope | Tell] = NO_MESSAGES
        self.waker: Waker | None = None


class _MailboxInPython(_Queue):
    __slots__ = ()

    waker: Waker | None

    def open(self) -> deque[Envelope | Tell]:
        """Return the queue to add to."""
        raise NotImplementedError

    def put(self, envelope: Envelope | Tell) -> None:
        """Add *envelope*, even past the bound, and wake the actor."""
        queue = self.queue
        (self.open() if queue is NO_MESSAGES else queue).append(envelope)
        waker = self.waker
        if waker is not None:
            self.waker = None
            if not waker.done():
                waker.set_result(None)

    def wake(self) -> None:
        """Wake the actor, which waits for a message."""
        waker, self.waker = self.waker, None
        if waker is not None and not waker.done():
            waker.set_result(None)


_MailboxTwin = _MailboxInPython
if not TYPE_CHECKING and COMPILED:

    class _MailboxTwin(COMPILED.MailboxMethods, _Queue):
        __slots__ = ()


class Mailbox(_MailboxTwin):
    """The messages an actor has still to handle: at most *limit*, without control messages.

    Big ones have a bound in bytes as well. *bytes* is how many they have together; *bounds* has both.

    A message that was taken in its turn and cannot begin yet is set aside, and one whose handler put it off is
    deferred. Both still count: *limit*, which is what `queue` may hold, is one less for each of them.
    """

    __slots__ = (
        "_aside",
        "_deferred",
        "bounds",
        "bytes",
        "deferring",
        "limit",
        "wait_queue",
    )

    queue: deque[Envelope | Tell]

    def __init__(self, bounds: Bounded, make_waiter: Callable[[], Waiter]) -> None:
        super().__init__()
        self.bounds: Bounded = bounds
        self.limit: int = bounds.messages
        self.bytes: int = 0
        self._aside = self._deferred = _NONE_ASIDE
        self.deferring: bool = False
        """Whether a message is deferred, or its handler is about to end by that: `recall` is awaited."""
        by_priority = type(bounds) is Priority
        self.wait_queue: WaitQueue = WaitQueue(make_waiter, priority=by_priority)

    def __len__(self) -> int:
        return len(self.queue) + len(self._aside) + len(self._deferred)

    @property
    def full(self) -> bool:
        """Whether the next sender has to wait, unless it is its turn."""
        return len(self.queue) >= self.limit or bool(self.wait_queue.waiting)

    def has_room(self, size: int) -> bool:
        """Return whether a big message of *size* bytes may join the others."""
        return self.bounds.has_room(self.bytes, size)

    def count(self, envelope: Envelope, size: int) -> None:
        """Count the *size* of *envelope* in bytes until it is taken or dropped."""
        self.bytes += size
        envelope.hooks = BigMessage(self, size, envelope.hooks)

    def give_back(self, size: int) -> None:
        """As `ByteCount.give_back`; admits senders that wait for that."""
        self.bytes -= size
        if self.wait_queue.waiting:
            self._refill()

    def waiting_room(self, loop: Loop) -> WaitQueue:
        """Return the senders that wait, for one more: those of *loop* take turns from now on."""
        self.wait_queue.take_turns(loop, self.bounds.messages, self._refill)
        return self.wait_queue

    def open(self) -> deque[Envelope | Tell]:
        """Return the queue to add to."""
        if self.queue is NO_MESSAGES:
            by_priority: Any = PriorityMessages()
            self.queue = by_priority if type(self.bounds) is Priority else deque()
        return self.queue

    def take(self) -> Envelope | Tell:
        """Remove the first message, and admit the next sender."""
        envelope = self.queue.popleft()
        if self.wait_queue.waiting:
            self._refill()
        return envelope

    def remove(self, envelope: Envelope) -> bool:
        """Remove *envelope*; return whether it was still queued, set aside or deferred."""
        if envelope in self._aside:
            return self.begin(envelope)
        if envelope in self._deferred:
            del self._deferred[envelope]
            self.limit += 1
            self._refill()
            return True
        if envelope not in self.queue:
            return False
        self.queue.remove(envelope)
        self._refill()
        return True

    def set_aside(self, envelope: Envelope) -> None:
        """Keep *envelope*, which was taken, until `begin`."""
        if self._aside is _NONE_ASIDE:
            self._aside = {}
        self._aside[envelope] = None
        self.limit -= 1

    def is_aside(self, envelope: Envelope) -> bool:
        """Whether *envelope* was set aside and still waits for `begin`."""
        return envelope in self._aside

    def begin(self, envelope: Envelope) -> bool:
        """Let go of *envelope*, whose handler begins; return False if it was withdrawn meanwhile."""
        if envelope not in self._aside:
            return False
        del self._aside[envelope]
        self.limit += 1
        self._refill()
        return True

    @property
    def deferred(self) -> int:
        """How many messages are deferred."""
        return len(self._deferred)

    @property
    def may_defer(self) -> bool:
        """Whether there is still room for another message if one more is deferred."""
        return self.limit > 1

    def defer(self, envelope: Envelope) -> None:
        """Keep *envelope*, which was taken, until `recall`."""
        if self._deferred is _NONE_ASIDE:
            self._deferred = {}
        self._deferred[envelope] = None
        self.limit -= 1
        self.deferring = True

    def recall(self) -> None:
        """Return what was deferred to the front of the queue, in its order."""
        self.deferring = False
        if self._deferred:
            self._return_to_front(self._deferred)
            self.wake()

    def put_back(self) -> None:
        """Return what was set aside or deferred to the front of the queue: it begins in a later incarnation.

        What this incarnation sent itself is dropped.
        """
        self.deferring = False
        for waiting in (self._aside, self._deferred):
            for envelope in [one for one in waiting if isinstance(one, OwnMessage)]:
                del waiting[envelope]
                self.limit += 1
            if waiting:
                self._return_to_front(waiting)

    def _return_to_front(self, waiting: dict[Envelope, None]) -> None:
        self.limit += len(waiting)
        self.open().extendleft(reversed(waiting))
        waiting.clear()

    def _refill(self) -> None:
        line = self.wait_queue
        while len(self.queue) + line.held < self.limit:
            sender = line.first()
            if sender is None:
                return
            size = counted_bytes(sender.envelope.args, sender.envelope.kwargs)
            if size:
                if not self.has_room(size):
                    return
                self.count(sender.envelope, size)
            sender.admit()
            self.put(sender.envelope)

    def clear(self) -> list[Envelope]:
        """Empty the mailbox; return what was in it."""
        self.put_back()
        left = [Envelope.of(item) for item in self.queue]
        self.queue = NO_MESSAGES
        return left


bind(Envelope, WaitQueue, Mailbox)
