"""The router with real sockets and nodes in this process: who gets what, and what is never lost."""

import errno

import pytest

from actors.routing import (
    ConnectionDropped,
    ConnectionsRedispatched,
    HandOverFailed,
    LeastConnections,
    Listening,
    NodeSuspect,
    NodeTrusted,
    RoundRobin,
    Router,
    Sticky,
    ip,
)
from tests.routing.conftest import Rig
from tests.routing.serving_nodes import FakeNode, accepted, totals


def test_a_listening_router_says_where_and_how(rig: Rig) -> None:
    router = rig.router()
    assert rig.facts == [
        Listening(
            "127.0.0.1:0",
            f"127.0.0.1:{router.port}",
            LeastConnections(),
            "web",
            "its router accepts and hands over",
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
    (node,) = rig.join(router)
    accepted(rig.loop, router, 5)
    assert len(node.got) == 5


@pytest.mark.parametrize("policy", [LeastConnections(), RoundRobin()], ids=repr)
def test_120_short_connections_one_after_another_are_30_for_each_of_4_nodes(
    rig: Rig, policy: LeastConnections | RoundRobin
) -> None:
    router = rig.router(policy)
    rig.join(router, 4, auto_close=True)
    for number in range(1, 121):
        with rig.connect(router)[0]:
            accepted(rig.loop, router, number)
    assert totals(router) == [30, 30, 30, 30]


@pytest.mark.parametrize("auto_ack", [True, False], ids=["auto_ack", "one ack at a time"])
@pytest.mark.parametrize("max_batch", [1, 8])
def test_a_burst_of_120_connections_is_30_for_each_of_4_nodes(
    rig: Rig, max_batch: int, *, auto_ack: bool
) -> None:
    router = rig.router(max_batch=max_batch)
    nodes = rig.join(router, 4, auto_ack=auto_ack)
    rig.connect(router, 120)
    accepted(rig.loop, router, 120)
    answered = 0
    while not auto_ack and answered < 120:
        # The first node answers as fast as it can, the last one only when no other owes anything.
        node = next(p for p in nodes if any(n in p.socks for n in p.got[len_acked(router, p) :]))
        node.acknowledge(node.got[len_acked(router, node)])
        answered += 1
    assert totals(router) == [30, 30, 30, 30]
    assert [node.open for node in router.snapshot().nodes] == [30, 30, 30, 30]


def len_acked(router: Router, node: FakeNode) -> int:
    return next(p.open for p in router.snapshot().nodes if p.name == node.name)


def test_long_lived_connections_stay_within_one_of_each_other(rig: Rig) -> None:
    router = rig.router()
    nodes = rig.join(router, 3)
    for number in range(1, 41):
        rig.connect(router)
        accepted(rig.loop, router, number)
        if number % 5 == 0:
            busiest = max(nodes, key=lambda node: len(node.socks))
            busiest.finish(next(iter(busiest.socks)))
    spread = [node.open for node in router.snapshot().nodes]
    assert max(spread) - min(spread) <= 1


def test_unacknowledged_connections_of_a_dead_node_go_to_another(rig: Rig) -> None:
    router = rig.router()
    hung, healthy = rig.join(router, 2)
    hung.auto_ack = False
    client = rig.connect(router)[0]
    accepted(rig.loop, router, 1)
    assert len(hung.got) == 1
    hung.close()  # as the kernel does when its process dies
    router.remove_node(hung, dead=True)
    assert len(healthy.got) == 1
    client.sendall(b"ping")
    assert healthy.socks[healthy.got[0]].recv(4) == b"ping"
    assert rig.reported(ConnectionsRedispatched) == [
        ConnectionsRedispatched("127.0.0.1:0", "web-0", 1)
    ]
    assert router.snapshot().redispatched == 1


def test_while_a_hung_node_lives_what_it_was_handed_is_nobody_elses(rig: Rig) -> None:
    router = rig.router()
    hung, healthy = rig.join(router, 2)
    hung.auto_ack = False
    rig.connect(router, 2)
    accepted(rig.loop, router, 2)
    rig.loop.advance(60)
    assert (len(hung.got), len(healthy.got)) == (1, 1)
    router.remove_node(hung, dead=False)
    rig.loop.advance(60)
    assert len(healthy.got) == 1


@pytest.mark.parametrize("max_batch", [1, 3])
def test_a_hung_node_costs_one_hand_over(rig: Rig, max_batch: int) -> None:
    router = rig.router(max_batch=max_batch)
    hung, *_ = rig.join(router, 4)
    hung.auto_ack = False
    for number in range(1, 61):
        rig.connect(router)
        accepted(rig.loop, router, number)
        rig.loop.advance(0.05)
    assert len(hung.got) == 1
    assert sum(totals(router)) == 60


def test_what_came_while_a_node_owed_an_answer_is_handed_over_at_once(rig: Rig) -> None:
    router = rig.router(max_batch=3)
    (node,) = rig.join(router, auto_ack=False)
    rig.connect(router, 6)
    accepted(rig.loop, router, 6)
    handed = [len(node.got)]
    while len(node.got) < 6:
        for number in node.got[sum(handed[:-1]) :]:
            assert len(node.got) == sum(handed), "more while it owed some"
            node.acknowledge(number)
        handed.append(len(node.got) - sum(handed))
    assert handed == [1, 3, 2]


def test_a_node_late_by_a_moment_gives_its_queue_away_and_is_suspect_only_later(rig: Rig) -> None:
    router = rig.router()
    hung, healthy = rig.join(router, 2)
    hung.auto_ack = False
    rig.connect(router, 8)
    accepted(rig.loop, router, 8)
    assert (len(hung.got), len(healthy.got)) == (1, 4)
    rig.loop.advance(0.2)
    assert (len(hung.got), len(healthy.got)) == (1, 7)
    assert rig.reported(NodeSuspect) == []
    rig.loop.advance(3)
    (fact,) = rig.reported(NodeSuspect)
    assert isinstance(fact, NodeSuspect)
    assert (fact.node, fact.unacknowledged) == ("web-0", 1)
    assert 2 <= fact.seconds < 2.2


def test_a_suspect_node_is_trusted_again_when_it_acknowledges(rig: Rig) -> None:
    router = rig.router()
    hung, healthy = rig.join(router, 2)
    hung.auto_ack = False
    rig.connect(router, 2)
    accepted(rig.loop, router, 2)
    rig.loop.advance(3)
    assert [node.suspect for node in router.snapshot().nodes] == [True, False]
    hung.auto_ack = True
    hung.acknowledge(hung.got[0])
    assert rig.reported(NodeTrusted) == [NodeTrusted("127.0.0.1:0", "web-0")]
    rig.connect(router, 2)
    accepted(rig.loop, router, 4)
    assert (len(hung.got), len(healthy.got)) == (2, 2)


def test_when_all_nodes_hang_the_first_to_answer_gets_what_waited(rig: Rig) -> None:
    router = rig.router()
    first, second = rig.join(router, 2, auto_ack=False)
    rig.connect(router, 6)
    accepted(rig.loop, router, 6)
    rig.loop.advance(5)
    assert router.snapshot().pending == 4
    second.auto_ack = True
    second.acknowledge(second.got[0])
    assert (len(first.got), len(second.got)) == (1, 5)


def test_pending_is_bounded_and_the_backlog_holds_the_rest(rig: Rig) -> None:
    router = rig.router(max_pending=10)
    (node,) = rig.join(router, auto_ack=False)
    rig.connect(router, 30)
    rig.loop.settle()
    stats = router.snapshot()
    assert (stats.accepted, stats.accepting) == (11, False)  # ten wait, one is the node's
    node.auto_ack = True
    node.acknowledge(node.got[0])
    accepted(rig.loop, router, 30)
    assert len(node.got) == 30


def test_max_connections_is_honoured_and_the_next_client_waits_for_a_free_place(rig: Rig) -> None:
    router = rig.router(max_connections=5)
    nodes = rig.join(router, 2)
    rig.connect(router, 11)
    accepted(rig.loop, router, 11)
    assert [len(node.got) for node in nodes] == [5, 5]
    assert router.snapshot().pending == 1
    nodes[1].finish(nodes[1].got[0])
    assert [len(node.got) for node in nodes] == [5, 6]


def test_a_refused_connection_goes_to_another_node(rig: Rig) -> None:
    router = rig.router()
    full, healthy = rig.join(router, 2)
    full.auto_ack = False
    client = rig.connect(router)[0]
    accepted(rig.loop, router, 1)
    full.refuse(full.got[0])
    assert len(healthy.got) == 1
    assert router.snapshot().refused == 1
    client.sendall(b"hi")
    assert healthy.socks[healthy.got[0]].recv(2) == b"hi"


def test_a_node_that_always_refuses_is_asked_again_in_a_while_and_not_in_a_spin(rig: Rig) -> None:
    router = rig.router()
    (node,) = rig.join(router, auto_ack=False)
    rig.connect(router)
    accepted(rig.loop, router, 1)
    for asked in range(1, 4):
        assert len(node.got) == asked
        node.refuse(node.got[-1])
        rig.loop.settle()
        assert len(node.got) == asked
        rig.loop.advance(0.1)


def test_a_node_that_cannot_be_reached_loses_nothing(rig: Rig) -> None:
    router = rig.router()
    broken, healthy = rig.join(router, 2)
    broken.broken = BrokenPipeError(errno.EPIPE, "link down")
    rig.connect(router, 4)
    accepted(rig.loop, router, 4)
    assert len(healthy.got) == 4
    assert isinstance(rig.reported(HandOverFailed)[0], HandOverFailed)


def test_a_draining_node_gets_no_more_but_still_closes_what_it_has(rig: Rig) -> None:
    router = rig.router()
    leaving, staying = rig.join(router, 2)
    rig.connect(router, 4)
    accepted(rig.loop, router, 4)
    router.remove_node(leaving, dead=False)
    rig.connect(router, 4)
    accepted(rig.loop, router, 8)
    assert (len(leaving.got), len(staying.got)) == (2, 6)
    leaving.finish(leaving.got[0])
    assert router.snapshot().nodes[0].open == 1
    router.remove_node(leaving, dead=True)
    assert [node.name for node in router.snapshot().nodes] == ["web-1"]


def test_a_new_node_takes_over_the_slot_of_one_that_drains(rig: Rig) -> None:
    router = rig.router(Sticky(ip()))
    (old,) = rig.join(router)
    rig.connect(router)
    accepted(rig.loop, router, 1)
    old.auto_ack = False
    rig.connect(router)
    accepted(rig.loop, router, 2)
    new = FakeNode(router, "web-0b", 0)
    rig.nodes.append(new)
    router.add_node(new)
    rig.connect(router)
    accepted(rig.loop, router, 3)
    assert (len(old.got), len(new.got)) == (2, 1)
    old.acknowledge(old.got[1])
    assert [node.open for node in router.snapshot().nodes] == [2, 1]


def test_a_restart_of_the_only_node_loses_neither_port_nor_backlog(rig: Rig) -> None:
    router = rig.router()
    (node,) = rig.join(router)
    port = router.port
    router.remove_node(node, dead=True)
    rig.connect(router, 3)
    rig.loop.settle()
    assert router.snapshot().accepted == 0
    again = FakeNode(router, "web-0", 0)
    rig.nodes.append(again)
    router.add_node(again)
    accepted(rig.loop, router, 3)
    assert (router.port, len(again.got)) == (port, 3)


def test_a_connection_on_which_three_nodes_died_is_closed(rig: Rig) -> None:
    router = rig.router()
    rig.join(router, 4, auto_ack=False)
    client = rig.connect(router)[0]
    accepted(rig.loop, router, 1)
    for _ in range(3):
        node = next(node for node in rig.nodes if node.got)
        node.close()
        node.got.clear()
        router.remove_node(node, dead=True)
    assert client.recv(1) == b""
    assert rig.reported(ConnectionDropped) == [ConnectionDropped("127.0.0.1:0", 3)]
    assert router.snapshot().dropped == 1


def test_answers_for_unknown_connections_and_nodes_are_ignored(rig: Rig) -> None:
    router = rig.router()
    rig.join(router)
    for name in ("web-0", "nobody"):
        router.on_acks(name, [99], [], [])
        router.on_acks(name, [], [99], [])
        router.on_acks(name, [], [], [99])
    assert totals(router) == [0]


def test_closed_counts_as_acknowledged(rig: Rig) -> None:
    router = rig.router()
    (node,) = rig.join(router, auto_ack=False)
    rig.connect(router)
    accepted(rig.loop, router, 1)
    node.finish(node.got[0])
    (stats,) = router.snapshot().nodes
    assert (stats.unacknowledged, stats.open) == (0, 0)


def test_a_node_in_this_process_may_acknowledge_a_thousand_at_once(rig: Rig) -> None:
    router = rig.router(max_pending=2000)
    (node,) = rig.join(router, auto_ack=False)
    rig.connect(router, 400)
    accepted(rig.loop, router, 400)
    node.auto_ack = True
    node.acknowledge(node.got[0])
    assert len(node.got) == 400
