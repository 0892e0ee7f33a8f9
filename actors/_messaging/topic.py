"""Topics: whoever publishes reaches every subscriber on every node, and never waits for one.

Rule 1: a publisher's order is kept for every subscriber.
Rule 2: a subscriber that is full loses what comes next, and is told how much, in its place.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from actors._base.errors import InvalidSpec, MessageTooBig, not_sendable
from actors._messaging.turn import refuse_fenced
from actors.transport import TooBig, Unsendable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from actors._base.loop import Loop, Waiter

__all__ = ["Lagged", "Subscription", "Topic", "TopicCarrier"]


@dataclass(frozen=True, slots=True)
class Lagged:
    """What a slow subscriber gets in place of what it lost.

    Attributes:
        missed: how many values were published meanwhile.
    """

    missed: int


class Subscription:
    """One subscriber's values, in order; iterate over it."""

    def __init__(self, make_waiter: Callable[[], Waiter], buffer: int) -> None:
        self._make_waiter = make_waiter
        self._buffer = buffer
        self._values: deque[Any] = deque()
        self._missed = 0
        self._waiter: Waiter | None = None

    def put(self, value: Any) -> None:
        """Take one value if there is room."""
        if len(self._values) >= self._buffer:
            self.miss(1)
            return
        if self._missed:
            self._values.append(Lagged(self._missed))
            self._missed = 0
        self._values.append(value)
        self._wake()

    def miss(self, count: int) -> None:
        """Take note of values that were lost."""
        self._missed += count
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while not self._values:
            if self._missed:
                missed, self._missed = self._missed, 0
                return Lagged(missed)
            self._waiter = self._make_waiter()
            await self._waiter
        return self._values.popleft()


class TopicCarrier(Protocol):
    """What carries topics between nodes."""

    loop: Loop

    def publish(self, name: str, value: Any) -> None: ...
    async def join(self, name: str, subscription: Subscription) -> None: ...
    def leave(self, name: str, subscription: Subscription) -> None: ...


class Topic:
    """A name under which values are published; see `System.topic`.

    Attributes:
        name: the same on every node.
    """

    __slots__ = ("_host", "name")

    def __init__(self, host: TopicCarrier, name: str) -> None:
        given: object = name
        if not isinstance(given, str) or not given:
            raise InvalidSpec(f"a topic has a non-empty text for a name, got {name!r}")
        self._host = host
        self.name = name

    def __repr__(self) -> str:
        return f"<Topic {self.name}>"

    def publish(self, value: Any) -> None:
        """Send *value*, as it is now, to every subscriber; nobody is waited for.

        Raises:
            NotSendable: it cannot travel; nobody got it.
            MessageTooBig: it is over the frame limit.
        """
        refuse_fenced()
        try:
            self._host.publish(self.name, value)
        except Unsendable as error:
            raise not_sendable(error) from error
        except TooBig as error:
            raise MessageTooBig(self, str(error)) from error

    @asynccontextmanager
    async def subscribe(self, *, buffer: int = 256) -> AsyncIterator[AsyncIterator[Any]]:
        """Give the values published from now on: ``async with topic.subscribe() as values``.

        Inside the block every node knows of the subscription. Where a subscriber was too slow, a
        `Lagged` stands in place of what it lost.

        Args:
            buffer: how many values may wait for this subscriber.

        Raises:
            ValueError: *buffer* is no whole number of 1 or more.
        """
        if type(buffer) is not int or buffer < 1:
            raise ValueError(f"buffer must be a whole number of 1 or more, got {buffer!r}")
        refuse_fenced()
        subscription = Subscription(self._host.loop.waiter, buffer)
        try:
            await self._host.join(self.name, subscription)
            yield subscription
        finally:
            self._host.leave(self.name, subscription)
