"""The queue of a pool, in the process that made the system: which task gets which worker.

Rule 1: a task gets a worker when that worker is free, and none waits while a worker is free, whoever submitted
it. The highest priority is first; within one, the first that came.
Rule 2: only numbers wait here. The task itself stays with its submitter, which sends it to the worker.
Rule 3: a place is free again when its submitter says that the task is over, or when the worker has ended.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._pools.figures import Histogram, PoolStats, WorkerStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actors._messaging.ref import Ref

__all__ = ["Loss", "PoolQueue", "PoolWorker", "Submitter", "WorkerOwner"]

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


class Loss(enum.IntEnum):
    """Why a task has no worker any more."""

    DIED = 0
    """The worker died, and nobody asked for that."""
    BESIDE = 1
    """The worker was ended for another task that ran on it."""
    ASKED = 2
    """The worker was ended because this task was to end."""
    MEMORY = 3
    """The worker held too much memory."""
    NO_WORKER = 4
    """The task still waited, and no worker starts."""
    CYCLE = 5
    """The task still waited, and every worker runs what waits for a task of this pool."""


class Submitter(Protocol):
    """A process that submits tasks; see `PoolClient`."""

    def place_given(self, pool: int, ticket: int, member: Ref[Any], functions: Ref[Any]) -> None:
        """Send the task to a worker: a message to *member*, a function to *functions*."""

    def task_lost(self, pool: int, ticket: int, why: str, loss: Loss) -> None:
        """The worker of the task has ended."""

    def room_changed(self, pool: int, room: bool) -> None:  # noqa: FBT001 - a wire field
        """Whether the queue has room."""


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


class _Task:
    """A task that has a place."""

    __slots__ = ("began", "entered", "number", "submitter", "ticket")

    def __init__(
        self, submitter: Submitter, ticket: int, number: int, entered: float, began: float
    ) -> None:
        self.submitter: Submitter = submitter
        self.ticket: int = ticket
        self.number: int = number
        self.entered: float = entered
        self.began: float = began


class PoolWorker:
    """A worker, as the queue sees it.

    Attributes:
        slot: its number in the pool.
        member: the actor that gets messages.
        functions: the actor that gets functions; in a pool without a class the same one.
        ready: whether it takes tasks.
        renewing: why it takes no new task and is ended after its last one; "" if it is not.
        leaving: whether it takes no new task because the pool shrinks.
        ended_for: while it is being ended, the task that is to end, and why.
        idle_since: when it ran its last task.
        completed: how many tasks it has run since it was started.
    """

    __slots__ = (
        "_busy",
        "_busy_since",
        "_since",
        "completed",
        "ended_for",
        "functions",
        "idle_since",
        "leaving",
        "member",
        "ready",
        "renewing",
        "run",
        "slot",
        "tasks",
        "unreached",
    )

    def __init__(self, slot: int, now: float) -> None:
        self.slot: int = slot
        self.member: Any = None
        self.functions: Any = None
        self.ready: bool = False
        self.unreached: bool = False
        self.leaving: bool = False
        self.renewing: str = ""
        self.ended_for: tuple[_Task | None, str, Loss] | None = None
        self.tasks: dict[tuple[Submitter, int], _Task] = {}
        self.completed: int = 0
        self.run: Histogram = Histogram()
        self.idle_since: float = now
        self._since = now
        self._busy = self._busy_since = 0.0

    @property
    def uids(self) -> tuple[int, ...]:
        """The numbers of its actors."""
        return () if self.functions is None else (self.member.uid, self.functions.uid)

    def begin(self, task: _Task) -> None:
        """Take a task."""
        if not self.tasks:
            self._busy_since = task.began
        self.tasks[task.submitter, task.ticket] = task

    def end(self, task: _Task, now: float) -> None:
        """Give a task up."""
        del self.tasks[task.submitter, task.ticket]
        if not self.tasks:
            self._busy += now - self._busy_since
            self.idle_since = now

    def utilisation(self, now: float) -> float:
        """Return the part of its time in which it ran something."""
        busy = self._busy + (now - self._busy_since if self.tasks else 0.0)
        return busy / (now - self._since) if now > self._since else 0.0


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
        self._heap: list[tuple[int, int, Submitter, int, float]] = []
        self._waiting: dict[tuple[Submitter, int], int] = {}
        """The number in the heap of each task that still waits; the heap has withdrawn ones, too."""
        self._entered = 0
        self._first = 0
        self._running: dict[tuple[Submitter, int], PoolWorker] = {}
        self._asked_by: dict[tuple[Submitter, int], Sequence[int]] = {}
        """The workers that wait for a task, for each that workers wait for."""
        self._blocked: Counter[int] = Counter()
        """For how many tasks of this pool a worker's actor waits."""
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
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many tasks run."""
        return len(self._running)

    def enter(
        self,
        submitter: Submitter,
        ticket: int,
        priority: int,
        *,
        again: bool = False,
        asked_by: Sequence[int] = (),
    ) -> None:
        """Have a task wait for a worker.

        Args:
            submitter: has the task.
            ticket: its number there.
            priority: higher is first.
            again: put it before all others of its priority.
            asked_by: the numbers of the actors that wait for it.
        """
        if submitter not in self._submitters:
            self._submitters.add(submitter)
            if not self._room:
                submitter.room_changed(self.number, False)
        if again:
            self._first -= 1
            number = self._first
        else:
            self._entered += 1
            number = self._entered
        if asked_by:
            mine = {uid for worker in self.workers.values() for uid in worker.uids}
            asked_by = [uid for uid in asked_by if uid in mine]
        if asked_by:
            self._asked_by[submitter, ticket] = asked_by
            self._blocked.update(asked_by)
        self._wait_for_worker(submitter, ticket, priority, number, self._now())
        if asked_by and (submitter, ticket) in self._waiting and self._is_stuck():
            self.withdraw(submitter, ticket)
            submitter.task_lost(self.number, ticket, _STUCK, Loss.CYCLE)

    def _is_stuck(self) -> bool:
        """Whether every worker runs what waits for a task of this pool, so that none will be free."""
        return not self._owner.may_grow and all(
            worker.tasks and any(self._blocked[uid] for uid in worker.uids)
            for worker in self.workers.values()
        )

    def _over(self, submitter: Submitter, ticket: int) -> None:
        """Nobody waits for a task any more."""
        if self._asked_by:
            self._blocked.subtract(self._asked_by.pop((submitter, ticket), ()))

    def _wait_for_worker(
        self, submitter: Submitter, ticket: int, priority: int, number: int, entered: float
    ) -> None:
        if self.no_worker:
            submitter.task_lost(self.number, ticket, self.no_worker, Loss.NO_WORKER)
            return
        self._waiting[submitter, ticket] = number
        heappush(self._heap, (-priority, number, submitter, ticket, entered))  # numbers differ
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
        worker = self._running.pop((submitter, ticket), None)
        if worker is None:
            self.withdraw(submitter, ticket)
            return
        self._over(submitter, ticket)
        now = self._now()
        task = worker.tasks[submitter, ticket]
        worker.end(task, now)
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
        worker = self._running.pop((submitter, ticket), None)
        if worker is None:
            self.enter(submitter, ticket, priority, again=True)
            return
        task = worker.tasks[submitter, ticket]
        worker.end(task, self._now())
        worker.unreached = True
        self._call_later(_UNREACHED, self._reachable, worker)
        self.renew_if_idle(worker)
        self._wait_for_worker(submitter, ticket, priority, task.number, task.entered)

    def _reachable(self, worker: PoolWorker) -> None:
        worker.unreached = False
        self.give_places()
        self._check_room()

    def broken(self, submitter: Submitter, ticket: int) -> None:
        """A submitter lost the link to a worker; if that has not ended, its task is lost by the link alone."""
        worker = self._running.get((submitter, ticket))
        if worker is not None:
            self._call_later(1.0, self._still_broken, worker, worker.tasks[submitter, ticket])

    def _still_broken(self, worker: PoolWorker, task: _Task) -> None:
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
        if worker is not None and worker.ended_for is None:
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
        self._check_empty()

    @property
    def submitters(self) -> Iterable[Submitter]:
        """Who has submitted tasks and is still there."""
        return self._submitters

    # -- workers ---------------------------------------------------------------------------

    def free_places(self, worker: PoolWorker) -> int:
        """Return how many more tasks a worker takes now."""
        usable = worker.ready and not (worker.renewing or worker.leaving or worker.unreached)
        return self._at_once - len(worker.tasks) if usable and worker.ended_for is None else 0

    def worker_ready(self, worker: PoolWorker) -> None:
        """A worker takes tasks from now on."""
        worker.ready = True
        self.no_worker = ""
        worker.renewing, worker.ended_for, worker.completed = "", None, 0
        worker.idle_since = self._now()
        self.give_places()
        self._check_room()
        self._owner.load_changed()

    def worker_down(self, worker: PoolWorker, why: str) -> None:
        """A worker has ended: its tasks are lost, each for its own reason."""
        worker.ready = False
        cause = worker.ended_for
        for task in list(worker.tasks.values()):
            if cause is None:
                self._lose(worker, task, why, Loss.DIED)
            elif cause[0] is None or cause[0] is task:
                self._lose(worker, task, cause[1], cause[2])
            else:
                self._lose(worker, task, cause[1], Loss.BESIDE)
        worker.ended_for = None
        self._check_empty()
        self._check_room()

    def _lose(self, worker: PoolWorker, task: _Task, why: str, loss: Loss) -> None:
        self._running.pop((task.submitter, task.ticket), None)
        self._over(task.submitter, task.ticket)
        worker.end(task, self._now())
        self._failed += 1
        task.submitter.task_lost(self.number, task.ticket, why, loss)

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
            _, number, submitter, ticket, entered = heappop(self._heap)
            if self._waiting.get((submitter, ticket)) != number:
                continue  # withdrawn
            del self._waiting[submitter, ticket]
            now = self._now()
            self._wait.add(now - entered)
            worker.begin(_Task(submitter, ticket, number, entered, now))
            self._next = worker.slot + 1
            self._running[submitter, ticket] = worker
            submitter.place_given(self.number, ticket, worker.member, worker.functions)
            return True
        return False

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
        if self._when_empty and not self._waiting and not self._running:
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
                running=len(worker.tasks),
                completed=worker.completed,
                utilisation=worker.utilisation(now),
                run=worker.run.read(),
            )
            for slot, worker in sorted(self.workers.items())
        )
        busy = [worker.utilisation for worker in workers]
        return PoolStats(
            name=self.name,
            queued=len(self._waiting),
            running=len(self._running),
            completed=self._completed,
            failed=self._failed,
            utilisation=sum(busy) / len(busy) if busy else 0.0,
            wait=self._wait.read(),
            run=self._run.read(),
            workers=workers,
        )
