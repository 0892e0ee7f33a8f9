"""Whose turn it is to accept, as each node decides it; and whom it suspects not to react."""

import pytest

from actors.routing import LeastConnections, Policy, RoundRobin, Sticky, ip
from actors.routing.policy.turn import STALE, Placed, accepts_in_nodes, share_of, turn_of
from actors.routing.scoreboard import ABLE, OUT, WATCHING, Seat
from actors.routing.serving.suspicion import Suspicion

NOW = 10 * STALE
MS = 1_000_000


def seat(
    number: int, open_: int = 0, score: int = 0, *, mark: int = ABLE, ago: int = 5 * MS
) -> Placed:
    return number, Seat(mark=mark, open=open_, accepted=score, score=score, stamp=NOW - ago)


def watches(me: Placed, *others: Placed, by_load: bool = True) -> bool:
    return turn_of(me, others, NOW, by_load=by_load).watch


@pytest.mark.parametrize(
    "policy, applied",
    [(LeastConnections(), True), (RoundRobin(), True), (Sticky(ip()), False)],
    ids=str,
)
def test_nodes_apply_the_policies_without_keys(policy: Policy, applied: bool) -> None:
    assert accepts_in_nodes(policy) is applied


def test_the_node_with_the_fewest_connections_accepts() -> None:
    assert watches(seat(1, 2), seat(2, 3), seat(3, 4))
    assert not watches(seat(1, 4), seat(2, 3), seat(3, 2, mark=WATCHING))


def test_among_equals_it_is_the_one_that_has_had_the_fewest_then_the_lowest_seat() -> None:
    assert watches(seat(3, 2, 7), seat(1, 2, 8), seat(2, 2, 9))
    assert watches(seat(1, 2, 7), seat(2, 2, 7))
    assert not watches(seat(2, 2, 7), seat(1, 2, 7))


def test_round_robin_does_not_ask_how_many_are_open() -> None:
    assert watches(seat(1, 9, 3), seat(2, 0, 4), by_load=False)
    assert not watches(seat(1, 0, 4), seat(2, 9, 3), by_load=False)


def test_among_equals_a_node_that_lags_comes_last() -> None:
    lagging = (1, seat(1)[1]._replace(lag=4 * MS))
    assert not watches(lagging, seat(2, 0, 99))
    assert watches(lagging, seat(2, 1))
    assert watches(lagging, (2, seat(2, 0, 99)[1]._replace(lag=4 * MS))), "here all lag"


@pytest.mark.parametrize("best", [seat(2, mark=OUT), seat(2, ago=STALE + 1)], ids=["out", "stale"])
def test_a_node_that_takes_nothing_or_has_not_looked_is_passed_over(best: Placed) -> None:
    assert watches(seat(1, 5), best)


def test_a_node_that_rests_has_not_looked_and_is_next_all_the_same() -> None:
    number, resting = seat(2, mark=WATCHING, ago=9 * STALE)
    assert not watches(seat(1, 5), (number, resting._replace(resting=1)))


def test_who_is_suspected_by_anyone_is_passed_over_until_it_looks() -> None:
    best = seat(3, 0)
    says_so = seat(2, 9)[0], seat(2, 9)[1]._replace(suspect=3, suspect_stamp=best[1].stamp)
    assert watches(seat(1, 5), says_so, best)
    looked = 3, best[1]._replace(stamp=NOW - 1)
    assert not watches(seat(1, 5), says_so, looked)


def test_the_next_one_is_rung_unless_it_watches_already() -> None:
    asleep, awake = seat(2, 0), seat(2, 0, mark=WATCHING)
    assert turn_of(seat(1, 1), [asleep], NOW, by_load=True)[1:4] == (2, asleep[1].stamp, True)
    assert not turn_of(seat(1, 1), [awake], NOW, by_load=True).ring


def test_one_that_is_full_rings_the_next() -> None:
    turn = turn_of(seat(1, 1, mark=OUT), [seat(2, 5)], NOW, by_load=True)
    assert (turn.watch, turn.best, turn.ring) == (False, 2, True)


def test_who_has_looked_just_now_is_not_rung_if_it_has_as_many_connections() -> None:
    mine = seat(1, 2, 8, mark=WATCHING)
    turn = turn_of(mine, [seat(2, 2, 7, ago=1000)], NOW, by_load=True)
    assert (turn.watch, turn.ring) == (True, False)
    turn = turn_of(mine, [seat(2, 1, 7, ago=1000)], NOW, by_load=True)
    assert (turn.watch, turn.ring) == (False, True), "it has fewer: the shares have to be exact"


@pytest.mark.parametrize(
    "mine, theirs, waiting, share",
    [
        (0, [0, 0, 0], 1, 0),
        (0, [0, 0, 0], 4, 1),  # the three that remain are one for each of the others
        (0, [0, 0, 0], 120, 30),
        (5, [5], 10, 5),
        (7, [5], 10, 4),  # 11 and 5 are 11 and 11 with the six that remain
        (0, [9, 9], 5, 5),
    ],
)
def test_a_node_takes_as_many_as_leave_enough_for_the_others_to_catch_up(
    mine: int, theirs: list[int], waiting: int, share: int
) -> None:
    others = [seat(number, open_) for number, open_ in enumerate(theirs, 2)]
    assert share_of(seat(1, mine)[1], others, waiting, by_load=True) == share


def test_a_node_is_suspected_when_clients_have_waited_and_it_has_not_looked() -> None:
    suspicion = Suspicion()
    for _ in range(100):
        suspicion.timer_was_late(0)
    assert suspicion.patience == pytest.approx(10 * MS, rel=0.01)
    assert not suspicion.clients_wait(3, 7, NOW)
    assert suspicion.open
    assert not suspicion.clients_wait(3, 7, NOW + 9 * MS)
    assert suspicion.clients_wait(3, 7, NOW + 11 * MS)
    assert (suspicion.seat, suspicion.stamp, suspicion.open) == (3, 7, False)


def test_a_node_that_has_looked_or_whom_nobody_waits_for_is_not_suspected() -> None:
    suspicion = Suspicion()
    suspicion.clients_wait(3, 7, NOW)
    assert not suspicion.clients_wait(3, 8, NOW + STALE)
    suspicion.nobody_waits()
    assert not suspicion.clients_wait(3, 8, NOW + 2 * STALE)
    assert suspicion.seat == -1


def test_where_timers_are_late_patience_is_longer() -> None:
    suspicion = Suspicion()
    suspicion.timer_was_late(50 * MS)
    suspicion.clients_wait(3, 7, NOW)
    assert not suspicion.clients_wait(3, 7, NOW + 200 * MS)
    assert suspicion.clients_wait(3, 7, NOW + 211 * MS)
