"""One pool of a running system: its workers come, go, are renewed and ended as its queue asks.

Rule 1: a worker is a slot: a node of the pool's own, and the actor on it. Between two runs the slot is kept.
Rule 2: only a worker with a node of its own is ended for one of its tasks.
"""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from itertools import count, islice
from typing import TYPE_CHECKING, Any, Final

from anyio import Lock, move_on_after, sleep

from actors._base.errors import ActorsError, InvalidSpec, SystemStopped
from actors._pools import (
    FunctionWorker,
    LineReader,
    PoolFacts,
    PoolQueue,
    PoolWorker,
    Submitter,
    clamped,
    grown,
    shrunk,
)
from actors.nodes import RemoteNode, process_figures
from actors.supervisors import ChildState, SupervisorError

if TYPE_CHECKING:
    from actors._base.loop import Timer, Waiter
    from actors._messaging.ref import Ref
    from actors._system.node_groups import NodeGroups
    from actors._system.pool_spec import PoolSpec
    from actors._system.supervisor_handle import SupervisorHandle
    from actors._system.system_state import SystemState
    from actors._system.tree_specs import ActorSpec
    from actors.nodes import SupervisedActor
    from actors.supervisors import Exit

__all__ = ["PoolControl"]

_LEAVING_EVERY: Final = 0.02
"""Seconds between two looks at what workers still run that are to leave."""
_RSS_EVERY: Final = 0.25
"""Seconds between two looks at the memory of workers that have a `max_rss`."""
_RSS_KILL: Final = 1.25
_GONE: Final = frozenset({ChildState.STOPPED, ChildState.ABANDONED})
_FAILING: Final = 2.0
"""Seconds for which starts fail, and no worker is ready, until those who wait are told."""


class _Change:
    """A change of the number of workers.

    Args:
        size: the number that is wanted.
        answer: of the one who waits for it; None for nobody.

    Attributes:
        given_up: whether who asked for it has gone: what has not begun is left out.
    """

    def __init__(self, size: int, answer: Waiter | None = None) -> None:
        self.size = size
        self.given_up = False
        self._answer = answer

    def tell(self, error: BaseException | None) -> bool:
        """Say that it is over, perhaps by *error*; return whether anybody hears it."""
        answer = self._answer
        if answer is None or answer.done():
            return False
        if error is None:
            answer.set_result(None)
        else:
            answer.set_exception(error)
        return True


class PoolControl:
    """Starts, counts and ends the workers of one pool (a `WorkerOwner`)."""

    def __init__(
        self,
        state: SystemState,
        groups: NodeGroups,
        spec: PoolSpec[Any],
        number: int,
        cls_path: str,
        *,
        ended: Any,
    ) -> None:
        self.spec = spec
        self.facts: PoolFacts = PoolFacts(
            number,
            spec.name,
            cls_path,
            spec.at_once,
            spec.queue,
            spec.grace,
            spec.why_not_killable,
            spec.size,
            spec.per_node or "",
        )
        self.queue: PoolQueue = PoolQueue(
            number,
            spec.name,
            now=state.loop.now,
            call_later=state.loop.call_later,
            owner=self,
            at_once=spec.at_once,
            bound=spec.queue,
            recycle=spec.recycle,
            turns=spec.least == spec.most,
        )
        self.closed: bool = False
        self.waiters: list[Waiter] = []
        """Of those who wait for its end."""
        self._state = state
        self._groups = groups
        self._ended = ended
        self.handle: SupervisorHandle | None = None
        self._actors: dict[int, dict[str, SupervisedActor]] = {}
        self._failing_since: float | None = None
        """When the first start failed since a worker was last ready."""
        self._changing = Lock()
        self._sizing = 0
        """How many changes of the size are under way, or wait for their turn."""
        self._idle_timer: Timer | None = None
        self._rss_timer: Timer | None = None
        if spec.max_rss is not None:
            self._rss_timer = state.loop.call_later(_RSS_EVERY, self._check_rss)

    # -- workers come and go -------------------------------------------------------------------

    def joined(self, spec: ActorSpec[Any], actor: SupervisedActor) -> None:
        """Take a worker's actor, which starts now; also the next life of one that had ended."""
        slot = spec.turn
        assert slot is not None, "the actor of a pool has a slot"
        worker = self.queue.workers.get(slot)
        if worker is None:
            worker = self.queue.workers[slot] = PoolWorker(slot, self._state.loop.now())
            self.queue.workers = dict(sorted(self.queue.workers.items()))
        self._actors.setdefault(slot, {})[actor.ref.name] = actor
        if spec.cls is FunctionWorker:
            worker.functions = actor.ref
        if spec.cls is not FunctionWorker or self.spec.cls is None:
            worker.member = actor.ref
        actor.on_change = partial(self._changed, slot, actor)

    def _changed(self, slot: int, actor: SupervisedActor, end: Exit | Exception | None) -> None:
        """A worker's actor runs, or a run of it has ended by *end*, or did not start, or it is gone."""
        worker = self.queue.workers.get(slot)
        actors = self._actors.get(slot, {})
        if worker is None or actors.get(actor.ref.name) is not actor:
            return
        if actor.end is not None:
            self._lost(slot, _how(actor.end))
        elif isinstance(end, Exception):
            self._start_failed(end)
        elif end is not None:
            self.queue.worker_down(worker, _how(end))
        elif all(one.running for one in actors.values()) and len(actors) == self._per_worker:
            self._failing_since = None
            self.queue.worker_ready(worker)
            if self.facts.has_lines:
                start = self._state.loop.start
                start(self._open_line, worker, actor, name=f"{self.spec.name}: line", fresh=True)

    async def _open_line(self, worker: PoolWorker, actor: SupervisedActor) -> None:
        """Have a worker take tasks into a line, once it has said where it notes what it does.

        Without one it takes a task at a time: if it has ended, or has no descriptor left for that memory.
        """
        with suppress(ActorsError, OSError):
            journal = await actor.ref.ask(FunctionWorker.journal)
            if actor.running and worker.ready:
                worker.has_line(LineReader(journal))

    def _start_failed(self, error: Exception) -> None:
        """Tell who waits, when for some time no worker has started and starts have failed."""
        if any(worker.ready for worker in self.queue.workers.values()):
            return
        now = self._state.loop.now()
        if self._failing_since is None:
            self._failing_since = now
        elif now - self._failing_since >= _FAILING:
            self.queue.refuse_all(str(error).partition("\n")[0])

    @property
    def may_grow(self) -> bool:
        """As `WorkerOwner.may_grow`."""
        return len(self.queue.workers) < self.spec.most

    def room_changed(self, room: bool) -> None:  # noqa: FBT001 - as `WorkerOwner.room_changed`
        """As `WorkerOwner.room_changed`."""
        kind = "pool_has_room" if room else "pool_full"
        self._state.event(kind, {"pool": self.spec.name, "queue": self.spec.queue})

    @property
    def _per_worker(self) -> int:
        return 1 if self.spec.cls is None else 2

    def _lost(self, slot: int, why: str) -> None:
        """A worker has ended for good."""
        worker = self.queue.workers.pop(slot, None)
        actors = self._actors.pop(slot, {})
        if worker is not None:
            self.queue.worker_down(worker, why)
        self._end_if_empty()
        if not (self.closed or self._state.stopping) and any(
            actor.end is None for actor in actors.values()
        ):
            name = f"{self.spec.name}: rest of worker {slot}"
            self._state.loop.start(self._end_rest, slot, name=name, fresh=True)

    async def _end_rest(self, slot: int) -> None:
        """End what is left of a worker one of whose actors has ended for good."""
        async with self._changing:
            if slot not in self.queue.workers and not self.closed:
                await self._end_actors(slot)

    def _end_if_empty(self) -> None:
        if not self.queue.workers and not self.closed and not self._sizing:
            self._ended(self, "all its members have ended")

    # -- what the queue asks (`WorkerOwner`) ------------------------------------------------------

    def _node(self, worker: PoolWorker) -> RemoteNode | None:
        return None if worker.member is None else self._state.nodes.get(worker.member.node)

    def _charge(self, worker: PoolWorker, *, charged: bool) -> None:
        """Say whether the restarts of a worker's actors count as theirs."""
        for actor in self._actors.get(worker.slot, {}).values():
            actor.uncharged = not charged

    def end_worker(self, worker: PoolWorker, why: str) -> bool:
        """As `WorkerOwner.end_worker`."""
        node = self._node(worker)
        if not self.facts.killable or node is None or node.run is None:
            return False
        facts = {"pool": self.spec.name, "worker": worker.member.name, "why": why}
        self._state.event("worker_ended", facts)
        self._charge(worker, charged=False)
        node.run.end_for(set(), why)
        return True

    def renew_worker(self, worker: PoolWorker, why: str) -> None:
        """As `WorkerOwner.renew_worker`."""
        facts = {"pool": self.spec.name, "worker": worker.member.name, "why": why}
        self._state.event("worker_renewed", facts)
        node = self._node(worker)
        # One that is too big before it has run anything would be renewed for ever.
        charged = not worker.completed
        self._charge(worker, charged=charged)
        if not self.facts.killable or node is None or node.run is None:
            for actor in self._actors.get(worker.slot, {}).values():
                actor.place.kill_actor(actor.ref.uid)
        elif self.spec.cls is None and not charged:
            node.run.end_for(set(), why)
        else:
            node.replace(why, charged=charged)  # its actor ends in order

    def load_changed(self) -> None:
        """As `WorkerOwner.load_changed`."""
        spec = self.spec
        if spec.least == spec.most or self.closed or self._sizing:
            return
        size = len(self.queue.workers)
        wanted = grown(size, self.queue.busy, self.queue.queued, spec.least, spec.most)
        if wanted > size:
            self._begin_change(_Change(wanted), "grow")
        elif size > spec.least and self._idle_timer is None:
            self._idle_timer = self._state.loop.call_later(spec.idle, self._shrink)

    def _shrink(self) -> None:
        """End the workers with the highest slots that had nothing to do for long enough."""
        self._idle_timer = None
        spec, workers = self.spec, self.queue.workers
        if self.closed or self._sizing or len(workers) <= spec.least:
            return
        idle = self._idle_at_the_end()
        wanted = shrunk(len(workers), idle, spec.least)
        if wanted < len(workers):
            self._begin_change(_Change(wanted), "shrink")
            return
        last = workers[max(workers)]
        left = spec.idle
        if not last.tasks:
            left = max(0.01, spec.idle - (self._state.loop.now() - last.idle_since))
        self._idle_timer = self._state.loop.call_later(left, self._shrink)

    def _idle_at_the_end(self) -> int:
        """Return how many of the workers with the highest slots had nothing to do for long enough."""
        now, count = self._state.loop.now(), 0
        for _, worker in sorted(self.queue.workers.items(), reverse=True):
            if not worker.ready or worker.tasks or now - worker.idle_since < self.spec.idle:
                break
            count += 1
        return count

    def _begin_change(self, change: _Change, what: str) -> None:
        """Carry out a change of the size, in a task that ends with it and with nobody who asked for it."""
        self._sizing += 1
        name = f"{self.spec.name}: {what}"
        self._state.loop.start(self._carry_out, change, name=name, fresh=True)

    async def _carry_out(self, change: _Change) -> None:
        failed: BaseException | None = None
        try:
            await self._resize(change)
        except (ActorsError, SupervisorError) as error:
            failed = error
        except BaseException:
            failed = SystemStopped("the system is stopping: it starts and ends no more workers")
            raise
        finally:
            self._sizing -= 1
            if not change.tell(failed) and failed is not None:
                facts = {"pool": self.spec.name, "size": change.size, "why": str(failed)}
                self._state.event("pool_not_resized", facts)
        self._end_if_empty()
        # There may be more to do, and an idle worker is looked at again.
        self.load_changed()

    async def resize(self, size: object) -> int:
        """Have so many workers, within the pool's bounds; return how many there are then.

        If this is cancelled, the step of the change that has begun is done to its end, and no other.

        Raises:
            InvalidSpec: it is no number of workers, or the pool has a fixed size.
        """
        if type(size) is not int or size < 1:
            what = "size must be a whole number of 1 or more"
            raise InvalidSpec(f"pool {self.spec.name!r}: {what}, got {size!r}")
        answer = self._state.loop.waiter()
        change = _Change(clamped(size, self.spec.least, self.spec.most), answer)
        self._begin_change(change, "resize")
        try:
            await answer
        finally:
            change.given_up = True
        return len(self.queue.workers)

    async def _resize(self, change: _Change) -> None:
        async with self._changing:
            have, size = sorted(self.queue.workers), change.size
            if self.closed or change.given_up:
                return
            if size > len(have):
                await self._add(size - len(have), change)
            elif size < len(have):
                await self._remove(have[size:], change)

    async def _scale(self, size: int | None = None) -> None:
        """Have nodes for so many slots; None is for those that there are."""
        if self.spec.group is not None and not self.closed:
            if size is None:
                size = max(self.queue.workers, default=-1) + 1
            await self._groups.scale(self.spec.name, size, by_pool=True)

    async def _add(self, count_: int, change: _Change) -> None:
        """Add workers, and the nodes that they need; of one that does not start nothing is left."""
        slots = list(islice((slot for slot in count() if self._is_unused(slot)), count_))
        begun = 0
        try:
            await self._scale(max([*slots, *self.queue.workers]) + 1)
            for slot in slots:
                if self.closed or change.given_up:
                    break
                await self._start_worker(slot)
                begun += 1
        finally:
            if begun < len(slots):
                with suppress(ActorsError):
                    await self._scale()

    def _is_unused(self, slot: int) -> bool:
        """Whether a slot has no worker: neither one that is known, nor one that is about to come back."""
        assert self.handle is not None
        if slot in self.queue.workers:
            return False
        names = {actor.name for actor in self.spec.workers(slot)}
        return all(one.state in _GONE for one in self.handle.children() if one.name in names)

    async def _start_worker(self, slot: int) -> None:
        assert self.handle is not None
        await self._end_actors(slot)  # what is left of one that has ended
        try:
            for actor in self.spec.workers(slot):
                await self.handle.start_child(actor)
        except BaseException:
            await self._end_actors(slot)
            raise

    async def _remove(self, slots: list[int], change: _Change) -> None:
        leaving = [self.queue.workers[slot] for slot in slots]
        for worker in leaving:
            worker.leaving = True
        try:
            for worker in leaving:
                while worker.tasks and not change.given_up:  # noqa: ASYNC110 - what they wait for is no event
                    await sleep(_LEAVING_EVERY)
            # The last one first: if this is given up, those that stay are the first ones.
            for slot in reversed(slots):
                if not change.given_up:
                    await self._end_actors(slot)
        finally:
            for worker in leaving:  # those that are still there
                worker.leaving = False
            self.queue.give_places()
        await self._scale()

    async def _end_actors(self, slot: int) -> None:
        """End the actors of a worker, the last one first, and forget them."""
        assert self.handle is not None
        for actor in reversed(self.spec.workers(slot)):
            with suppress(SupervisorError, SystemStopped):
                await self.handle.stop_child(actor.name)
                self.handle.delete_child(actor.name)

    # -- memory ------------------------------------------------------------------------------------

    def _check_rss(self) -> None:
        if self.closed:
            return
        self._rss_timer = self._state.loop.call_later(_RSS_EVERY, self._check_rss)
        limit = self.spec.max_rss or 0
        for worker in list(self.queue.workers.values()):
            node = self._node(worker)
            if node is None or node.pid is None or not worker.ready:
                continue
            rss = _rss(node.pid)
            if rss > _RSS_KILL * limit:
                why = f"{_mib(rss)} resident, max_rss is {_mib(limit)}"
                self.queue.over_memory(worker, why)
            elif rss > limit:
                worker.renewing = (
                    worker.renewing or f"{_mib(rss)} resident, max_rss is {_mib(limit)}"
                )
                self.queue.renew_if_idle(worker)

    # -- the end of others ----------------------------------------------------------------------------

    def submitter_gone(self, submitter: Submitter, address: str) -> None:
        """Drop what an ended process had submitted; end what of it does not end by itself."""
        for worker, ticket in self.queue.submitter_gone(submitter):
            name, loop = f"{self.spec.name}: orphan", self._state.loop
            orphan = (worker, submitter, address, ticket)
            loop.start(self._end_orphan, *orphan, name=name, fresh=True)

    async def _end_orphan(
        self, worker: PoolWorker, submitter: Submitter, address: str, ticket: int
    ) -> None:
        seconds = self.spec.grace if self.facts.killable else math.inf
        with move_on_after(seconds) as waited, suppress(ActorsError):
            await worker.member.wait_ready()
            await worker.functions.wait_ready()
            await worker.functions.ask(FunctionWorker.wait_over, address, ticket)
        if waited.cancelled_caught:
            why = "the process that had submitted its task has ended"
            self.queue.overdue(submitter, ticket, why)
        else:
            self.queue.done(submitter, ticket, failed=True)

    def members(self) -> list[Ref[Any]]:
        """Return the addresses of the members, by slot."""
        return [one.member for one in self.queue.workers.values() if one.member is not None]

    def actors(self) -> set[int]:
        """Return the numbers of the actors of all workers."""
        refs = [ref for one in self.queue.workers.values() for ref in (one.member, one.functions)]
        return {ref.uid for ref in refs if ref is not None}

    def close(self) -> None:
        """Stop looking after the workers: the pool has ended."""
        self.closed = True
        for timer in (self._idle_timer, self._rss_timer):
            if timer is not None:
                timer.cancel()
        self.queue.close()


def _how(end: Exit) -> str:
    """Return how a run ended: of one that lost its node, what happened to that."""
    return end.cause.partition(": ")[2] or str(end)


def _rss(pid: int) -> int:
    try:
        return process_figures(pid)[1]
    except (OSError, ValueError, IndexError):
        return 0


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
