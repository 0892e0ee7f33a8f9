"""The router with real sockets and nodes in this process: who gets what, and what is never lost."""

import errno
import resource
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from actors.routing import (
    AcceptPaused,
    AcceptResumed,
    Dropped,
    HandOverFailed,
    LeastConnections,
    ListenFailed,
    Listening,
    NodeSuspect,
    NodeTrusted,
    PolicyFailed,
    Redispatched,
    RoundRobin,
    Router,
    Snapshot,
    Sticky,
    ip,
    listen,
    query,
)
from tests.routing.conftest import Rig
from tests.routing.rig import FakePlace, reset


def totals(router: Router) -> list[int]:
    return [place.total for place in router.snapshot().places]


def accepted(rig: Rig, router: Router, count: int) -> None:
    rig.loop.until(lambda: router.snapshot().accepted >= count, f"{count} accepted")


def test_a_listening_router_says_where_and_how(rig: Rig) -> None:
    router = rig.router()
    assert rig.facts == [
        Listening(
            "127.0.0.1:0",
            f"127.0.0.1:{router.port}",
            LeastConnections(),
            "web",
            beyond_loopback=False,
        )
    ]
    assert router.address == f"127.0.0.1:{router.port}"
    assert router.port > 0


def test_without_a_node_nothing_is_accepted_and_nobody_is_refused(rig: Rig) -> None:
    router = rig.router()
    rig.connect(router, 5)
    rig.loop.settle()
    assert router.snapshot().accepted == 0
    assert not router.snapshot().accepting
    (place,) = rig.join(router)
    accepted(rig, router, 5)
    assert len(place.got) == 5


@pytest.mark.parametrize("policy", [LeastConnections(), RoundRobin()], ids=repr)
def test_120_short_connections_one_after_another_are_30_for_each_of_4_nodes(
    rig: Rig, policy: LeastConnections | RoundRobin
) -> None:
    router = rig.router(policy)
    rig.join(router, 4, brief=True)
    for number in range(1, 121):
        with rig.connect(router)[0]:
            accepted(rig, router, number)
    assert totals(router) == [30, 30, 30, 30]


@pytest.mark.parametrize("prompt", [True, False], ids=["prompt", "one ack at a time"])
@pytest.mark.parametrize("credit", [1, 8])
def test_a_burst_of_120_connections_is_30_for_each_of_4_nodes(
    rig: Rig, credit: int, *, prompt: bool
) -> None:
    router = rig.router(credit=credit)
    places = rig.join(router, 4, prompt=prompt)
    rig.connect(router, 120)
    accepted(rig, router, 120)
    answered = 0
    while not prompt and answered < 120:
        # The first node answers as fast as it can, the last one only when no other owes anything.
        place = next(p for p in places if any(n in p.socks for n in p.got[len_acked(router, p) :]))
        router.acknowledged(place.name, place.got[len_acked(router, place)])
        answered += 1
    assert totals(router) == [30, 30, 30, 30]
    assert [place.open for place in router.snapshot().places] == [30, 30, 30, 30]


def len_acked(router: Router, place: FakePlace) -> int:
    return next(p.open for p in router.snapshot().places if p.name == place.name)


def test_long_lived_connections_stay_within_one_of_each_other(rig: Rig) -> None:
    router = rig.router()
    places = rig.join(router, 3)
    for number in range(1, 41):
        rig.connect(router)
        accepted(rig, router, number)
        if number % 5 == 0:
            busiest = max(places, key=lambda place: len(place.socks))
            busiest.finish(next(iter(busiest.socks)))
    spread = [place.open for place in router.snapshot().places]
    assert max(spread) - min(spread) <= 1


def test_unacknowledged_connections_of_a_dead_node_go_to_another(rig: Rig) -> None:
    router = rig.router()
    hung, healthy = rig.join(router, 2)
    hung.prompt = False
    client = rig.connect(router)[0]
    accepted(rig, router, 1)
    assert len(hung.got) == 1
    hung.close()  # as the kernel does when its process dies
    router.left(hung, dead=True)
    assert len(healthy.got) == 1
    client.sendall(b"ping")
    assert healthy.socks[healthy.got[0]].recv(4) == b"ping"
    assert rig.told(Redispatched) == [Redispatched("127.0.0.1:0", "web-0", 1)]


def test_while_a_hung_node_lives_what_it_was_handed_is_nobody_elses(rig: Rig) -> None:
    router = rig.router()
    hung, healthy = rig.join(router, 2)
    hung.prompt = False
    rig.connect(router, 2)
    accepted(rig, router, 2)
    rig.loop.advance(60)
    assert (len(hung.got), len(healthy.got)) == (1, 1)
    router.left(hung, dead=False)
    rig.loop.advance(60)
    assert len(healthy.got) == 1


@pytest.mark.parametrize("credit", [1, 3])
def test_a_hung_node_costs_at_most_its_credit(rig: Rig, credit: int) -> None:
    router = rig.router(credit=credit)
    hung, *_ = rig.join(router, 4)
    hung.prompt = False
    for number in range(1, 61):
        rig.connect(router)
        accepted(rig, router, number)
        rig.loop.advance(0.05)
    assert 1 <= len(hung.got) <= credit
    assert sum(totals(router)) == 60


def test_a_node_late_by_a_moment_gives_its_queue_away_and_is_suspect_only_later(rig: Rig) -> None:
    router = rig.router()
    hung, healthy = rig.join(router, 2)
    hung.prompt = False
    rig.connect(router, 8)
    accepted(rig, router, 8)
    assert (len(hung.got), len(healthy.got)) == (1, 4)
    rig.loop.advance(0.2)
    assert (len(hung.got), len(healthy.got)) == (1, 7)
    assert rig.told(NodeSuspect) == []
    rig.loop.advance(3)
    (fact,) = rig.told(NodeSuspect)
    assert isinstance(fact, NodeSuspect)
    assert (fact.node, fact.unacknowledged) == ("web-0", 1)
    assert 2 <= fact.seconds < 2.2


def test_a_suspect_node_is_trusted_again_when_it_acknowledges(rig: Rig) -> None:
    router = rig.router()
    hung, healthy = rig.join(router, 2)
    hung.prompt = False
    rig.connect(router, 2)
    accepted(rig, router, 2)
    rig.loop.advance(3)
    assert [place.suspect for place in router.snapshot().places] == [True, False]
    hung.prompt = True
    router.acknowledged(hung.name, hung.got[0])
    assert rig.told(NodeTrusted) == [NodeTrusted("127.0.0.1:0", "web-0")]
    rig.connect(router, 2)
    accepted(rig, router, 4)
    assert (len(hung.got), len(healthy.got)) == (2, 2)


def test_when_all_nodes_hang_the_first_to_answer_gets_what_waited(rig: Rig) -> None:
    router = rig.router()
    first, second = rig.join(router, 2, prompt=False)
    rig.connect(router, 6)
    accepted(rig, router, 6)
    rig.loop.advance(5)
    assert router.snapshot().pending == 4
    second.prompt = True
    router.acknowledged(second.name, second.got[0])
    assert (len(first.got), len(second.got)) == (1, 5)


def test_pending_is_bounded_and_the_backlog_holds_the_rest(rig: Rig) -> None:
    router = rig.router(max_pending=10)
    (place,) = rig.join(router, prompt=False)
    rig.connect(router, 30)
    rig.loop.settle()
    stats = router.snapshot()
    assert (stats.accepted, stats.accepting) == (11, False)  # ten wait, one is the node's credit
    place.prompt = True
    router.acknowledged(place.name, place.got[0])
    accepted(rig, router, 30)
    assert len(place.got) == 30


def test_max_connections_is_honoured_and_the_next_client_waits_for_a_free_place(rig: Rig) -> None:
    router = rig.router(max_connections=5)
    places = rig.join(router, 2)
    rig.connect(router, 11)
    accepted(rig, router, 11)
    assert [len(place.got) for place in places] == [5, 5]
    assert router.snapshot().pending == 1
    places[1].finish(places[1].got[0])
    assert [len(place.got) for place in places] == [5, 6]


def test_a_refused_connection_goes_to_another_node(rig: Rig) -> None:
    router = rig.router()
    full, healthy = rig.join(router, 2)
    full.prompt = False
    client = rig.connect(router)[0]
    accepted(rig, router, 1)
    full.refuse(full.got[0])
    assert len(healthy.got) == 1
    client.sendall(b"hi")
    assert healthy.socks[healthy.got[0]].recv(2) == b"hi"


def test_a_node_that_always_refuses_is_asked_again_in_a_while_and_not_in_a_spin(rig: Rig) -> None:
    router = rig.router()
    (place,) = rig.join(router, prompt=False)
    rig.connect(router)
    accepted(rig, router, 1)
    for asked in range(1, 4):
        assert len(place.got) == asked
        place.refuse(place.got[-1])
        rig.loop.settle()
        assert len(place.got) == asked
        rig.loop.advance(0.1)


def test_a_node_that_cannot_be_reached_loses_nothing(rig: Rig) -> None:
    router = rig.router()
    broken, healthy = rig.join(router, 2)
    broken.broken = BrokenPipeError(errno.EPIPE, "link down")
    rig.connect(router, 4)
    accepted(rig, router, 4)
    assert len(healthy.got) == 4
    assert isinstance(rig.told(HandOverFailed)[0], HandOverFailed)


def test_a_draining_node_gets_no_more_but_still_closes_what_it_has(rig: Rig) -> None:
    router = rig.router()
    leaving, staying = rig.join(router, 2)
    rig.connect(router, 4)
    accepted(rig, router, 4)
    router.left(leaving, dead=False)
    rig.connect(router, 4)
    accepted(rig, router, 8)
    assert (len(leaving.got), len(staying.got)) == (2, 6)
    leaving.finish(leaving.got[0])
    assert router.snapshot().places[0].open == 1
    router.left(leaving, dead=True)
    assert [place.name for place in router.snapshot().places] == ["web-1"]


def test_a_new_node_takes_over_the_slot_of_one_that_drains(rig: Rig) -> None:
    router = rig.router(Sticky(ip()))
    (old,) = rig.join(router)
    rig.connect(router)
    accepted(rig, router, 1)
    old.prompt = False
    rig.connect(router)
    accepted(rig, router, 2)
    new = FakePlace(router, "web-0b", 0)
    rig.places.append(new)
    router.joined(new)
    rig.connect(router)
    accepted(rig, router, 3)
    assert (len(old.got), len(new.got)) == (2, 1)
    router.acknowledged(old.name, old.got[1])
    assert [place.open for place in router.snapshot().places] == [2, 1]


def test_a_restart_of_the_only_node_loses_neither_port_nor_backlog(rig: Rig) -> None:
    router = rig.router()
    (place,) = rig.join(router)
    port = router.port
    router.left(place, dead=True)
    rig.connect(router, 3)
    rig.loop.settle()
    assert router.snapshot().accepted == 0
    again = FakePlace(router, "web-0", 0)
    rig.places.append(again)
    router.joined(again)
    accepted(rig, router, 3)
    assert (router.port, len(again.got)) == (port, 3)


def test_a_connection_on_which_three_nodes_died_is_closed(rig: Rig) -> None:
    router = rig.router()
    rig.join(router, 4, prompt=False)
    client = rig.connect(router)[0]
    accepted(rig, router, 1)
    for _ in range(3):
        place = next(place for place in rig.places if place.got)
        place.close()
        place.got.clear()
        router.left(place, dead=True)
    assert client.recv(1) == b""
    assert rig.told(Dropped) == [Dropped("127.0.0.1:0", 3)]


def test_answers_for_unknown_connections_and_nodes_are_ignored(rig: Rig) -> None:
    router = rig.router()
    rig.join(router)
    for answer in (router.acknowledged, router.refused, router.closed):
        answer("web-0", 99)
        answer("nobody", 1)
    assert totals(router) == [0]


def test_closed_counts_as_acknowledged(rig: Rig) -> None:
    router = rig.router()
    (place,) = rig.join(router, prompt=False)
    rig.connect(router)
    accepted(rig, router, 1)
    place.finish(place.got[0])
    (stats,) = router.snapshot().places
    assert (stats.unacknowledged, stats.open) == (0, 0)


def test_a_node_in_this_process_may_acknowledge_a_thousand_at_once(rig: Rig) -> None:
    router = rig.router(max_pending=2000)
    (place,) = rig.join(router, prompt=False)
    rig.connect(router, 400)
    accepted(rig, router, 400)
    place.prompt = True
    router.acknowledged(place.name, place.got[0])
    assert len(place.got) == 400


def test_accepted_sockets_do_not_delay_and_do_not_block(rig: Rig) -> None:
    router = rig.router()
    (place,) = rig.join(router)
    rig.connect(router)
    accepted(rig, router, 1)
    sock = place.socks[place.got[0]]
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    with pytest.raises(BlockingIOError):
        sock.recv(1)


def test_a_port_in_use_is_one_clear_error_and_can_be_tried_again(rig: Rig) -> None:
    router = rig.router()
    (place,) = rig.join(router)
    taken = Router(listen("app:handle", f"127.0.0.1:{router.port}"), rig.loop)
    with pytest.raises(ListenFailed) as caught:
        taken.open()
    assert caught.value.errno == errno.EADDRINUSE
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{router.port}: Address already in use (EADDRINUSE)"
    )
    rig.connect(router)
    accepted(rig, router, 1)
    assert len(place.got) == 1
    router.close()
    taken.open()
    taken.close()


def test_running_out_of_descriptors_pauses_accepting_and_is_told_once(rig: Rig) -> None:
    router = rig.router()
    (place,) = rig.join(router)
    rig.connect(router, 3)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        rig.loop.poll()
        for _ in range(5):
            rig.loop.settle()
            rig.loop.advance(0.5)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert rig.told(AcceptPaused) == [AcceptPaused("127.0.0.1:0", errno.EMFILE, 0.5)]
    assert place.got == []
    rig.loop.advance(0.5)
    accepted(rig, router, 3)
    assert len(place.got) == 3
    assert rig.told(AcceptResumed) == [AcceptResumed("127.0.0.1:0")]


def test_a_client_that_aborts_in_the_backlog_disturbs_nobody(rig: Rig) -> None:
    router = rig.router()
    early = rig.connect(router)[0]
    reset(early)
    rig.connect(router)
    (place,) = rig.join(router)
    accepted(rig, router, 2)
    assert rig.told(AcceptPaused) == []
    assert len(place.got) == 2


def test_closing_the_router_closes_what_no_node_has(rig: Rig) -> None:
    router = rig.router()
    (place,) = rig.join(router, prompt=False)
    first, second = rig.connect(router, 2)
    accepted(rig, router, 2)
    router.close()
    assert second.recv(1) == b""
    place.socks[place.got[0]].sendall(b"still mine")
    assert first.recv(10) == b"still mine"
    assert (rig.loop.watched, rig.loop.timers) == (0, 0)


def test_a_socket_that_was_given_is_used_and_its_path_is_left(rig: Rig, tmp_path: Path) -> None:
    given = socket.socket(socket.AF_UNIX)
    given.bind(f"{tmp_path}/s")
    given.listen()
    router = Router(listen("app:handle", f"unix:{tmp_path}/s"), rig.loop, given=given)
    router.open()
    place = FakePlace(router, "web-0", 0)
    router.joined(place)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp_path}/s")
        accepted(rig, router, 1)
    router.close()
    place.close()
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_after_it_stops_listening_what_was_accepted_is_still_handed_over(rig: Rig) -> None:
    router = rig.router()
    (place,) = rig.join(router, prompt=False)
    rig.connect(router, 3)
    accepted(rig, router, 3)
    port = router.port
    router.stop_listening()
    place.prompt = True
    router.acknowledged(place.name, place.got[0])
    assert len(place.got) == 3
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_the_clock_stands_still_when_nobody_owes_anything(rig: Rig) -> None:
    router = rig.router()
    rig.join(router, 2)
    rig.connect(router, 2)
    accepted(rig, router, 2)
    rig.loop.advance(1)
    assert rig.loop.timers == 0


@dataclass(frozen=True)
class Raises:
    """A user's policy with a bug."""

    def choose(self, nodes: Sequence[Snapshot], key: bytes | None) -> Snapshot | None:
        raise KeyError(key, len(nodes))


@dataclass(frozen=True)
class Nonsense:
    """A user's policy that ignores who may be chosen."""

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
    accepted(rig, router, 4)
    assert totals(router) == [2, 2]
    (fact,) = rig.told(PolicyFailed)
    assert isinstance(fact, PolicyFailed)
    assert isinstance(fact.error, KeyError)


def test_a_policy_that_chooses_a_node_that_is_leaving_is_not_obeyed(rig: Rig) -> None:
    router = rig.router(Nonsense())
    leaving, _ = rig.join(router, 2)
    router.left(leaving, dead=False)
    rig.connect(router, 2)
    accepted(rig, router, 2)
    assert totals(router) == [0, 2]
    (fact,) = rig.told(PolicyFailed)
    assert isinstance(fact, PolicyFailed)
    assert "which may not get a connection now" in str(fact.error)


def test_users_may_write_a_policy(rig: Rig) -> None:
    router = rig.router(Last())
    rig.join(router, 3)
    rig.connect(router, 4)
    accepted(rig, router, 4)
    assert totals(router) == [0, 0, 4]


def test_sticky_by_ip_needs_no_byte_of_the_client(rig: Rig) -> None:
    router = rig.router(Sticky(ip()))
    rig.join(router, 4)
    rig.connect(router, 12)
    accepted(rig, router, 12)
    assert sorted(totals(router)) == [0, 0, 0, 12]


def rooms(rig: Rig, router: Router, names: Sequence[str]) -> list[str]:
    """Connect once for each room and return which node got it."""
    owners = []
    for name in names:
        before = Counter({place.name: len(place.got) for place in rig.places})
        client = rig.connect(router)[0]
        client.sendall(f"GET /ws?room={name} HTTP/1.1\r\n\r\n".encode())
        accepted(rig, router, before.total() + 1)
        rig.loop.until(lambda: not router.snapshot().peeking, name)
        owners.append(next(p.name for p in rig.places if len(p.got) > before[p.name]))
    return owners


def test_one_room_stays_on_one_node_and_comes_back_to_its_slot(rig: Rig) -> None:
    router = rig.router(Sticky(query("room")))
    places = rig.join(router, 4)
    names = [f"room-{number}" for number in range(16)]
    before = rooms(rig, router, names)
    assert rooms(rig, router, names) == before
    assert len(set(before)) > 1
    gone = next(place for place in places if place.name == before[0])
    router.left(gone, dead=True)
    away = rooms(rig, router, names)
    moved = [old for old, new in zip(before, away, strict=True) if old != new]
    assert set(moved) == {gone.name}
    router.joined(gone)
    assert rooms(rig, router, names) == before


def test_a_keyed_connection_waits_for_a_late_owner_and_leaves_a_suspect_one(rig: Rig) -> None:
    router = rig.router(Sticky(ip()))
    places = rig.join(router, 2, prompt=False)
    rig.connect(router, 3)
    accepted(rig, router, 3)
    owner = next(place for place in places if place.got)
    other = next(place for place in places if place is not owner)
    rig.loop.advance(0.5)
    assert (len(owner.got), len(other.got)) == (1, 0)
    rig.loop.advance(3)
    assert (len(owner.got), len(other.got)) == (1, 1)
