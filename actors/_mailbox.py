"""The mailbox: a bounded line of envelopes, and the line of senders behind it.

Rule 1: no event, lock or task per message: one deque, one waker.
Rule 2: a sender that waits for room waits in line; its message enters the queue before it wakes.
Rule 3: control never stands in this line: kill, watch, cancel and restart are calls on the cell.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ._envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._envelope import Tell
    from ._loop import Waiter

__all__ = ["Line", "Mailbox"]


class Line:
    """Senders waiting for room, first come first served."""

    __slots__ = ("_make_waiter", "waiting")

    def __init__(self, make_waiter: Callable[[], Waiter]) -> None:
        self._make_waiter = make_waiter
        self.waiting: deque[tuple[Envelope, Waiter]] = deque()

    async def stand(self, envelope: Envelope) -> None:
        """Wait until `admit` lets *envelope* in, or `fail` turns everybody away."""
        entry = (envelope, self._make_waiter())
        self.waiting.append(entry)
        try:
            await entry[1]
        finally:
            if entry in self.waiting:
                self.waiting.remove(entry)

    def admit(self) -> Envelope | None:
        """Let the first sender go; return its envelope."""
        while self.waiting:
            envelope, waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return envelope
        return None

    def fail(self, error: Callable[[Envelope], BaseException]) -> None:
        """Turn everybody away."""
        while self.waiting:
            envelope, waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_exception(error(envelope))


class Mailbox:
    """What an actor has still to handle; at most *limit* messages, control aside."""

    __slots__ = ("limit", "line", "queue", "waker")

    def __init__(self, limit: int, make_waiter: Callable[[], Waiter]) -> None:
        self.limit = limit
        self.queue: deque[Envelope | Tell] = deque()
        self.line = Line(make_waiter)
        self.waker: Waiter | None = None

    def __len__(self) -> int:
        return len(self.queue)

    @property
    def full(self) -> bool:
        """Whether the next sender has to wait."""
        return len(self.queue) >= self.limit or bool(self.line.waiting)

    def put(self, envelope: Envelope | Tell) -> None:
        """Add *envelope* whatever the bound says, and wake the actor."""
        self.queue.append(envelope)
        if self.waker is not None:
            self.wake()

    def wake(self) -> None:
        """Have the actor look: there is something for it."""
        waker, self.waker = self.waker, None
        if waker is not None and not waker.done():
            waker.set_result(None)

    def take(self) -> Envelope | Tell:
        """Remove the first message, and let the next sender's in."""
        envelope = self.queue.popleft()
        if self.line.waiting:
            self._refill()
        return envelope

    def remove(self, envelope: Envelope) -> bool:
        """Remove a message that is not wanted any more; return whether it was still here."""
        try:
            self.queue.remove(envelope)
        except ValueError:
            return False
        self._refill()
        return True

    def _refill(self) -> None:
        while len(self.queue) < self.limit:
            envelope = self.line.admit()
            if envelope is None:
                return
            self.put(envelope)

    def clear(self) -> list[Envelope]:
        """Empty the mailbox; return what was in it."""
        left = [Envelope.of(item) for item in self.queue]
        self.queue.clear()
        return left
