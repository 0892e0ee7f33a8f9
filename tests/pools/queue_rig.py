"""A pool's queue with a clock that is set by hand, submitters that write down, and workers that do nothing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from actors._pools import Loss, PoolQueue, PoolWorker


class FakeJournal:
    """What a worker would have written down: the call that it has begun last, and how long calls ran."""

    def __init__(self) -> None:
        self.begun = 0
        self.run = (0, 0)
        self.kept: dict[int, Any] = {}

    def results(self) -> dict[int, Any]:
        return self.kept

    def ran(self, calls: int, seconds: float) -> None:
        """Let so many calls have returned that ran so long each."""
        before, nanoseconds = self.run
        self.run = (before + calls, nanoseconds + int(calls * seconds * 1e9))


class FakeSubmitter:
    """Writes down what it is told."""

    def __init__(self, name: str, queue: Callable[[], PoolQueue]) -> None:
        self.name = name
        self.given: list[tuple[int, int]] = []
        self.numbers: dict[int, int] = {}
        """By ticket, the last number that a task had in the line of a worker."""
        self.lost: list[tuple[int, str, Loss]] = []
        self.returned: list[tuple[int, Any]] = []
        self.room: list[bool] = []
        self.unreachable: set[int] = set()
        self._queue = queue

    def __repr__(self) -> str:
        return self.name

    def place_given(
        self, _pool: int, ticket: int, member: Any, _functions: Any, number: int
    ) -> None:
        self.numbers[ticket] = number
        if member.slot in self.unreachable:
            self._queue().undelivered(self, ticket, 0)
        else:
            self.given.append((ticket, member.slot))

    def task_returned(self, _pool: int, ticket: int, value: Any) -> None:
        self.returned.append((ticket, value))

    def task_lost(self, _pool: int, ticket: int, why: str, loss: Loss) -> None:
        self.lost.append((ticket, why, loss))

    def room_changed(self, _pool: int, room: bool) -> None:
        self.room.append(room)


class QueueRig:
    """A queue of *size* workers which are ready, and its owner."""

    def __init__(self, size: int = 1, **options: Any) -> None:
        self.time = 0.0
        self.timers: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []
        self.ended: list[tuple[int, str]] = []
        self.renewed: list[tuple[int, str]] = []
        self.loads = 0
        self.rooms: list[bool] = []
        self.killable = True
        self.may_grow = False
        self.queue = PoolQueue(
            1,
            "work",
            now=lambda: self.time,
            call_later=lambda delay, fn, *args: self.timers.append((self.time + delay, fn, args)),
            owner=self,
            **options,
        )
        for slot in range(size):
            self.add(slot)

    def add(self, slot: int) -> PoolWorker:
        worker = self.queue.workers[slot] = PoolWorker(slot, self.time)
        worker.member = worker.functions = SimpleNamespace(
            uid=100 + slot, slot=slot, name=f"work/{slot}", node=f"work/{slot}"
        )
        self.queue.worker_ready(worker)
        return worker

    def submitter(self, name: str = "a") -> FakeSubmitter:
        return FakeSubmitter(name, lambda: self.queue)

    def worker(self, slot: int) -> PoolWorker:
        return self.queue.workers[slot]

    def open_line(self, slot: int, *, seconds: float | None = None) -> FakeJournal:
        """Give a worker a line; its calls have run so many *seconds* each, if any have."""
        journal = FakeJournal()
        self.worker(slot).has_line(journal)
        if seconds is not None:
            journal.ran(1, seconds)
        return journal

    def passes(self, seconds: float) -> None:
        """Let time pass, and what is due in it happen."""
        self.time += seconds
        due = [timer for timer in self.timers if timer[0] <= self.time]
        self.timers = [timer for timer in self.timers if timer not in due]
        for _, fn, args in due:
            fn(*args)

    # -- `WorkerOwner` -----------------------------------------------------------------------

    def end_worker(self, worker: PoolWorker, why: str) -> bool:
        self.ended.append((worker.slot, why))
        return self.killable

    def renew_worker(self, worker: PoolWorker, why: str) -> None:
        self.renewed.append((worker.slot, why))

    def load_changed(self) -> None:
        self.loads += 1

    def room_changed(self, room: bool) -> None:
        self.rooms.append(room)
