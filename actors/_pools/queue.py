"""The queue of a pool, in the process that made the system: which task gets which worker.

Rule 1: a task gets a worker when that worker is free, and none waits while a worker is free, whoever submitted
it. The highest priority is first; within one, the first that came.
Rule 2: only numbers wait here. The task itself stays with its submitter, which sends it to the worker.
Rule 3: a place is free again when its submitter says that the task is over, or when the worker has ended.
Rule 4: while tasks are brief, a worker also has the next ones of a submitter, so that they travel together. It
gives back what it does not begin within milliseconds, and what it had not begun when it died runs elsewhere.
"""

from __future__ import annotations

import math
from collections import Counter
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.durations import Histogram
from actors._pools.figures import PoolStats, WorkerStats
from actors._pools.pool_worker import PlacedTask, PoolWorker
from actors._pools.submitter import Loss, Submitter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors._remoting.operations import Chain

__all__ = ["PoolQueue", "WorkerOwner"]

_SWEEP_FROM: Final = 256
"""Entries of the heap below which withdrawn ones are not worth a sweep."""
_FULL_EVERY: Final = 1.0
"""Seconds between two times that it is told that the queue is full."""
_STUCK: Final = (
    "every worker runs a task that waits for another one of this pool; give it more workers, or the tasks "
    "that it waits for another pool"
)
_UNREACHED: Final = 0.05
"""Seconds for which a worker gets no task that a submitter could not reach."""
_INTERRUPTED: Final = 0.01
"""Seconds until it is looked again whether a task that was to end has begun."""


class WorkerOwner(Protocol):
    """Who starts and ends the workers of a pool."""

    @property
    def may_grow(self) -> bool:
        """Whether the pool may have more workers than it has."""

    def end_worker(self, worker: PoolWorker, why: str) -> bool:
        """End a worker now, for another to take its slot; return whether it can be ended."""

    def renew_worker(self, worker: PoolWorker, why: str) -> None:
        """End a worker that runs nothing; another takes its slot."""

    def load_changed(self) -> None:
        """Tasks wait, or a worker has become free."""

    def room_changed(self, room: bool) -> None:  # noqa: FBT001 - as of `Submitter`
        """The queue is full, or has room again; not more than once a second."""


class PoolQueue:
    """The tasks of one pool that wait, and the places they wait for.

    Args:
        number: the pool's number in its system.
        name: its name.
        now: returns the time, in seconds.
        call_later: calls a function after some seconds.
        owner: starts and ends the workers.
        at_once: how many tasks a worker runs at the same time.
        bound: how many tasks may wait before the queue is full; None is no bound.
        recycle: after how many tasks a worker is renewed; None is never.
        turns: whether free workers take turns; else the lowest slot is first, so that the highest become idle.
    """

    def __init__(
        self,
        number: int,
        name: str,
        *,
        now: Callable[[], float],
        call_later: Callable[..., Any],
        owner: WorkerOwner,
        at_once: int = 1,
        bound: int | None = None,
        recycle: int | None = None,
        turns: bool = True,
    ) -> None:
        self.number = number
        self.name = name
        self.workers: dict[int, PoolWorker] = {}
        self._now = now
        self._call_later = call_later
        self._owner = owner
        self._at_once = at_once
        self._bound = bound
        self._recycle = recycle
        self._turns = turns
        self._next = 0
        self._heap: list[tuple[int, int, Submitter, int, float, bool]] = []
        self._waiting: dict[tuple[Submitter, int], int] = {}
        """The number in the heap of each task that still waits; the heap has withdrawn ones, too."""
        self._entered = 0
        self._first = 0
        self._running: dict[tuple[Submitter, int], PoolWorker] = {}
        """The worker of each task that has one."""
        self._ahead = 0
        """How many of them are behind others of their worker."""
        self._returning: dict[tuple[Submitter, int], tuple[int, float]] = {}
        """The number of each task that its worker had not begun when it ended, and when it had entered."""
        self._asked_by: dict[tuple[Submitter, int], list[tuple[int, str]]] = {}
        """What on the workers waits for a task, for each that something there waits for."""
        self._blocked: Counter[tuple[int, str]] = Counter()
        """For how many tasks of this pool a worker's actor, or a function that it runs, waits."""
        self._submitters: set[Submitter] = set()
        self._room = self._room_told = True
        self._full_told_at = -math.inf
        self.no_worker: str = ""
        """Why no worker starts, while that is so: tasks that would wait are refused."""
        self._when_empty: list[Callable[[], object]] = []
        self._giving = False
        self._completed = self._failed = 0
        self._wait, self._run = Histogram(), Histogram()

    # -- tasks -----------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """How many tasks wait."""
        return len(self._waiting) + len(self._returning) + self._ahead

    @property
    def running(self) -> int:
        """How many tasks run."""
        return len(self._running) - self._ahead

    def enter(
        self,
        submitter: Submitter,
        ticket: int,
        priority: int,
        *,
        again: bool = False,
        asked_by: Chain = (),
        in_line: bool = False,
    ) -> None:
        """Have a task wait for a worker.

        Args:
            submitter: has the task.
            ticket: its number there.
            priority: higher is first.
            again: put it before all others of its priority.
            asked_by: the actors, and functions on workers, that wait for it; see `FunctionWorker.call_beside`.
            in_line: whether a worker may have it behind others.
        """
        if submitter not in self._submitters:
            self._submitters.add(submitter)
            if not self._room:
                submitter.room_changed(self.number, False)
        entered = self._now()
        if again and (submitter, ticket) in self._returning:
            number, entered = self._returning.pop((submitter, ticket))
        elif again:
            self._first -= 1
            number = self._first
        else:
            self._entered += 1
            number = self._entered
        if asked_by:
            mine = {uid for worker in self.workers.values() for uid in worker.uids}
            asked_by = ours = [(uid, name) for uid, name in asked_by if abs(uid) in mine]
            self._blocked.update(ours)
            if ours:
                self._asked_by[submitter, ticket] = ours
        waits = (-priority, number, submitter, ticket, entered, in_line and not asked_by)
        self._wait_for_worker(waits)
        if asked_by and (submitter, ticket) in self._waiting and self._is_stuck():
            self.withdraw(submitter, ticket)
            submitter.task_lost(self.number, ticket, _STUCK, Loss.CYCLE)

    def _is_stuck(self) -> bool:
        """Whether every place is taken by what waits for a task of this pool, so that none will be free."""
        waiting = Counter(abs(uid) for uid, _ in self._blocked)
        return not self._owner.may_grow and all(
            worker.tasks and sum(waiting[uid] for uid in set(worker.uids)) >= self._at_once
            for worker in self.workers.values()
        )

    def _over(self, submitter: Submitter, ticket: int) -> None:
        """Nobody waits for a task any more."""
        if self._asked_by:
            self._blocked -= Counter(self._asked_by.pop((submitter, ticket), ()))

    def _wait_for_worker(self, waits: tuple[int, int, Submitter, int, float, bool]) -> None:
        """Have a task wait: its place in the heap, in which no two have the same number."""
        _, number, submitter, ticket, *_ = waits
        if self.no_worker:
            submitter.task_lost(self.number, ticket, self.no_worker, Loss.NO_WORKER)
            return
        self._waiting[submitter, ticket] = number
        heappush(self._heap, waits)
        if len(self._waiting) == 1:  # where others wait no place is free
            self.give_places()
        if self._waiting:
            self._owner.load_changed()
        self._check_room()

    def withdraw(self, submitter: Submitter, ticket: int) -> bool:
        """Forget a task that waits; return whether it did."""
        waited = self._waiting.pop((submitter, ticket), None) is not None
        if waited:
            self._over(submitter, ticket)
            self._sweep()
            self._check_room()
        return waited

    def _sweep(self) -> None:
        """Remove withdrawn tasks from the heap once they are most of it."""
        if len(self._heap) > _SWEEP_FROM and len(self._heap) > 2 * len(self._waiting):
            self._heap = [
                entry for entry in self._heap if self._waiting.get((entry[2], entry[3])) == entry[1]
            ]
            heapify(self._heap)

    def done(self, submitter: Submitter, ticket: int, *, failed: bool, renew: str = "") -> None:
        """Free the place of a task that is over; *renew* says why its worker is not to go on."""
        worker = self._running.get((submitter, ticket))
        if worker is None:
            self._returning.pop((submitter, ticket), None)
            self.withdraw(submitter, ticket)
            return
        self._over(submitter, ticket)
        now = self._now()
        task = worker.tasks[submitter, ticket]
        self._leave(worker, task, now)
        if task.began is not None:  # else it was cancelled before it began
            worker.completed += 1
            worker.run.add(now - task.began)
            self._run.add(now - task.began)
            self._failed += failed
            self._completed += not failed
        if renew or (self._recycle is not None and worker.completed >= self._recycle):
            worker.renewing = worker.renewing or renew or f"it has run {worker.completed} tasks"
        if worker.renewing:
            self.renew_if_idle(worker)
        self.give_places(worker)
        self._check_room()
        if not worker.tasks:
            self._owner.load_changed()

    def undelivered(self, submitter: Submitter, ticket: int, priority: int) -> None:
        """Put a task back where it was: it could not be sent. Its worker gets none for a moment."""
        worker = self._running.get((submitter, ticket))
        if worker is not None:
            worker.unreached = True
            self._call_later(_UNREACHED, self._reachable, worker)
        self.given_back(submitter, ticket, priority)

    def given_back(self, submitter: Submitter, ticket: int, priority: int) -> None:
        """Put a task back where it was: its worker has not begun it, and will not."""
        worker = self._running.get((submitter, ticket))
        if worker is None:
            self.enter(submitter, ticket, priority, again=True)
            return
        task = worker.tasks[submitter, ticket]
        self._leave(worker, task, self._now())
        worker.gave_back()
        self.renew_if_idle(worker)
        in_line = task.place > 0
        self._wait_for_worker((-priority, task.number, submitter, ticket, task.entered, in_line))
        if not worker.tasks:
            self.give_places(worker)

    def _leave(self, worker: PoolWorker, task: PlacedTask, now: float) -> None:
        """Take a task from its worker; the next one in its line is the first."""
        self._running.pop((task.submitter, task.ticket), None)  # a pool that has ended has none
        self._ahead -= task.began is None
        worker.end(task, now)
        first = worker.first
        if first is not None and first.began is None:
            self._ahead -= 1
            self._begins(first, now)

    def _begins(self, task: PlacedTask, now: float) -> None:
        task.began = now
        self._wait.add(now - task.entered)

    def _reachable(self, worker: PoolWorker) -> None:
        worker.unreached = False
        self.give_places()
        self._check_room()

    def broken(self, submitter: Submitter, ticket: int) -> None:
        """A submitter lost the link to a worker; if that has not ended, its task is lost by the link alone."""
        worker = self._running.get((submitter, ticket))
        if worker is not None:
            self._call_later(1.0, self._still_broken, worker, worker.tasks[submitter, ticket])

    def _still_broken(self, worker: PoolWorker, task: PlacedTask) -> None:
        # The same task may run again meanwhile, on this worker's next run or elsewhere.
        if worker.tasks.get((task.submitter, task.ticket)) is task:
            why = "the link to it has failed"
            worker.ended_for = worker.ended_for or (None, why, Loss.DIED)
            self._lose(worker, task, why, Loss.DIED)
            if not self._owner.end_worker(worker, why):
                worker.ended_for = None
                self.give_places()

    def overdue(self, submitter: Submitter, ticket: int, why: str) -> None:
        """End the worker of a task that was to end and has not."""
        worker = self._running.get((submitter, ticket))
        if worker is None:
            return
        if not worker.had_begun(worker.tasks[submitter, ticket]):
            # It was cancelled before it began, or has begun meanwhile.
            self._call_later(_INTERRUPTED, self.overdue, submitter, ticket, why)
        elif worker.ended_for is None:
            worker.ended_for = (worker.tasks[submitter, ticket], why, Loss.ASKED)
            self._owner.end_worker(worker, why)

    def over_memory(self, worker: PoolWorker, why: str) -> None:
        """End a worker that holds too much memory; its tasks fail by that."""
        if worker.ended_for is None:
            worker.ended_for = (None, why, Loss.MEMORY)
            self._owner.end_worker(worker, why)

    def submitter_gone(self, submitter: Submitter) -> list[tuple[PoolWorker, int]]:
        """Forget what a process had submitted, which has ended; return the workers that run its tasks."""
        self._submitters.discard(submitter)
        for who, ticket in list(self._waiting):
            if who is submitter:
                del self._waiting[who, ticket]
                self._over(who, ticket)
        self._returning = {
            key: at for key, at in self._returning.items() if key[0] is not submitter
        }
        self._check_room()
        return [(worker, key[1]) for key, worker in self._running.items() if key[0] is submitter]

    def refuse_all(self, why: str) -> None:
        """No worker starts: fail the tasks that wait, and those that come until one does."""
        self.no_worker = why
        waiting = list(self._waiting)
        self._waiting.clear()
        self._heap.clear()
        for submitter, ticket in waiting:
            self._over(submitter, ticket)
            submitter.task_lost(self.number, ticket, why, Loss.NO_WORKER)
        self._check_room()

    def close(self) -> None:
        """Forget everything: the pool has ended."""
        self._waiting.clear()
        self._heap.clear()
        self._running.clear()
        self._returning.clear()
        self._ahead = 0
        self._check_empty()

    @property
    def submitters(self) -> Iterable[Submitter]:
        """Who has submitted tasks and is still there."""
        return self._submitters

    # -- workers ---------------------------------------------------------------------------

    def free_places(self, worker: PoolWorker) -> int:
        """Return how many more tasks a worker takes now."""
        return max(self._at_once - len(worker.tasks), 0) if self._usable(worker) else 0

    @staticmethod
    def _usable(worker: PoolWorker) -> bool:
        stays = not (worker.renewing or worker.leaving or worker.unreached)
        return worker.ready and stays and worker.ended_for is None

    def worker_ready(self, worker: PoolWorker) -> None:
        """A worker takes tasks from now on."""
        worker.ready = True
        self.no_worker = ""
        worker.renewing, worker.ended_for, worker.completed = "", None, 0
        worker.has_line(None)
        worker.idle_since = self._now()
        self.give_places()
        self._check_room()
        self._owner.load_changed()

    def worker_down(self, worker: PoolWorker, why: str) -> None:
        """A worker has ended: its tasks are lost, each for its own reason."""
        worker.ready = False
        cause = worker.ended_for
        results = worker.results()
        # First what is behind others, so that it never seems to begin.
        for task in sorted(worker.tasks.values(), key=worker.had_begun):
            if not worker.had_begun(task):
                self._lose(worker, task, why, Loss.NOT_BEGUN)
            elif task.place in results:
                self._returned(worker, task, results[task.place])
            elif cause is None:
                self._lose(worker, task, why, Loss.DIED)
            elif cause[0] is None or cause[0] is task:
                self._lose(worker, task, cause[1], cause[2])
            else:
                self._lose(worker, task, cause[1], Loss.BESIDE)
        worker.has_line(None)
        worker.ended_for = None
        self._check_empty()
        self._check_room()

    def _lose(self, worker: PoolWorker, task: PlacedTask, why: str, loss: Loss) -> None:
        self._over(task.submitter, task.ticket)
        self._leave(worker, task, self._now())
        if loss is Loss.NOT_BEGUN:
            self._returning[task.submitter, task.ticket] = task.number, task.entered
        else:
            self._failed += 1
        task.submitter.task_lost(self.number, task.ticket, why, loss)

    def _returned(self, worker: PoolWorker, task: PlacedTask, value: Any) -> None:
        """Tell the submitter of a task what it had returned before its worker ended."""
        self._over(task.submitter, task.ticket)
        self._leave(worker, task, self._now())
        self._completed += 1
        task.submitter.task_returned(self.number, task.ticket, value)

    def renew_if_idle(self, worker: PoolWorker) -> None:
        """Renew a worker that is to be renewed, if it runs nothing."""
        idle = worker.ready and not worker.tasks and worker.ended_for is None
        if worker.renewing and not worker.leaving and idle:
            why, worker.ready = worker.renewing, False
            self._owner.renew_worker(worker, why)

    def give_places(self, freed: PoolWorker | None = None) -> None:
        """Give waiting tasks the free places; where *freed* has the only ones, no other is looked at."""
        if not self._waiting:
            self._heap.clear()
            return
        if self._giving:
            return  # a submitter has answered from within: the loop below goes on
        self._giving = True
        try:
            while freed is not None and self._waiting and self.free_places(freed) > 0:
                self._give_one(freed)
            if freed is not None and self._waiting:
                self._give_ahead(freed)
            while freed is None and self._waiting and (free := self._by_load()):
                for worker in free:
                    if self.free_places(worker) > 0 and not self._give_one(worker):
                        return
        finally:
            self._giving = False

    def _by_load(self) -> list[PoolWorker]:
        """Return the workers with free places, those that run less first."""
        free = [worker for worker in self.workers.values() if self.free_places(worker) > 0]
        if len(free) > 1 and self._turns:
            free.sort(key=lambda worker: (worker.slot < self._next, worker.slot))
        if self._at_once > 1:
            free.sort(key=lambda worker: len(worker.tasks))
        return free

    def _give_one(self, worker: PoolWorker) -> bool:
        while self._heap:
            _, number, submitter, ticket, entered, in_line = heappop(self._heap)
            if self._waiting.get((submitter, ticket)) != number:
                continue  # withdrawn
            del self._waiting[submitter, ticket]
            now, place = self._now(), 0
            if in_line and worker.journal is not None:
                place = worker.given = worker.given + 1
            task = PlacedTask(submitter, ticket, number, entered, place)
            if not place or not worker.tasks:
                self._begins(task, now)
            else:
                self._ahead += 1
            worker.take(task, now)
            self._next = worker.slot + 1
            self._running[submitter, ticket] = worker
            submitter.place_given(self.number, ticket, worker.member, worker.functions, place)
            return True
        return False

    def _give_ahead(self, worker: PoolWorker) -> None:
        """Give a worker whose tasks are brief its part of those that come next, if they may be in its line."""
        first = worker.first
        if first is None or not first.place:
            return
        most = min(worker.most, 1 + len(self._waiting) // len(self.workers))
        if self._recycle is not None:
            most = min(most, self._recycle - worker.completed)
        while self._waiting and len(worker.tasks) < most and self._usable(worker):
            _, number, submitter, ticket, _, in_line = self._heap[0]
            if self._waiting.get((submitter, ticket)) != number:
                heappop(self._heap)
            elif in_line and submitter is first.submitter:
                self._give_one(worker)
            else:
                return

    def _check_room(self) -> None:
        if self._when_empty:
            self._check_empty()
        if self._room and (self._bound is None or len(self._waiting) < self._bound):
            return
        room = self.has_room
        if room is not self._room:
            self._room = room
            for submitter in list(self._submitters):
                submitter.room_changed(self.number, room)
            self._tell_room(room)

    def _tell_room(self, room: bool) -> None:  # noqa: FBT001 - as above
        """Tell the owner that the queue is full, at most once a second, and then that it has room."""
        now = self._now()
        if room is not self._room_told and (room or now - self._full_told_at >= _FULL_EVERY):
            self._room_told = room
            self._full_told_at = self._full_told_at if room else now
            self._owner.room_changed(room)

    @property
    def has_room(self) -> bool:
        """Whether another task may wait, or would not have to."""
        if self._bound is None or len(self._waiting) < self._bound or self.no_worker:
            return True
        return not self._waiting and any(self.free_places(one) for one in self.workers.values())

    def call_when_empty(self, fn: Callable[[], object]) -> None:
        """Call *fn* once no task waits or runs: now, or later."""
        self._when_empty.append(fn)
        self._check_empty()

    def _check_empty(self) -> None:
        if self._when_empty and not (self._waiting or self._running or self._returning):
            waiting, self._when_empty = self._when_empty, []
            for fn in waiting:
                fn()

    @property
    def busy(self) -> int:
        """How many workers run all that they take at once."""
        return sum(len(worker.tasks) >= self._at_once for worker in self.workers.values())

    def stats(self) -> PoolStats:
        """Return the figures of now."""
        now = self._now()
        workers = tuple(
            WorkerStats(
                name=worker.member.name if worker.member is not None else f"{self.name}/{slot}",
                node=worker.member.node if worker.member is not None else "",
                ready=worker.ready,
                running=sum(task.began is not None for task in worker.tasks.values()),
                completed=worker.completed,
                utilisation=worker.utilisation(now),
                run=worker.run.read(),
            )
            for slot, worker in sorted(self.workers.items())
        )
        busy = [worker.utilisation for worker in workers]
        return PoolStats(
            name=self.name,
            queued=self.queued,
            running=self.running,
            completed=self._completed,
            failed=self._failed,
            utilisation=sum(busy) / len(busy) if busy else 0.0,
            wait=self._wait.read(),
            run=self._run.read(),
            workers=workers,
        )
