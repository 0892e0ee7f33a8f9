"""Topics that an actor subscribes to, `context.subscribe`: a message for each value, in its mailbox.

Rule 1: a publisher never waits: a value without room in the mailbox is lost, and counted.
Rule 2: the actor is told of what it lost by one `Lagged`, in its place among the values.
Rule 3: subscriptions end with the incarnation, and what of them is still queued is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._messaging.byte_bound import counted_bytes
from actors._messaging.mailbox import Envelope, OwnMessage
from actors._messaging.message_table import Handler, MessageKind, own_handler
from actors._messaging.topic import Lagged
from actors._messaging.turn import refuse_fenced

if TYPE_CHECKING:
    from actors._messaging.mailbox import Mailbox
    from actors._messaging.topic import Topic

__all__ = ["Subscriptions"]


class _Item:
    """One value, or the notice of those that were lost, on its way through the mailbox."""

    __slots__ = ("lagged", "subscription", "value")

    def __init__(self, subscription: _ActorSubscription, value: Any, *, lagged: int = 0) -> None:
        self.subscription = subscription
        self.value = value
        self.lagged = lagged

    def take(self) -> OwnMessage | None:
        """Return the message to handle; None if the subscription has ended."""
        return self.subscription.taken(self)


class _ActorSubscription:
    """One topic for one incarnation; a `Subscriber`.

    Attributes:
        topic: its topic.
    """

    def __init__(self, topic: Topic, cell: Any, handler: Handler, buffer: int) -> None:
        self.topic = topic
        self._deliver = cell.deliver
        self._mailbox: Mailbox = cell.mailbox
        self._handler = handler
        # Not a kind of its own: what is queued says when it is taken what is to be handled.
        self._queued_as = Handler(handler.name, handler.method, MessageKind.OWN)
        self._buffer = buffer
        self._queued = 0
        self._lost: _Item | None = None
        self._ended = False
        self._held: list[Any] | None = None
        """The values that came before the last value, which is to come first."""
        self._held_lost = 0

    def hold(self) -> None:
        """Keep what is published until `release`."""
        self._held = []

    def release(self, last: tuple[Any, ...]) -> None:
        """Queue the last value, if there is one, and then what came meanwhile."""
        held, self._held = self._held or [], None
        for value in (*last, *held):
            self.put(value)
        if self._held_lost:
            self.miss(self._held_lost)

    def put(self, value: Any) -> None:
        """Queue a message with *value* if there is room, or count it as lost."""
        if self._held is not None:
            if len(self._held) < self._buffer:
                self._held.append(value)
            else:
                self._held_lost += 1
            return
        mailbox, size = self._mailbox, counted_bytes((value,), {})
        full = mailbox.full or self._queued >= self._buffer
        if full or (size and not mailbox.has_room(size)):
            self.miss(1)
            return
        self._lost = None  # what is lost from now on comes behind this value
        self._queued += 1
        envelope = Envelope(self._queued_as, (_Item(self, value),), {})
        if size:
            mailbox.count(envelope, size)
        self._deliver(envelope)

    def miss(self, count: int) -> None:
        """Count values as lost; the notice of them passes the bound, as there is one for many."""
        if self._held is not None:
            self._held_lost += count
            return
        if self._lost is None:
            self._lost = _Item(self, None)
            self._deliver(Envelope(self._queued_as, (self._lost,), {}))
        self._lost.lagged += count

    def taken(self, item: _Item) -> OwnMessage | None:
        """Return the message that a queued item stands for; None if the subscription has ended."""
        if item is self._lost:
            self._lost = None
        if not item.lagged:
            self._queued -= 1
        if self._ended:
            return None
        value = Lagged(item.lagged) if item.lagged else item.value
        return OwnMessage(self._handler, (value,), {})

    def end(self) -> None:
        """Leave the topic; what is queued is dropped when it is taken."""
        self._ended = True
        self.topic.leave(self)


class Subscriptions:
    """The topics that one incarnation has subscribed to, by name."""

    def __init__(self, name: str, cell: Any) -> None:
        self._name = name
        self._cell = cell
        self._open: dict[str, _ActorSubscription] = {}
        self._closed = False

    async def add(self, topic: Topic, method: object, buffer: int, *, last: bool) -> None:
        """As `Context.subscribe`."""
        refuse_fenced()
        if type(buffer) is not int or buffer < 1:
            raise ValueError(f"buffer must be a whole number of 1 or more, got {buffer!r}")
        handler = own_handler(self._cell.cls, method)
        handler.check((None,), {})
        if self._closed:
            raise RuntimeError(f"{self._name} has ended: it subscribes to nothing more")
        self.remove(topic.name)
        subscription = _ActorSubscription(topic, self._cell, handler, buffer)
        self._open[topic.name] = subscription
        if last:
            subscription.hold()
        try:
            await topic.join(subscription)
            if last:
                subscription.release(await topic.last())
        except BaseException:
            if self._open.get(topic.name) is subscription:
                self.remove(topic.name)
            raise

    def remove(self, name: str) -> bool:
        """Leave the topic of that name; return whether there was a subscription to it."""
        subscription = self._open.pop(name, None)
        if subscription is not None:
            subscription.end()
        return subscription is not None

    def close(self) -> None:
        """Leave every topic, and subscribe to no more."""
        self._closed = True
        for name in list(self._open):
            self.remove(name)
