"""Any schedule of submissions, ends, deaths and cancellations, with workers that come and go.

No task waits while a worker is free; none is lost or placed twice; within a priority who came first is first.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors._pools import Loss
from tests.pools.queue_rig import FakeSubmitter, QueueRig

Key = tuple[str, int]


class Schedules(RuleBasedStateMachine):
    """The queue, and what is known of each task."""

    @initialize(at_once=st.integers(1, 2), turns=st.booleans())
    def begin(self, at_once: int, turns: bool) -> None:
        self.rig = QueueRig(2, at_once=at_once, turns=turns)
        self.at_once = at_once
        self.submitters = {name: self.rig.submitter(name) for name in ("a", "b", "c")}
        self.waiting: list[tuple[int, Key]] = []
        """The priority of each task that waits, in the order of arrival."""
        self.running: dict[Key, int] = {}
        self.priorities: dict[Key, int] = {}
        self.tickets = 0

    def _settle(self) -> None:
        """Take note of the places that were given, each of which is that of the first in line."""
        queue = self.rig.queue
        given = {
            (name, ticket): slot
            for name, one in self.submitters.items()
            for ticket, slot in one.given
        }
        assert sum(len(one.given) for one in self.submitters.values()) == len(given)
        in_line = sorted(self.waiting, key=lambda entry: -entry[0])  # stable
        first = {key for _, key in in_line[: len(given)]}
        assert set(given) == first
        self.waiting = [entry for entry in self.waiting if entry[1] not in given]
        assert not self.running.keys() & given.keys()
        self.running |= given
        for one in self.submitters.values():
            one.given.clear()
        assert queue.queued == len(self.waiting)
        assert queue.running == len(self.running)

    @rule(
        name=st.sampled_from("abc"), priorities=st.lists(st.integers(-1, 1), min_size=2, max_size=6)
    )
    def submit(self, name: str, priorities: list[int]) -> None:
        for priority in priorities:
            self.tickets += 1
            key = (name, self.tickets)
            self.priorities[key] = priority
            self.waiting.append((priority, key))
            self.rig.queue.enter(self.submitters[name], self.tickets, priority)
            self._settle()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), failed=st.booleans())
    def end(self, data: st.DataObject, failed: bool) -> None:
        name, ticket = self._pick(data, self.running)
        del self.running[name, ticket]
        self.rig.queue.done(self.submitters[name], ticket, failed=failed)
        self._settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        name, ticket = self._pick(data, [key for _, key in self.waiting])
        self.waiting = [entry for entry in self.waiting if entry[1] != (name, ticket)]
        assert self.rig.queue.withdraw(self.submitters[name], ticket)
        self._settle()

    @precondition(lambda self: any(one.ready for one in self.rig.queue.workers.values()))
    @rule(data=st.data(), asked=st.booleans(), again=st.booleans())
    def worker_ends(self, data: st.DataObject, asked: bool, again: bool) -> None:
        slots = [slot for slot, one in self.rig.queue.workers.items() if one.ready]
        slot = self._pick(data, slots)
        tasks = [key for key, where in self.running.items() if where == slot]
        victim = self._pick(data, tasks) if asked and tasks else None
        if victim is not None:
            self.rig.queue.overdue(self.submitters[victim[0]], victim[1], "late")
        self.rig.queue.worker_down(self.rig.worker(slot), "gone")
        lost = {
            (name, ticket): loss
            for name, one in self.submitters.items()
            for ticket, _, loss in one.lost
        }
        beside = Loss.DIED if victim is None else Loss.BESIDE
        assert lost == {key: Loss.ASKED if key == victim else beside for key in tasks}
        for key in tasks:
            del self.running[key]
        for one in self.submitters.values():
            one.lost.clear()
        self._settle()
        if again:
            self._try_again([key for key in tasks if key != victim])

    def _try_again(self, keys: list[Key]) -> None:
        for key in keys:
            self.waiting.insert(0, (self.priorities[key], key))
            self.rig.queue.enter(self.submitters[key[0]], key[1], self.priorities[key], again=True)
            self._settle()

    @precondition(lambda self: any(not one.ready for one in self.rig.queue.workers.values()))
    @rule(data=st.data())
    def worker_is_back(self, data: st.DataObject) -> None:
        slots = [slot for slot, one in self.rig.queue.workers.items() if not one.ready]
        self.rig.queue.worker_ready(self.rig.worker(self._pick(data, slots)))
        self._settle()

    @precondition(lambda self: len(self.rig.queue.workers) < 4)
    @rule()
    def worker_joins(self) -> None:
        workers = self.rig.queue.workers
        self.rig.add(next(slot for slot in range(4) if slot not in workers))
        self._settle()

    @rule(name=st.sampled_from("abc"))
    def submitter_ends(self, name: str) -> None:
        orphans = self.rig.queue.submitter_gone(self.submitters[name])
        assert {ticket for _, ticket in orphans} == {
            ticket for who, ticket in self.running if who == name
        }
        self.waiting = [entry for entry in self.waiting if entry[1][0] != name]
        gone, self.submitters[name] = self.submitters[name], self.rig.submitter(name)
        self._settle()
        for _, ticket in orphans:
            del self.running[name, ticket]
            self._orphan_ends(gone, ticket)

    def _orphan_ends(self, gone: FakeSubmitter, ticket: int) -> None:
        self.rig.queue.done(gone, ticket, failed=True)
        self._settle()

    @invariant()
    def none_waits_while_a_worker_is_free(self) -> None:
        if not hasattr(self, "rig"):
            return
        queue = self.rig.queue
        free = sum(queue.free_places(worker) for worker in queue.workers.values())
        assert not (free and self.waiting)
        for slot, worker in queue.workers.items():
            assert len(worker.tasks) <= self.at_once
            assert len(worker.tasks) == list(self.running.values()).count(slot)

    @staticmethod
    def _pick(data: st.DataObject, choices: Any) -> Any:
        return data.draw(st.sampled_from(sorted(choices)))


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
