"""A pool's queue: who gets which worker, and when."""

from __future__ import annotations

import pytest

from actors._pools import Loss
from tests.pools.queue_rig import QueueRig


def test_a_task_gets_a_free_worker_at_once() -> None:
    rig = QueueRig(2)
    one, other = rig.submitter("one"), rig.submitter("other")

    rig.queue.enter(one, 1, 0)
    rig.queue.enter(other, 1, 0)

    assert (one.given, other.given) == ([(1, 0)], [(1, 1)])


def test_the_next_task_gets_whichever_worker_is_free_first() -> None:
    rig, one = QueueRig(2), None
    one = rig.submitter()
    for ticket in (1, 2, 3, 4):
        rig.queue.enter(one, ticket, 0)

    rig.queue.done(one, 2, failed=False)
    rig.queue.done(one, 3, failed=False)

    assert one.given == [(1, 0), (2, 1), (3, 1), (4, 1)]


def test_higher_priorities_are_first_and_within_one_who_came_first() -> None:
    rig = QueueRig()
    one, other = rig.submitter("one"), rig.submitter("other")
    rig.queue.enter(one, 0, 0)
    for submitter, ticket, priority in ((one, 1, 0), (other, 1, 5), (one, 2, 5), (other, 2, -1)):
        rig.queue.enter(submitter, ticket, priority)
    order = []
    running = (one, 0)
    for _ in range(4):
        before = len(one.given), len(other.given)
        rig.queue.done(*running, failed=False)
        running = (
            (one, one.given[-1][0]) if len(one.given) > before[0] else (other, other.given[-1][0])
        )
        order.append((running[0].name, running[1]))

    assert order == [("other", 1), ("one", 2), ("one", 1), ("other", 2)]


def test_free_workers_take_turns() -> None:
    rig = QueueRig(3)
    one = rig.submitter()
    for ticket in range(6):
        rig.queue.enter(one, ticket, 0)
        rig.queue.done(one, ticket, failed=False)

    assert [slot for _, slot in one.given] == [0, 1, 2, 0, 1, 2]


def test_without_turns_the_lowest_slot_is_first() -> None:
    rig = QueueRig(3, turns=False)
    one = rig.submitter()
    for ticket in range(3):
        rig.queue.enter(one, ticket, 0)
        rig.queue.done(one, ticket, failed=False)

    assert [slot for _, slot in one.given] == [0, 0, 0]


def test_workers_that_run_several_tasks_get_them_evenly() -> None:
    rig = QueueRig(2, at_once=2)
    one = rig.submitter()
    for ticket in range(4):
        rig.queue.enter(one, ticket, 0)

    assert sorted(slot for _, slot in one.given) == [0, 0, 1, 1]
    assert len({slot for _, slot in one.given[:2]}) == 2


def test_c68_a_queue_of_none_gives_to_an_idle_worker_and_has_no_room_for_a_second() -> None:
    rig = QueueRig(1, bound=0)
    one = rig.submitter()

    assert rig.queue.has_room
    rig.queue.enter(one, 1, 0)

    assert one.given == [(1, 0)]
    assert one.room == [False]
    rig.queue.done(one, 1, failed=False)
    assert one.room == [False, True]


def test_a_bound_counts_the_tasks_that_wait() -> None:
    rig = QueueRig(1, bound=2)
    one, late = rig.submitter(), rig.submitter("late")
    for ticket in (1, 2, 3):
        rig.queue.enter(one, ticket, 0)
    rig.queue.enter(late, 1, 0)

    assert (one.room, late.room) == ([False], [False])
    rig.queue.withdraw(one, 2)
    assert one.room == [False]
    rig.queue.withdraw(one, 3)
    assert (one.room, late.room) == ([False, True], [False, True])


def test_there_is_no_room_when_the_only_idle_worker_has_died() -> None:
    rig = QueueRig(1, bound=0)
    one = rig.submitter()
    rig.queue.enter(one, 1, 0)
    rig.queue.done(one, 1, failed=False)

    rig.queue.worker_down(rig.worker(0), "killed")
    assert one.room == [False, True, False]
    rig.queue.worker_ready(rig.worker(0))
    assert one.room == [False, True, False, True]


def test_a_withdrawn_task_is_never_given_a_place() -> None:
    rig = QueueRig()
    one = rig.submitter()
    for ticket in (1, 2, 3):
        rig.queue.enter(one, ticket, 0)

    assert rig.queue.withdraw(one, 2)
    assert not rig.queue.withdraw(one, 2)
    rig.queue.done(one, 1, failed=False)

    assert one.given == [(1, 0), (3, 0)]


def test_a_place_that_is_given_up_for_a_withdrawn_task_goes_to_the_next() -> None:
    rig = QueueRig()
    one = rig.submitter()
    rig.queue.enter(one, 1, 0)
    rig.queue.enter(one, 2, 0)

    rig.queue.done(one, 1, failed=True)

    assert one.given == [(1, 0), (2, 0)]


def test_a_task_that_could_not_be_sent_goes_to_another_worker_and_keeps_its_turn() -> None:
    rig = QueueRig(1)
    one = rig.submitter()
    rig.queue.enter(one, 0, 0)
    for ticket in (1, 2, 3):
        rig.queue.enter(one, ticket, 0)
    one.unreachable = {0}

    rig.queue.done(one, 0, failed=False)
    assert [ticket for ticket, _ in one.given] == [0]
    one.unreachable = set()
    rig.passes(0.05)
    for ticket in (1, 2):
        rig.queue.done(one, ticket, failed=False)

    assert [ticket for ticket, _ in one.given] == [0, 1, 2, 3]


def test_a_submitter_that_answers_from_within_does_not_deepen_the_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = QueueRig(1)
    one = rig.submitter()
    rig.queue.enter(one, -1, 0)
    for ticket in range(3000):
        rig.queue.enter(one, ticket, 0)
    given = []

    def refuse(_pool: int, ticket: int, _member: object, _functions: object, _number: int) -> None:
        given.append(ticket)
        rig.queue.done(one, ticket, failed=True)

    monkeypatch.setattr(one, "place_given", refuse)  # as one whose arguments cannot travel
    rig.queue.done(one, -1, failed=False)

    assert given == list(range(3000))


def test_a_task_that_is_tried_again_is_before_all_others_of_its_priority() -> None:
    rig = QueueRig(1)
    one = rig.submitter()
    for ticket, priority in ((1, 0), (2, 0), (3, 1)):
        rig.queue.enter(one, ticket, priority)
    rig.queue.worker_down(rig.worker(0), "killed")

    rig.queue.enter(one, 1, 0, again=True)
    rig.queue.worker_ready(rig.worker(0))
    rig.queue.done(one, 3, failed=False)

    assert [ticket for ticket, _ in one.given] == [1, 3, 1]


@pytest.mark.parametrize(
    "cause, own, beside",
    [
        ("died", Loss.DIED, Loss.DIED),
        ("overdue", Loss.ASKED, Loss.BESIDE),
        ("memory", Loss.MEMORY, Loss.MEMORY),
    ],
)
def test_each_task_of_an_ended_worker_is_lost_for_its_own_reason(
    cause: str, own: Loss, beside: Loss
) -> None:
    rig = QueueRig(1, at_once=2)
    one = rig.submitter()
    for ticket in (1, 2, 3):
        rig.queue.enter(one, ticket, 0)
    worker = rig.worker(0)
    if cause == "overdue":
        rig.queue.overdue(one, 1, "late")
    if cause == "memory":
        rig.queue.over_memory(worker, "late")
        rig.queue.over_memory(worker, "late")

    rig.queue.worker_down(worker, "late")

    assert one.lost == [(1, "late", own), (2, "late", beside)]
    assert rig.ended == ([] if cause == "died" else [(0, "late")])
    rig.queue.worker_ready(worker)
    assert one.given[-1] == (3, 0)


def test_a_worker_that_is_being_ended_gets_nothing() -> None:
    rig = QueueRig(1, at_once=2)
    one = rig.submitter()
    rig.queue.enter(one, 1, 0)
    rig.queue.overdue(one, 1, "late")

    rig.queue.enter(one, 2, 0)

    assert one.given == [(1, 0)]


def test_a_worker_whose_link_failed_is_ended_if_it_does_not_end_by_itself() -> None:
    rig = QueueRig(1)
    one = rig.submitter()
    rig.queue.enter(one, 1, 0)
    rig.queue.broken(one, 1)

    rig.passes(1)

    assert rig.ended == [(0, "the link to it has failed")]
    assert [loss for _, _, loss in one.lost] == [Loss.DIED]


def test_a_worker_that_runs_a_task_again_is_not_ended_for_the_link_of_the_first_try() -> None:
    rig = QueueRig(1)
    one = rig.submitter()
    rig.queue.enter(one, 1, 0)
    rig.queue.broken(one, 1)
    rig.queue.worker_down(rig.worker(0), "killed")
    rig.queue.enter(one, 1, 0, again=True)
    rig.queue.worker_ready(rig.worker(0))

    rig.passes(1)

    assert one.given == [(1, 0), (1, 0)]
    assert rig.ended == []
    assert rig.queue.running == 1


def test_a_worker_is_renewed_after_so_many_tasks_and_only_when_it_runs_nothing() -> None:
    rig = QueueRig(1, at_once=2, recycle=2)
    one = rig.submitter()
    for ticket in (1, 2, 3):
        rig.queue.enter(one, ticket, 0)
    rig.queue.done(one, 1, failed=False)
    assert one.given[-1] == (3, 0)
    rig.queue.done(one, 2, failed=False)
    rig.queue.enter(one, 4, 0)
    assert (rig.renewed, len(one.given)) == ([], 3)

    rig.queue.done(one, 3, failed=False)

    assert rig.renewed == [(0, "it has run 2 tasks")]
    rig.queue.worker_down(rig.worker(0), "renewed")
    rig.queue.worker_ready(rig.worker(0))
    assert one.given[-1] == (4, 0)


def test_a_task_may_have_its_worker_renewed() -> None:
    rig = QueueRig(1)
    one = rig.submitter()
    rig.queue.enter(one, 1, 0)

    rig.queue.done(one, 1, failed=True, renew="it raised SystemExit(3)")

    assert rig.renewed == [(0, "it raised SystemExit(3)")]


def test_a_worker_that_leaves_gets_nothing_and_is_not_renewed() -> None:
    rig = QueueRig(1, recycle=1)
    one = rig.submitter()
    rig.queue.enter(one, 1, 0)
    rig.worker(0).leaving = True

    rig.queue.done(one, 1, failed=False)
    rig.queue.enter(one, 2, 0)

    assert (one.given, rig.renewed) == ([(1, 0)], [])


def test_of_a_submitter_that_is_gone_what_waits_is_dropped_and_what_runs_is_returned() -> None:
    rig = QueueRig(2)
    gone, other = rig.submitter("gone"), rig.submitter("other")
    for ticket in (1, 2, 3):
        rig.queue.enter(gone, ticket, 0)
    rig.queue.enter(other, 1, 0)

    running = rig.queue.submitter_gone(gone)

    assert [(worker.slot, ticket) for worker, ticket in running] == [(0, 1), (1, 2)]
    rig.queue.done(gone, 1, failed=True)
    rig.queue.done(gone, 2, failed=True)
    assert (other.given, len(gone.given), rig.queue.queued) == ([(1, 0)], 2, 0)


def test_the_owner_hears_when_tasks_wait_and_when_a_worker_has_nothing_to_do() -> None:
    rig = QueueRig(1)
    one = rig.submitter()
    rig.loads = 0
    rig.queue.enter(one, 1, 0)
    assert rig.loads == 0
    rig.queue.enter(one, 2, 0)
    assert rig.loads == 1
    rig.queue.done(one, 1, failed=False)
    rig.queue.done(one, 2, failed=False)
    assert rig.loads == 2


def test_figures_count_tasks_and_measure_their_times() -> None:
    rig = QueueRig(2)
    one = rig.submitter()
    for ticket in (1, 2, 3, 4):
        rig.queue.enter(one, ticket, 0)
    rig.time = 2.0
    rig.queue.done(one, 1, failed=False)
    rig.time = 4.0
    rig.queue.done(one, 2, failed=True)

    stats = rig.queue.stats()

    assert (stats.queued, stats.running, stats.completed, stats.failed) == (0, 2, 1, 1)
    assert (stats.wait.count, stats.wait.longest) == (4, 4.0)
    assert (stats.run.count, stats.run.mean, stats.run.longest) == (2, 3.0, 4.0)
    assert 2.0 <= stats.run.p50 <= 2.0 * 1.09
    assert stats.utilisation == 1.0
    assert [
        (one.name, one.node, one.ready, one.running, one.completed) for one in stats.workers
    ] == [
        ("work/0", "work/0", True, 1, 1),
        ("work/1", "work/1", True, 1, 1),
    ]


def test_figures_show_how_much_of_its_time_a_worker_was_busy() -> None:
    rig = QueueRig(1)
    one = rig.submitter()
    rig.time = 3.0
    rig.queue.enter(one, 1, 0)
    rig.time = 4.0
    rig.queue.done(one, 1, failed=False)

    assert rig.queue.stats().utilisation == 0.25


def test_withdrawn_tasks_take_no_memory_and_the_others_keep_their_order() -> None:
    rig = QueueRig()
    one = rig.submitter("one")
    rig.queue.enter(one, 0, 0)
    kept = list(range(1, 6))
    for ticket in kept:
        rig.queue.enter(one, ticket, 0)
    for ticket in range(100, 10_000):
        rig.queue.enter(one, ticket, 5)
        rig.queue.withdraw(one, ticket)
    assert len(rig.queue._heap) < 1_000
    for ticket in range(6):
        rig.queue.done(one, ticket, failed=False)
    assert [ticket for ticket, _ in one.given] == [0, *kept]


def test_it_is_told_at_most_once_a_second_that_the_queue_is_full_and_then_that_it_has_room() -> (
    None
):
    rig = QueueRig(bound=1)
    a = rig.submitter()
    for ticket in range(2):  # one runs, one waits
        rig.queue.enter(a, ticket, 0)
    assert rig.rooms == [False]

    for ticket in range(4):  # room, and full again
        rig.queue.done(a, ticket, failed=False)
        rig.queue.enter(a, ticket + 2, 0)
    assert rig.rooms == [False, True]

    rig.passes(1.0)
    rig.queue.done(a, 4, failed=False)
    rig.queue.enter(a, 6, 0)
    assert rig.rooms == [False, True, False]


def test_when_no_worker_starts_those_who_wait_or_come_are_refused_until_one_does() -> None:
    rig = QueueRig(bound=1)
    a = rig.submitter()
    rig.queue.worker_down(rig.worker(0), "exit code 5")
    rig.queue.enter(a, 1, 0)
    assert a.room == [False]

    rig.queue.refuse_all("no model")
    rig.queue.enter(a, 2, 0)

    assert a.lost == [(1, "no model", Loss.NO_WORKER), (2, "no model", Loss.NO_WORKER)]
    assert a.room == [False, True]
    assert rig.queue.queued == 0
    rig.queue.worker_ready(rig.worker(0))
    rig.queue.enter(a, 3, 0)
    assert a.given == [(3, 0)]


def test_a_task_for_which_every_worker_waits_is_refused() -> None:
    rig = QueueRig(size=2)
    a = rig.submitter()
    rig.queue.enter(a, 1, 0)
    rig.queue.enter(a, 2, 0)
    rig.queue.enter(
        a, 3, 0, asked_by=[(100, "w"), (7, "a")]
    )  # the worker of the first waits, the second's goes on
    assert not a.lost

    rig.queue.enter(a, 4, 0, asked_by=[(101, "w")])

    assert [(ticket, loss) for ticket, _, loss in a.lost] == [(4, Loss.CYCLE)]
    rig.queue.done(a, 2, failed=True)
    assert a.given[-1] == (3, 1)
    rig.queue.enter(
        a, 5, 0, asked_by=[(101, "w")]
    )  # the worker of the third waits for one of its own
    assert [ticket for ticket, _, _ in a.lost] == [4, 5]
    rig.queue.done(a, 3, failed=False)
    rig.queue.enter(a, 6, 0, asked_by=[(100, "w")])
    assert a.given[-1] == (6, 1)
    assert len(a.lost) == 2


def test_a_worker_that_runs_several_is_free_until_each_of_them_waits() -> None:
    rig = QueueRig(size=2, at_once=2)
    a = rig.submitter()
    for ticket in range(4):
        rig.queue.enter(a, ticket, 0)
    waits = [(-100, "first"), (-101, "second"), (-100, "third"), (-101, "fourth")]
    for ticket, waiting in enumerate(waits[:3], 4):
        rig.queue.enter(a, ticket, 0, asked_by=[waiting])
        rig.queue.enter(a, ticket + 10, 0, asked_by=[waiting])  # two tasks of one function
    assert not a.lost
    rig.queue.enter(a, 7, 0, asked_by=waits[3:])
    assert [(ticket, loss) for ticket, _, loss in a.lost] == [(7, Loss.CYCLE)]
    rig.queue.withdraw(a, 4)
    rig.queue.withdraw(a, 14)
    rig.queue.enter(a, 8, 0, asked_by=waits[3:])
    assert len(a.lost) == 1


def test_a_pool_that_may_grow_is_not_stuck() -> None:
    rig = QueueRig()
    a = rig.submitter()
    rig.queue.enter(a, 1, 0)
    rig.may_grow = True

    rig.queue.enter(a, 2, 0, asked_by=[(100, "w")])

    assert not a.lost
    assert rig.queue.queued == 1
