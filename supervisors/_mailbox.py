"""What a supervisor's task has to do next, in the order in which it came."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class SupervisorMailbox(Generic[T]):
    """A queue for one task, which can also be woken for no item at all."""

    __slots__ = ("_event", "_items", "_woken")

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._woken = False
        self._event: anyio.Event | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add *item* and wake the task."""
        self._items.append(item)
        self.wake()

    def wake(self) -> None:
        """Let the task look again."""
        self._woken = True
        if self._event is not None:
            self._event.set()

    def take(self) -> T | None:
        """Remove the oldest item and return it, if there is one."""
        return self._items.popleft() if self._items else None

    async def wait(self, until: float = math.inf) -> None:
        """Wait for a wake since the last wait, but not beyond *until* on the loop's clock."""
        if not self._woken:
            self._event = anyio.Event()
            with anyio.CancelScope(deadline=until):
                await self._event.wait()
            self._event = None
        self._woken = False


class Call(Generic[T]):
    """One request to the task, and its answer."""

    __slots__ = ("_answered", "_error", "_result", "_undo", "_work", "withdrawn")

    def __init__(
        self, work: Callable[[], Awaitable[T]], undo: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        self._work = work
        self._undo = undo
        self._answered = anyio.Event()
        self.withdrawn = False
        """Whether the caller has gone."""
        self._result: T
        self._error: Exception | None = None

    async def perform(self) -> None:
        """Do the work, in the task; undo it if the caller has gone meanwhile."""
        if self.withdrawn:
            return
        try:
            self._result = await self._work()
        except Exception as error:  # noqa: BLE001 - it is raised again in the caller
            self._error = error
        self._answered.set()
        await self._undo_if_withdrawn()

    async def _undo_if_withdrawn(self) -> None:
        if self.withdrawn:
            await self.undo()

    async def undo(self) -> None:
        """Take back what was done for a caller that has gone."""
        if self._error is None and self._undo is not None:
            await self._undo()

    def refuse(self, error: Exception) -> None:
        """Raise *error* in the caller; the work is not done."""
        self._error = error
        self._answered.set()

    def withdraw(self) -> bool:
        """Note that the caller has gone; return whether the work is to be undone."""
        self.withdrawn = True
        return self._answered.is_set() and self._error is None

    async def settled(self) -> None:
        """Wait until the work has been done, or has failed."""
        await self._answered.wait()

    async def answer(self) -> T:
        """Wait for the answer, in the caller."""
        await self._answered.wait()
        if self._error is not None:
            raise self._error
        return self._result
