"""Topics: a published value goes to every subscriber on every node; the publisher waits for none.

Rule 1: each subscriber gets the values of a publisher in their order.
Rule 2: a subscriber whose buffer is full loses values, and gets a `Lagged` with their number instead.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from actors._base.errors import InvalidSpec, MessageTooBig, not_sendable
from actors._base.readers import Readers
from actors._messaging.turn import in_own_thread, refuse_fenced
from actors.transport import TooBig, Unsendable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from actors._base.loop import Loop, Waiter

__all__ = ["Lagged", "Subscriber", "Subscription", "Topic", "TopicCarrier"]


@dataclass(frozen=True, slots=True)
class Lagged:
    """What a slow subscriber gets in place of the values it lost.

    Attributes:
        missed: how many values it lost.
    """

    missed: int


class Subscription:
    """One subscriber's values, in order; iterate over it."""

    __slots__ = ("_buffer", "_missed", "_readers", "_values")

    def __init__(self, make_waiter: Callable[[], Waiter], buffer: int) -> None:
        self._readers = Readers(make_waiter)
        self._buffer = buffer
        self._values: deque[Any] = deque()
        self._missed = 0

    def put(self, value: Any) -> None:
        """Add *value* if there is room, or count it as lost."""
        if len(self._values) >= self._buffer:
            self.miss(1)
            return
        if self._missed:
            self._values.append(Lagged(self._missed))
            self._missed = 0
        self._values.append(value)
        self._readers.wake()

    def put_first(self, value: Any) -> None:
        """Add *value* before all others."""
        self._values.appendleft(value)
        self._readers.wake()

    def miss(self, count: int) -> None:
        """Count *count* values as lost."""
        self._missed += count
        self._readers.wake()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while not self._values:
            if self._missed:
                missed, self._missed = self._missed, 0
                return Lagged(missed)
            await self._readers.wait()
        return self._values.popleft()


class Subscriber(Protocol):
    """Who gets the values of a topic."""

    def put(self, value: Any) -> None:
        """Take the next value, or count it as lost."""

    def miss(self, count: int) -> None:
        """Count *count* values as lost."""


class TopicCarrier(Protocol):
    """The node, as a topic sees it: sends values to the subscribers of all nodes."""

    loop: Loop

    def publish(self, name: str, value: Any) -> None: ...
    def keep(self, name: str, value: Any) -> None: ...
    async def last(self, name: str) -> tuple[Any, ...]: ...
    async def join(self, name: str, subscription: Subscriber) -> None: ...
    def leave(self, name: str, subscription: Subscriber) -> None: ...


class Topic:
    """A name under which values are published; see `System.topic`.

    Attributes:
        name: the same on every node.
        keep_last: whether what is published by this object is kept for those who subscribe later.
    """

    __slots__ = ("_host", "keep_last", "name")

    def __init__(self, host: TopicCarrier, name: str, *, keep_last: bool = False) -> None:
        value: object = name
        if not isinstance(value, str) or not value:
            raise InvalidSpec(f"a topic has a non-empty text for a name, got {name!r}")
        self._host = host
        self.name: str = name
        self.keep_last: bool = keep_last

    def __repr__(self) -> str:
        return f"<Topic {self.name}>"

    def publish(self, value: Any) -> None:
        """Send a snapshot of *value* to every subscriber, without waiting for any.

        Raises:
            NotSendable: it cannot be sent; no subscriber got it.
            MessageTooBig: it is over `System(largest=)`, or it is to be kept and has more than 256 KiB.
        """
        refuse_fenced()
        actor = in_own_thread()
        try:
            if actor is None:
                self._publish(value)
            else:
                actor.in_loop(self._publish, value)
        except Unsendable as error:
            raise not_sendable(error) from error
        except TooBig as error:
            raise MessageTooBig(self, str(error)) from error

    def _publish(self, value: Any) -> None:
        if self.keep_last:
            self._host.keep(self.name, value)
        self._host.publish(self.name, value)

    async def last(self) -> tuple[Any, ...]:
        """Return the last value that was kept, or nothing. See `Context.subscribe`."""
        return await self._host.last(self.name)

    async def join(self, subscriber: Subscriber) -> None:
        """Add a subscriber; when this returns, every node knows of it. See `Context.subscribe`."""
        await self._host.join(self.name, subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """Remove a subscriber."""
        self._host.leave(self.name, subscriber)

    def subscribe(
        self, *, buffer: int = 256, last: bool = False
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """Give the values published from now on: ``async with topic.subscribe() as values``.

        Inside the block every node knows of the subscription. Where a subscriber was too slow, a
        `Lagged` stands in place of what it lost.

        Args:
            buffer: how many values may wait for this subscriber.
            last: whether the last value comes first that was published with `keep_last`, if there was one. One
                that is published in the same moment may come twice.

        Raises:
            ValueError: *buffer* is not an integer of 1 or more.
        """
        if type(buffer) is not int or buffer < 1:
            raise ValueError(f"buffer must be a whole number of 1 or more, got {buffer!r}")
        return _Subscribed(self, Subscription(self._host.loop.waiter, buffer), last=last)


class _Subscribed:
    """The block of one subscriber. No generator, which is three objects more, for the collector too."""

    __slots__ = ("_last", "_subscription", "_topic")

    def __init__(self, topic: Topic, subscription: Subscription, *, last: bool) -> None:
        self._topic = topic
        self._subscription = subscription
        self._last = last

    async def __aenter__(self) -> AsyncIterator[Any]:
        refuse_fenced()
        topic, subscription = self._topic, self._subscription
        try:
            await topic.join(subscription)
            for value in await topic.last() if self._last else ():
                subscription.put_first(value)
        except BaseException:
            topic.leave(subscription)
            raise
        return subscription

    async def __aexit__(self, *_error: object) -> None:
        self._topic.leave(self._subscription)
