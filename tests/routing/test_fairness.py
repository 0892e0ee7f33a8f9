"""Even distribution, `max_connections`, and that the last descriptors are not used up."""

import errno
import os
import resource
from collections import deque

from actors.routing import AcceptPaused, AcceptResumed, listen
from tests.routing.conftest import Rig
from tests.routing.serving_nodes import FakeNode, accepted, connect, totals


def test_5000_short_connections_over_12_nodes_are_shared_evenly(rig: Rig) -> None:
    router = rig.router()
    nodes = rig.join(router, 12)
    under_way: deque[tuple[FakeNode, int]] = deque()
    for number in range(25, 5001, 25):
        clients = [connect(router) for _ in range(25)]
        accepted(rig.loop, router, number)
        under_way += sorted(
            ((node, n) for node in nodes for n in node.got if n > number - 25),
            key=lambda pair: pair[1],
        )
        while len(under_way) > 30:
            node, oldest = under_way.popleft()
            node.finish(oldest)
        for node in nodes:
            node.got.clear()
        for client in clients:
            client.close()
    counts = totals(router)
    assert sum(counts) == 5000
    assert max(counts) <= 1.05 * min(counts)


def test_a_node_with_room_for_1_and_one_with_room_for_9_hold_1_and_9(rig: Rig) -> None:
    spec = listen("app:handle", "127.0.0.1:0", max_connections=[1, 9])
    router = rig.router(spec=spec)
    one, nine = rig.join(router, 2)
    rig.connect(router, 11)
    accepted(rig.loop, router, 11)
    assert (len(one.socks), len(nine.socks)) == (1, 9)
    assert router.snapshot().pending == 1
    one.finish(one.got[0])
    assert (len(one.got), len(nine.got)) == (2, 9)
    assert router.snapshot().pending == 0


def test_with_all_nodes_full_pending_is_bounded_and_the_backlog_holds_the_rest(rig: Rig) -> None:
    spec = listen("app:handle", "127.0.0.1:0", max_connections=1, max_pending=2)
    router = rig.router(spec=spec)
    (node,) = rig.join(router)
    rig.connect(router, 6)
    accepted(rig.loop, router, 3)
    rig.loop.settle()
    assert (router.snapshot().accepted, router.snapshot().accepting) == (3, False)
    for number in range(5):
        node.finish(node.got[number])
        accepted(rig.loop, router, min(6, 4 + number))
    assert len(node.got) == 6


def test_the_last_descriptors_are_kept_for_what_is_no_connection(rig: Rig) -> None:
    router = rig.router()
    (node,) = rig.join(router, auto_ack=False)
    rig.connect(router, 5)
    free = os.dup(0)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 33, hard))
    try:
        accepted(rig.loop, router, 2)
        for _ in range(3):
            rig.loop.settle()
            rig.loop.advance(0.5)
        os.close(os.dup(0))  # there still is one
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert router.snapshot().accepted == 2
    assert rig.reported(AcceptPaused) == [AcceptPaused("127.0.0.1:0", errno.EMFILE, 0.5)]
    rig.loop.advance(0.5)
    accepted(rig.loop, router, 5)
    rig.loop.advance(5)
    assert rig.reported(AcceptResumed) == [AcceptResumed("127.0.0.1:0")]
    assert len(node.got) == 1


def test_whoever_waits_longest_is_handed_over_first_however_often_it_was_moved(rig: Rig) -> None:
    router = rig.router(max_batch=1)
    nodes = rig.join(router, 3, auto_ack=False)
    clients = rig.connect(router, 30)
    accepted(rig.loop, router, 30)
    while router.snapshot().pending + sum(node.queued for node in router.snapshot().nodes):
        rig.loop.advance(
            0.15
        )  # all are late by now, so that queued connections move to other nodes
        for node in nodes:
            node.acknowledge(node.got[-1])
    order = {
        number: client
        for node in nodes
        for number, client in zip(node.got, node.clients, strict=True)
    }
    assert [order[number] for number in sorted(order)] == [c.getsockname() for c in clients]
