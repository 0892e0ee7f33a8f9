"""The router and its policies: users' own, broken ones, and sticky ones over real sockets."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from actors.routing import PolicyFailed, Router, Snapshot, Sticky, ip, query
from tests.routing.conftest import Rig
from tests.routing.serving_nodes import accepted, totals


@dataclass(frozen=True)
class Raises:
    """A user's policy with a bug."""

    def choose(self, nodes: Sequence[Snapshot], key: bytes | None) -> Snapshot | None:
        raise KeyError(key, len(nodes))


@dataclass(frozen=True)
class Nonsense:
    """A user's policy that chooses nodes that are not eligible."""

    def choose(self, nodes: Sequence[Snapshot], key: bytes | None) -> Snapshot | None:
        return nodes[0] if key is None else None


@dataclass(frozen=True)
class Last:
    """A user's policy that works."""

    def choose(self, nodes: Sequence[Snapshot], key: bytes | None) -> Snapshot | None:
        return nodes[-1] if key is None else None


def test_a_policy_that_raises_is_told_once_and_the_default_serves(rig: Rig) -> None:
    router = rig.router(Raises())
    rig.join(router, 2)
    rig.connect(router, 4)
    accepted(rig.loop, router, 4)
    assert totals(router) == [2, 2]
    (fact,) = rig.reported(PolicyFailed)
    assert isinstance(fact, PolicyFailed)
    assert isinstance(fact.error, KeyError)


def test_a_policy_that_chooses_a_node_that_is_leaving_is_not_obeyed(rig: Rig) -> None:
    router = rig.router(Nonsense())
    leaving, _ = rig.join(router, 2)
    router.remove_node(leaving, dead=False)
    rig.connect(router, 2)
    accepted(rig.loop, router, 2)
    assert totals(router) == [0, 2]
    (fact,) = rig.reported(PolicyFailed)
    assert isinstance(fact, PolicyFailed)
    assert "which may not get a connection now" in str(fact.error)


def test_users_may_write_a_policy(rig: Rig) -> None:
    router = rig.router(Last())
    rig.join(router, 3)
    rig.connect(router, 4)
    accepted(rig.loop, router, 4)
    assert totals(router) == [0, 0, 4]


def test_sticky_by_ip_needs_no_byte_of_the_client(rig: Rig) -> None:
    router = rig.router(Sticky(ip()))
    rig.join(router, 4)
    rig.connect(router, 12)
    accepted(rig.loop, router, 12)
    assert sorted(totals(router)) == [0, 0, 0, 12]


def rooms(rig: Rig, router: Router, names: Sequence[str]) -> list[str]:
    """Connect once for each room and return which node got it."""
    owners = []
    for name in names:
        before = Counter({node.name: len(node.got) for node in rig.nodes})
        client = rig.connect(router)[0]
        client.sendall(f"GET /ws?room={name} HTTP/1.1\r\n\r\n".encode())
        accepted(rig.loop, router, before.total() + 1)
        rig.loop.until(lambda: not router.snapshot().peeking, name)
        owners.append(next(p.name for p in rig.nodes if len(p.got) > before[p.name]))
    return owners


def test_one_room_stays_on_one_node_and_comes_back_to_its_slot(rig: Rig) -> None:
    router = rig.router(Sticky(query("room")))
    nodes = rig.join(router, 4)
    names = [f"room-{number}" for number in range(16)]
    before = rooms(rig, router, names)
    assert rooms(rig, router, names) == before
    assert len(set(before)) > 1
    gone = next(node for node in nodes if node.name == before[0])
    router.remove_node(gone, dead=True)
    away = rooms(rig, router, names)
    moved = [old for old, new in zip(before, away, strict=True) if old != new]
    assert set(moved) == {gone.name}
    router.add_node(gone)
    assert rooms(rig, router, names) == before


def test_a_keyed_connection_waits_for_a_late_owner_and_leaves_a_suspect_one(rig: Rig) -> None:
    router = rig.router(Sticky(ip()))
    nodes = rig.join(router, 2, auto_ack=False)
    rig.connect(router, 3)
    accepted(rig.loop, router, 3)
    owner = next(node for node in nodes if node.got)
    other = next(node for node in nodes if node is not owner)
    rig.loop.advance(0.5)
    assert (len(owner.got), len(other.got)) == (1, 0)
    rig.loop.advance(3)
    assert (len(owner.got), len(other.got)) == (1, 1)
