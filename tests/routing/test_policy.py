"""Policies and rendezvous hashing: pure functions, by table and by property."""

from collections import Counter

import pytest
from hypothesis import given, strategies as st

from actors.routing import (
    BadListener,
    LeastConnections,
    Policy,
    RoundRobin,
    Snapshot,
    Sticky,
    cookie,
    ip,
    policy_from,
    query,
)
from actors.routing.policy.rendezvous import owner, weight

KEYS = [f"client-{number}".encode() for number in range(10_000)]


def node(
    slot: int,
    *,
    open: int = 0,  # noqa: A002 - the field's name
    pending: int = 0,
    ready: bool = True,
    suspect: bool = False,
    limit: int | None = None,
    last: int = 0,
) -> Snapshot:
    return Snapshot(f"web-{slot}", slot, open, pending, ready, suspect, limit, last)


nodes_of_any_kind = st.lists(
    st.builds(
        node,
        slot=st.integers(0, 20),
        open=st.integers(0, 9),
        pending=st.integers(0, 9),
        ready=st.booleans(),
        suspect=st.booleans(),
        limit=st.none() | st.integers(1, 20),
        last=st.integers(0, 50),
    ),
    max_size=8,
    unique_by=lambda node: node.slot,
)
POLICIES: list[Policy] = [LeastConnections(), RoundRobin(), Sticky(ip())]


@pytest.mark.parametrize(
    "nodes, chosen",
    [
        ([], None),
        ([node(0, open=2), node(1, open=1)], 1),
        ([node(0, open=1), node(1, pending=2)], 0),
        ([node(0, last=7), node(1, last=3)], 1),
        ([node(1), node(0)], 0),
        ([node(0, ready=False), node(1, open=9)], 1),
        ([node(0, suspect=True), node(1, open=9)], 1),
        ([node(0, open=1, limit=1), node(1, open=9)], 1),
        ([node(0, pending=1, limit=1)], None),
        ([node(0, ready=False), node(1, suspect=True)], None),
    ],
)
def test_least_connections(nodes: list[Snapshot], chosen: int | None) -> None:
    found = LeastConnections().choose(nodes, None)
    assert (None if found is None else found.slot) == chosen


@pytest.mark.parametrize(
    "nodes, chosen",
    [
        ([], None),
        ([node(0, open=9, last=1), node(1, last=2)], 0),
        ([node(0, last=1, suspect=True), node(1, last=2)], 1),
    ],
)
def test_round_robin(nodes: list[Snapshot], chosen: int | None) -> None:
    found = RoundRobin().choose(nodes, None)
    assert (None if found is None else found.slot) == chosen


@given(nodes_of_any_kind, st.none() | st.binary(max_size=8))
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_only_an_eligible_node_is_chosen_and_one_is_if_there_is_one(
    policy: Policy, nodes: list[Snapshot], key: bytes | None
) -> None:
    found = policy.choose(nodes, key)
    able = [node for node in nodes if node.eligible]
    assert (found in able) if able else (found is None)


@given(nodes_of_any_kind)
def test_least_connections_never_chooses_a_busier_node(nodes: list[Snapshot]) -> None:
    found = LeastConnections().choose(nodes, None)
    if found is not None:
        loads = [node.open + node.pending for node in nodes if node.eligible]
        assert found.open + found.pending == min(loads)


def place_of(key: bytes, nodes: list[Snapshot]) -> int:
    found = Sticky(ip()).choose(nodes, key)
    assert found is not None
    return found.slot


def test_when_a_slot_restarts_its_10_000_keys_leave_and_all_come_back() -> None:
    healthy = [node(slot) for slot in range(4)]
    before = [place_of(key, healthy) for key in KEYS]
    for down in range(4):
        degraded = [node(slot, ready=slot != down) for slot in range(4)]
        away = [place_of(key, degraded) for key in KEYS]
        assert all(new == old for old, new in zip(before, away, strict=True) if old != down)
        refugees = Counter(new for old, new in zip(before, away, strict=True) if old == down)
        assert min(refugees.values()) > 0.8 * max(refugees.values())
    assert [place_of(key, healthy) for key in KEYS] == before


def test_from_four_to_five_slots_a_fifth_of_the_keys_moves_and_only_to_the_new_one() -> None:
    four, five = [node(slot) for slot in range(4)], [node(slot) for slot in range(5)]
    moved = [(place_of(key, four), place_of(key, five)) for key in KEYS]
    went = [new for old, new in moved if old != new]
    assert set(went) == {4}
    assert 0.17 <= len(went) / len(KEYS) <= 0.23


def test_keys_spread_evenly_over_slots() -> None:
    counts = Counter(owner(key, range(4)) for key in KEYS)
    assert all(0.22 <= count / len(KEYS) <= 0.28 for count in counts.values())


@given(st.binary(max_size=40), st.sets(st.integers(0, 99), min_size=1, max_size=9), st.data())
def test_taking_a_slot_away_moves_only_the_keys_it_had(
    key: bytes, slots: set[int], data: st.DataObject
) -> None:
    had = owner(key, slots)
    gone = data.draw(st.sampled_from(sorted(slots)))
    left = slots - {gone}
    if gone != had:
        assert owner(key, left) == had
    else:
        assert owner(key, left) == max(left, key=lambda slot: weight(key, slot), default=None)


def test_a_slot_may_be_named_by_text_of_at_most_64_bytes() -> None:
    assert weight(b"k", 3) == weight(b"k", "3")
    with pytest.raises(ValueError, match="a slot name has at most 64 bytes, got 'xxx"):
        weight(b"k", "x" * 65)


def test_without_a_key_sticky_does_what_its_fallback_does() -> None:
    nodes = [node(0, open=5, last=1), node(1, open=0, last=2)]
    assert Sticky(ip()).choose(nodes, None) == nodes[1]
    assert Sticky(ip(), fallback=RoundRobin()).choose(nodes, None) == nodes[0]


@pytest.mark.parametrize(
    "text, policy",
    [
        ("least-connections", LeastConnections()),
        ("round-robin", RoundRobin()),
        ("sticky=ip", Sticky(ip())),
        ("sticky=query:room|cookie:sid|ip", Sticky(query("room") | cookie("sid") | ip())),
    ],
)
def test_policies_can_be_written_as_text(text: str, policy: Policy) -> None:
    assert policy_from(text) == policy


@pytest.mark.parametrize(
    "text, message",
    [
        ("round-robbin", "got 'round-robbin'; did you mean 'round-robin'?"),
        ("least-connection", "did you mean 'least-connections'?"),
        ("sticky", "did you mean 'sticky=ip'?"),
        ("zzz", "round-robin, reuse-port or sticky=KEY, got 'zzz'"),
        ("sticky=cooky:sid", "got 'cooky:sid'; did you mean 'cookie'?"),
        ("sticky=cookie:", "the sticky key cookie needs a name, as in cookie:room, got 'cookie:'"),
        ("sticky=query", "the sticky key query needs a name"),
        ("sticky=ip:x", "the sticky key ip takes no name, got 'ip:x'"),
        ("sticky=", "a sticky key is ip, proxy, sni, cookie:NAME[:set], "),
    ],
)
def test_a_wrong_policy_text_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(BadListener) as caught:
        policy_from(text)
    assert message in str(caught.value)


def test_sticky_refuses_what_is_no_key_and_no_policy() -> None:
    with pytest.raises(BadListener, match=r"Sticky needs a key such as .* got 'ip'"):
        Sticky("ip")  # type: ignore[arg-type]
    with pytest.raises(BadListener, match="fallback must be a policy, got 7"):
        Sticky(ip(), fallback=7)  # type: ignore[arg-type]
