"""Any schedule of submissions, ends, deaths and cancellations, with workers that come and go.

No task waits while a worker is free; none is lost or placed twice; within a priority who came first is first.
A worker with a line may have some in advance: what it had not begun when it died, or gives back, is not lost.
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

    @initialize(at_once=st.integers(1, 2), turns=st.booleans(), lines=st.booleans())
    def begin(self, at_once: int, turns: bool, lines: bool) -> None:
        self.rig = QueueRig(2, at_once=at_once, turns=turns)
        self.at_once = at_once
        self.lines = lines and at_once == 1
        for slot in range(2):
            self._open_line(slot)
        self.submitters = {name: self.rig.submitter(name) for name in ("a", "b", "c")}
        self.waiting: set[Key] = set()
        self.places: dict[Key, tuple[int, int]] = {}
        """The place of each task in the order."""
        self.again = 0
        self.running: dict[Key, int] = {}
        self.tickets = 0

    def _open_line(self, slot: int) -> None:
        if self.lines:
            self.rig.open_line(slot, seconds=0.0005)

    def _begun(self) -> set[Key]:
        """The tasks that have begun: all but those that are behind others in a line."""
        workers = self.rig.queue.workers.values()
        lines = [list(worker.tasks) for worker in workers]
        first = [key for line in lines for key in (line[:1] if self.lines else line)]
        return {(who.name, ticket) for who, ticket in first}  # type: ignore[attr-defined] # of the rig

    def _settle(self) -> None:
        """Take note of the places that were given, each of which is that of the first in line."""
        queue = self.rig.queue
        given = {
            (name, ticket): slot
            for name, one in self.submitters.items()
            for ticket, slot in one.given
        }
        assert sum(len(one.given) for one in self.submitters.values()) == len(given)
        in_order = sorted(self.waiting, key=self.places.__getitem__)
        assert set(given) == set(in_order[: len(given)])
        self.waiting -= given.keys()
        assert not self.running.keys() & given.keys()
        self.running |= given
        for one in self.submitters.values():
            one.given.clear()
        begun = self._begun()
        assert begun <= self.running.keys()
        assert queue.queued == len(self.waiting) + len(self.running) - len(begun)
        assert queue.running == len(begun)

    @rule(
        name=st.sampled_from("abc"),
        priorities=st.lists(st.integers(-1, 1), min_size=2, max_size=6),
        in_line=st.booleans(),
    )
    def submit(self, name: str, priorities: list[int], in_line: bool) -> None:
        for priority in priorities:
            self.tickets += 1
            key = (name, self.tickets)
            self.places[key] = (-priority, self.tickets)
            self.waiting.add(key)
            who = self.submitters[name]
            self.rig.queue.enter(who, self.tickets, priority, in_line=in_line)
            self._settle()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), failed=st.booleans())
    def end(self, data: st.DataObject, failed: bool) -> None:
        name, ticket = self._pick(data, self.running if failed else self._begun())
        del self.running[name, ticket]
        self.rig.queue.done(self.submitters[name], ticket, failed=failed)
        self._settle()

    @precondition(lambda self: len(self.running) > len(self._begun()))
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        key = self._pick(data, self.running.keys() - self._begun())
        slot = self.running[key]
        for who, ticket in reversed(list(self.rig.worker(slot).tasks)[1:]):
            name: str = who.name  # type: ignore[attr-defined] # of the rig
            del self.running[name, ticket]
            self.waiting.add((name, ticket))
            self.rig.queue.given_back(who, ticket, -self.places[name, ticket][0])
            self._settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        name, ticket = self._pick(data, self.waiting)
        self.waiting.discard((name, ticket))
        assert self.rig.queue.withdraw(self.submitters[name], ticket)
        self._settle()

    @precondition(lambda self: any(one.ready for one in self.rig.queue.workers.values()))
    @rule(data=st.data(), asked=st.booleans(), again=st.booleans())
    def worker_ends(self, data: st.DataObject, asked: bool, again: bool) -> None:
        slots = [slot for slot, one in self.rig.queue.workers.items() if one.ready]
        slot = self._pick(data, slots)
        tasks = [key for key, where in self.running.items() if where == slot]
        begun = [key for key in tasks if key in self._begun()]
        journal: Any = self.rig.worker(slot).journal
        if journal is not None and begun:
            journal.begun = self.submitters[begun[0][0]].numbers[begun[0][1]]
        victim = self._pick(data, begun) if asked and begun else None
        if victim is not None:
            self.rig.queue.overdue(self.submitters[victim[0]], victim[1], "late")
        self.rig.queue.worker_down(self.rig.worker(slot), "gone")
        lost = self._take_lost()
        beside = Loss.DIED if victim is None else Loss.BESIDE
        assert lost == {
            key: Loss.ASKED if key == victim else beside if key in begun else Loss.NOT_BEGUN
            for key in tasks
        }
        for key in tasks:
            del self.running[key]
        for key in tasks:
            if key not in begun:
                self._enter_again(key)
        self._settle()
        self._try_again([key for key in begun if again and key != victim])

    def _take_lost(self) -> dict[Key, Loss]:
        lost = {
            (name, ticket): loss
            for name, one in self.submitters.items()
            for ticket, _, loss in one.lost
        }
        for one in self.submitters.values():
            one.lost.clear()
        return lost

    def _try_again(self, keys: list[Key]) -> None:
        for key in keys:
            self.again -= 1
            self.places[key] = (self.places[key][0], self.again)
            self._enter_again(key)
            self._settle()

    def _enter_again(self, key: Key) -> None:
        self.waiting.add(key)
        who, priority = self.submitters[key[0]], -self.places[key][0]
        self.rig.queue.enter(who, key[1], priority, again=True, in_line=self.lines)

    @precondition(lambda self: any(not one.ready for one in self.rig.queue.workers.values()))
    @rule(data=st.data())
    def worker_is_back(self, data: st.DataObject) -> None:
        slots = [slot for slot, one in self.rig.queue.workers.items() if not one.ready]
        slot = self._pick(data, slots)
        self.rig.queue.worker_ready(self.rig.worker(slot))
        self._open_line(slot)
        self._settle()

    @precondition(lambda self: len(self.rig.queue.workers) < 4)
    @rule()
    def worker_joins(self) -> None:
        workers = self.rig.queue.workers
        slot = next(slot for slot in range(4) if slot not in workers)
        self.rig.add(slot)
        if not self.rig.worker(slot).tasks:
            self._open_line(slot)
        self._settle()

    @rule(name=st.sampled_from("abc"))
    def submitter_ends(self, name: str) -> None:
        orphans = self.rig.queue.submitter_gone(self.submitters[name])
        assert {ticket for _, ticket in orphans} == {
            ticket for who, ticket in self.running if who == name
        }
        self.waiting = {key for key in self.waiting if key[0] != name}
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
            assert len(worker.tasks) <= self.at_once or self.lines
            assert len({who for who, _ in worker.tasks}) <= self.at_once
            assert len(worker.tasks) == list(self.running.values()).count(slot)

    @staticmethod
    def _pick(data: st.DataObject, choices: Any) -> Any:
        return data.draw(st.sampled_from(sorted(choices)))


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
