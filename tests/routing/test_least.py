"""What `LeastConnections` chooses is found without a look at every node, and is the same node."""

from collections.abc import Iterator
from typing import Any, cast

from hypothesis import given, settings, strategies as st

from actors.routing import LeastConnections, RouterNode, Snapshot
from actors.routing.balancer.records import Connection, Member
from actors.routing.balancer.snapshots import Snapshots


class FakeNode:
    """A node that has a name and a slot."""

    def __init__(self, slot: int) -> None:
        self.name = f"web-{slot}"
        self.slot = slot


def member(slot: int) -> Member:
    return Member(cast("RouterNode", FakeNode(slot)))


NODES = st.integers(0, 5)
CHANGES = st.one_of(
    st.tuples(st.just("open"), NODES, st.integers(0, 3)),
    st.tuples(st.just("queue"), NODES, st.integers(0, 2)),
    st.tuples(st.just("lag"), NODES, st.sampled_from([0.0, 0.0004, 0.0006, 0.0015, 0.002, 0.004])),
    st.tuples(st.sampled_from(["ready", "late", "suspect", "cooling_down"]), NODES, st.booleans()),
    st.tuples(st.just("choose"), NODES, st.just(0)),
    st.tuples(st.just("later"), NODES, st.sampled_from([0.1, 5.0])),
)


def change(one: Member, what: str, value: float) -> None:
    if what == "open":
        one.open = set(range(int(value)))
    elif what == "queue":
        one.queue.clear()
        one.queue.extend([cast("Connection", None)] * int(value))
    else:
        setattr(one, what, value)


@settings(max_examples=400, deadline=None)
@given(st.integers(1, 6), st.lists(CHANGES, max_size=80), st.none() | st.just(4))
def test_it_is_the_node_that_the_policy_chooses(
    count: int, changes: list[tuple[str, int, float]], limit: int | None
) -> None:
    members = [member(slot) for slot in range(count)]
    snapshots = Snapshots(lambda _slot: limit)
    snapshots.reset(members)
    now, turn = 0.0, 0
    for what, at, value in changes:
        one = members[at % count]
        if what == "later":
            now += value
        elif what != "choose":
            change(one, what, value)
            snapshots.changed(one)
        found = snapshots.least(now)
        assert found == LeastConnections().choose(snapshots.current(now, keyed=False), None)
        if what == "choose" and found is not None:
            turn += 1
            members[found.slot].last_turn = turn
            members[found.slot].open.add(turn + 10)
            snapshots.changed(members[found.slot])


class Counted(list[Snapshot]):
    """A list that counts what is read from it."""

    read = 0

    def __iter__(self) -> Iterator[Snapshot]:
        self.read += len(self)
        return super().__iter__()

    def __getitem__(self, at: Any) -> Any:
        self.read += 1
        return super().__getitem__(at)


def looked_at(count: int) -> int:
    """Return how many snapshots are looked at for 2,000 connections over *count* nodes."""
    members = [member(slot) for slot in range(count)]
    snapshots = Snapshots(lambda _slot: None)
    snapshots.reset(members)
    snapshots.least(0.0)
    snapshots._made = counted = Counted(snapshots._made)
    for turn in range(1, 2_001):
        found = snapshots.least(0.0)
        assert found is not None
        one = members[found.slot]
        one.last_turn = turn
        one.open.add(turn)
        snapshots.changed(one)
    assert {len(one.open) for one in members} <= {2_000 // count, 2_000 // count + 1}
    return counted.read


def test_many_nodes_are_not_looked_at_more_than_few() -> None:
    assert looked_at(256) < 2 * looked_at(4)
