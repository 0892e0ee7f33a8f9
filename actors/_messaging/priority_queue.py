"""Queues with the interface of a deque, from which what has the highest priority is taken first.

Rule 1: within one priority they are deques: first in, first out.
Rule 2: nothing waits forever: every 16th that is taken is the one that has waited longest.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from actors._messaging.mailbox_options import LEAST_PRIORITY
from actors._messaging.message_table import MessageKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["OLDEST_EVERY", "PriorityMessages", "PriorityQueue", "priority_of"]

T = TypeVar("T")

OLDEST_EVERY: Final = 16
"""Of so many that are taken, one is the oldest of all."""

_SWEEP_FROM: Final = 64

_LAST: Final = LEAST_PRIORITY - 1
"""Of what has to be handled behind all that was there before it."""


class PriorityQueue(Generic[T]):
    """A queue with what is needed of a deque; *priority_of* says what priority one of its items has."""

    __slots__ = (
        "_ages",
        "_back",
        "_buckets",
        "_front",
        "_length",
        "_priorities",
        "_priority_of",
        "_taken",
    )

    def __init__(self, priority_of: Callable[[T], int]) -> None:
        self._priority_of = priority_of
        self._buckets: dict[int, deque[tuple[int, T]]] = {}
        """By priority what waits, each behind its place among all."""
        self._priorities: list[int] = []
        """Of the buckets, in ascending order."""
        self._ages: deque[tuple[int, int]] = deque()
        """The place and priority of all, the oldest first; also of some that were taken, until they are met."""
        self._front = self._back = 0
        self._length = 0
        self._taken = 0

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: int) -> T:
        """Return what is next; *place* is 0."""
        if place or not self._length:
            raise IndexError(place)
        return self._next_bucket()[1][0][1]

    def __iter__(self) -> Iterator[T]:
        """Yield all, the highest priority first."""
        for priority in reversed(self._priorities.copy()):
            yield from [item for _, item in self._buckets[priority]]

    def __contains__(self, wanted: object) -> bool:
        return any(item is wanted for item in self)

    def append(self, item: T) -> None:
        """Add *item* behind the others of its priority."""
        self._back += 1
        priority = self._priority_of(item)
        self._bucket(priority).append((self._back, item))
        self._ages.append((self._back, priority))
        self._length += 1
        if len(self._ages) > 2 * self._length + _SWEEP_FROM:
            self._sweep()

    def extendleft(self, items: Iterable[T]) -> None:
        """Put each of *items* before the others of its priority."""
        for item in items:
            self._front -= 1
            priority = self._priority_of(item)
            self._bucket(priority).appendleft((self._front, item))
            self._ages.appendleft((self._front, priority))
            self._length += 1

    def popleft(self) -> T:
        """Remove what is next, and return it."""
        if not self._length:
            raise IndexError("pop from an empty queue")
        priority, bucket = self._next_bucket()
        self._taken += 1
        return self._take(priority, bucket, 0)

    def remove(self, wanted: T) -> None:
        """Remove *wanted*; as by `popleft` if it was next."""
        priority = self._priority_of(wanted)
        bucket = self._buckets.get(priority, ())
        for at, (_, item) in enumerate(bucket):
            if item is wanted:
                if at == 0 and self._next_bucket()[0] == priority:
                    self._taken += 1
                self._take(priority, self._buckets[priority], at)
                return
        raise ValueError("it is not in the queue")

    def _bucket(self, priority: int) -> deque[tuple[int, T]]:
        bucket = self._buckets.get(priority)
        if bucket is None:
            bucket = self._buckets[priority] = deque()
            self._priorities.insert(bisect_left(self._priorities, priority), priority)
        return bucket

    def _next_bucket(self) -> tuple[int, deque[tuple[int, T]]]:
        """Return the bucket, by its priority, whose first is next."""
        buckets, priorities = self._buckets, self._priorities
        if self._taken % OLDEST_EVERY != OLDEST_EVERY - 1:
            return priorities[-1], buckets[priorities[-1]]
        while True:
            place, priority = self._ages[0]
            bucket = buckets.get(priority)
            if (
                bucket is not None and bucket[0][0] == place
            ):  # the oldest of all is the first of its priority
                return priority, bucket
            self._ages.popleft()

    def _sweep(self) -> None:
        """Forget the ages of what was taken, which are most of them."""
        buckets = self._buckets.items()
        self._ages = deque(
            sorted((place, priority) for priority, bucket in buckets for place, _ in bucket)
        )

    def _take(self, priority: int, bucket: deque[tuple[int, T]], at: int) -> T:
        _, item = bucket[at]
        del bucket[at]
        self._length -= 1
        if not bucket:
            del self._buckets[priority]
            del self._priorities[bisect_left(self._priorities, priority)]
        return item


def priority_of(message: Any) -> int:
    """Return the priority of a message, a tuple or an envelope."""
    if type(message) is tuple:
        return 0
    kind = message.handler.kind
    if kind is MessageKind.NOTICE:
        return _LAST
    if kind is MessageKind.RESUME:
        message = message.args[0].opened_by
    return int(message.priority)


class PriorityMessages(PriorityQueue[Any]):
    """The messages of a mailbox.

    A stop is handled behind all that came before it, and before all that comes after it. What only has to come
    behind what was there, such as the end of another actor, is last of all.
    """

    __slots__ = ("_after_stop",)

    def __init__(self) -> None:
        super().__init__(priority_of)
        self._after_stop: deque[Any] = deque()
        """A stop, and what came after it."""

    def __len__(self) -> int:
        return self._length + len(self._after_stop)

    def __getitem__(self, place: int) -> Any:
        if not self._length and self._after_stop:
            return self._after_stop[place]
        return super().__getitem__(place)

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        yield from list(self._after_stop)

    def append(self, item: Any) -> None:
        """Add *item* behind the others of its priority."""
        stop = type(item) is not tuple and item.handler.kind is MessageKind.STOP
        if stop or self._after_stop:
            self._after_stop.append(item)
        else:
            super().append(item)

    def popleft(self) -> Any:
        """Remove what is next, and return it."""
        if self._length or not self._after_stop:
            return super().popleft()
        stop = self._after_stop.popleft()
        behind, self._after_stop = self._after_stop, deque()
        for item in behind:
            self.append(item)
        return stop

    def remove(self, wanted: Any) -> None:
        """Remove *wanted*."""
        for at, item in enumerate(self._after_stop):
            if item is wanted:
                del self._after_stop[at]
                return
        super().remove(wanted)
