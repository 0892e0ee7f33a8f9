"""Brief tasks that a worker has in advance: who gets how many, and what becomes of them."""

from __future__ import annotations

import weakref

import pytest

from actors._pools import Loss
from tests.pools.queue_rig import FakeJournal, FakeSubmitter, QueueRig


def begin(
    tasks: int = 9, seconds: float | None = 0.0002, size: int = 1, **options: int
) -> tuple[QueueRig, FakeSubmitter, FakeJournal]:
    """Have so many tasks wait behind the one that worker 0 runs, whose calls take so many seconds."""
    rig = QueueRig(size, **options)
    journal = rig.open_line(0, seconds=seconds)
    one = rig.submitter()
    for ticket in range(size + tasks):
        rig.queue.enter(one, ticket, 0, in_line=True)
    return rig, one, journal


def given(one: FakeSubmitter) -> list[int]:
    return [ticket for ticket, _ in one.given]


@pytest.mark.parametrize("seconds, together", [(0.0002, 10), (0.001, 2), (0.0015, 1), (0.1, 1)])
def test_a_worker_has_as_many_as_it_does_in_two_milliseconds(seconds: float, together: int) -> None:
    rig, one, _ = begin(30, seconds)
    rig.queue.done(one, 0, failed=False)
    assert given(one) == list(range(1 + together))
    assert (rig.queue.running, rig.queue.queued) == (1, 29)


def test_a_worker_has_one_until_it_is_known_how_long_they_take_and_never_more_than_32() -> None:
    rig, one, journal = begin(100, None)
    rig.queue.done(one, 0, failed=False)
    assert given(one) == [0, 1]
    journal.ran(1, 1e-6)
    rig.queue.done(one, 1, failed=False)
    assert given(one) == list(range(34))


def test_a_worker_has_no_more_than_its_part_of_what_waits() -> None:
    rig, one, _ = begin(4, size=2)
    rig.queue.done(one, 0, failed=False)
    assert one.given == [(0, 0), (1, 1), (2, 0), (3, 0)]


def test_a_worker_that_cannot_be_reached_any_more_is_offered_one_and_then_none_for_a_moment() -> (
    None
):
    rig, one, _ = begin(30)
    rig.queue.done(one, 0, failed=False)
    assert given(one) == list(range(11))
    one.unreachable.add(0)
    rig.queue.done(one, 1, failed=False)
    assert given(one) == list(range(11))
    assert (rig.queue.running, rig.queue.queued) == (1, 28)
    assert len(rig.timers) == 1
    one.unreachable.clear()
    rig.passes(1.0)
    for ticket in range(2, 11):
        rig.queue.done(one, ticket, failed=False)
    assert given(one)[11] == 11


def test_the_next_one_begins_when_the_one_before_it_is_over() -> None:
    rig, one, _ = begin()
    rig.queue.done(one, 0, failed=False)
    rig.passes(0.5)
    rig.queue.done(one, 1, failed=False)
    rig.passes(0.25)
    rig.queue.done(one, 2, failed=False)
    stats = rig.queue.stats()
    assert (stats.running, stats.completed, stats.workers[0].running) == (1, 3, 1)
    assert stats.run.longest == 0.5
    assert stats.wait.longest == 0.75
    assert stats.utilisation == 1.0


def test_a_worker_has_nothing_in_advance_of_others_or_behind_what_is_in_no_line() -> None:
    rig = QueueRig(1)
    rig.open_line(0, seconds=1e-5)
    one, other = rig.submitter("a"), rig.submitter("b")
    for ticket in range(2):
        rig.queue.enter(one, ticket, 0, in_line=True)
    rig.queue.enter(other, 2, 0, in_line=True)
    rig.queue.enter(one, 3, 0)
    for ticket in range(4, 9):
        rig.queue.enter(one, ticket, 0, in_line=True)
    rig.queue.done(one, 0, failed=False)
    assert (given(one), given(other)) == ([0, 1], [])
    rig.queue.done(one, 1, failed=False)
    assert (given(one), given(other)) == ([0, 1], [2])
    rig.queue.done(other, 2, failed=False)
    assert given(one) == [0, 1, 3]
    rig.queue.done(one, 3, failed=False)
    assert given(one) == [0, 1, 3, 4, 5, 6, 7, 8]


def test_a_task_that_an_actor_waits_for_is_never_behind_others() -> None:
    rig = QueueRig(1)
    rig.open_line(0, seconds=1e-5)
    one = rig.submitter()
    for ticket in range(9):
        rig.queue.enter(one, ticket, 0, in_line=True, asked_by=[] if ticket < 3 else [(100, "w")])
    rig.queue.done(one, 0, failed=False)
    assert given(one) == [0, 1, 2]


def test_a_worker_that_is_to_be_renewed_has_no_more_in_advance_than_it_is_to_run() -> None:
    rig, one, _ = begin(30, recycle=4)
    rig.queue.done(one, 0, failed=False)
    assert given(one) == [0, 1, 2, 3]
    for ticket in range(1, 4):
        rig.queue.done(one, ticket, failed=False)
    assert rig.renewed == [(0, "it has run 4 tasks")]


def test_what_is_given_back_is_where_it_was_and_nothing_more_goes_in_advance() -> None:
    rig, one, journal = begin(30)
    rig.queue.enter(one, 99, 1)
    rig.queue.done(one, 0, failed=False)
    assert given(one) == [0, 99]
    rig.queue.done(one, 99, failed=False)
    rig.queue.done(one, 1, failed=False)
    have = given(one)[-1]
    for ticket in range(have, 2, -1):
        rig.queue.given_back(one, ticket, 0)
    one.given.clear()
    journal.ran(1, 0.05)
    for ticket in (2, 3, 4):
        rig.queue.done(one, ticket, failed=False)
    assert given(one) == [3, 4, 5]


def test_a_worker_that_gave_everything_back_is_free() -> None:
    rig, one, _ = begin(3)
    rig.queue.done(one, 0, failed=False)
    rig.queue.done(one, 1, failed=False, renew="it raised SystemExit(1)")
    for ticket in (3, 2):
        rig.queue.given_back(one, ticket, 0)
    assert rig.renewed == [(0, "it raised SystemExit(1)")]
    rig.queue.worker_ready(rig.worker(0))
    assert given(one)[-1] == 2


@pytest.mark.parametrize("asked", [False, True])
def test_what_a_worker_had_not_begun_when_it_died_is_first_again_and_not_lost(asked: bool) -> None:
    rig, one, journal = begin(30)
    rig.queue.done(one, 0, failed=False)
    journal.begun = one.numbers[2]
    journal.kept = {one.numbers[1]: "done"}
    if asked:
        rig.queue.overdue(one, 2, "late")
    rig.queue.worker_down(rig.worker(0), "killed")
    begun = (2, "late", Loss.ASKED) if asked else (2, "killed", Loss.DIED)
    assert [lost for lost in one.lost if lost[2] is not Loss.NOT_BEGUN] == [begun]
    back = [ticket for ticket, _, loss in one.lost if loss is Loss.NOT_BEGUN]
    assert sorted(back) == list(range(3, 11))
    assert one.returned == [(1, "done")]
    empty: list[bool] = []
    rig.queue.call_when_empty(lambda: empty.append(True))
    rig.queue.worker_ready(rig.worker(0))
    rig.queue.done(one, 11, failed=False)
    one.given.clear()
    for ticket in back:
        rig.queue.enter(one, ticket, 0, again=True, in_line=True)
    for ticket in (12, *range(3, 11), *range(13, 31)):
        assert not empty
        rig.queue.done(one, ticket, failed=False)
    assert given(one) == [*range(3, 11), *range(13, 31)]
    assert empty
    assert rig.queue.stats().failed == 1


def test_what_was_cancelled_after_its_worker_died_is_forgotten() -> None:
    rig, one, _ = begin(2)
    rig.queue.done(one, 0, failed=False)
    rig.queue.worker_down(rig.worker(0), "killed")
    assert rig.queue.queued == 2
    for ticket in (1, 2):
        rig.queue.done(one, ticket, failed=True)
    assert (rig.queue.queued, rig.queue.stats().failed) == (0, 0)


def test_a_worker_is_not_ended_for_a_task_that_it_has_not_begun() -> None:
    rig, one, journal = begin(3)
    rig.queue.done(one, 0, failed=False)
    journal.begun = one.numbers[1]
    rig.queue.overdue(one, 2, "late")
    assert rig.ended == []
    journal.begun = one.numbers[2]
    rig.passes(0.02)
    assert rig.ended == [(0, "late")]


def test_a_task_that_is_cancelled_before_it_began_counts_as_neither_run_nor_failed() -> None:
    rig, one, _ = begin(3)
    rig.queue.done(one, 0, failed=False)
    rig.queue.done(one, 2, failed=True)
    stats = rig.queue.stats()
    assert (stats.completed, stats.failed, stats.run.count, stats.running) == (1, 0, 1, 1)


def test_the_memory_of_a_worker_that_has_died_is_released_as_soon_as_it_is_read() -> None:
    rig, one, journal = begin(2)
    journal.begun = one.numbers[0]
    journal.kept[one.numbers[0]] = "result"
    known = weakref.ref(journal)
    del journal
    rig.queue.worker_down(rig.worker(0), "killed")
    assert one.returned == [(0, "result")]
    assert known() is None
