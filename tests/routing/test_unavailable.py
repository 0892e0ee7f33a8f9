"""A listener without any ready node: clients wait a while, and are then told."""

from __future__ import annotations

import math
import socket
from itertools import product
from typing import Any

import pytest

from actors.routing import (
    AnyRouter,
    Available,
    BadListener,
    LeastConnections,
    ReusePort,
    Sticky,
    Unavailable,
    asgi,
    ip,
    key_from,
    listen,
    new_router,
)
from tests.routing.certificates import Certified
from tests.routing.conftest import Rig
from tests.routing.socket_nodes import AttachedNode

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 19\r\nretry-after: 5\r\nconnection: close\r\n\r\nService Unavailable"
)


def answer(rig: Rig, client: socket.socket) -> bytes:
    """Receive until the router ends the connection."""
    client.setblocking(False)
    said = [b""]

    def ended() -> bool:
        try:
            part = client.recv(4096)
        except BlockingIOError:
            return False
        said.append(part)
        return not part

    rig.loop.until(ended, "the end of an answer")
    return b"".join(said)


def unanswered(rig: Rig, client: socket.socket) -> bool:
    rig.loop.settle()
    client.setblocking(False)
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    return False


@pytest.mark.parametrize("policy", [None, Sticky(ip()), Sticky(key_from("query:room"))])
def test_clients_without_a_node_are_answered_after_a_while_and_served_as_soon_as_there_is_one(
    rig: Rig, policy: Sticky | None
) -> None:
    router = rig.router(spec=listen(asgi("a:b"), "127.0.0.1:0", policy=policy))
    (node,) = rig.join(router)
    router.remove_node(node, dead=True)
    first, second, third = rig.connect(router, 3)
    for client in (first, second):
        client.sendall(REQUEST)
    rig.loop.advance(4.9)
    assert unanswered(rig, first)
    rig.loop.advance(0.2)
    assert answer(rig, first) == answer(rig, second) == ANSWER
    assert unanswered(rig, third)  # it has asked nothing yet
    third.sendall(REQUEST)
    assert answer(rig, third) == ANSWER
    assert rig.reported(Unavailable) == [Unavailable("127.0.0.1:0", "web", 5.0)]
    (again,) = rig.join(router)
    assert rig.reported(Available) == [Available("127.0.0.1:0", 3)]
    (served,) = rig.connect(router)
    served.sendall(REQUEST)
    rig.loop.until(lambda: again.got, "a hand-over")
    rig.loop.advance(60)
    assert unanswered(rig, served)


def test_a_node_that_comes_back_soon_finds_the_clients_that_waited(rig: Rig) -> None:
    router = rig.router(spec=listen(asgi("a:b"), "127.0.0.1:0"))
    (node,) = rig.join(router)
    router.remove_node(node, dead=True)
    (client,) = rig.connect(router)
    client.sendall(REQUEST)
    rig.loop.advance(4)
    (again,) = rig.join(router)
    rig.loop.until(lambda: again.got, "a hand-over")
    rig.loop.advance(60)
    assert unanswered(rig, client)
    assert rig.facts[1:] == []


def test_what_was_accepted_before_the_last_node_died_is_answered_too(rig: Rig) -> None:
    router = rig.router(spec=listen(asgi("a:b"), "127.0.0.1:0"))
    (node,) = rig.join(router, auto_ack=False)
    clients = rig.connect(router, 3)
    for client in clients:
        client.sendall(REQUEST)
    rig.loop.until(lambda: router.snapshot().accepted == 3)
    router.remove_node(node, dead=True)
    assert router.snapshot().pending == 3
    rig.loop.advance(5)
    assert [answer(rig, client) for client in clients] == [ANSWER] * 3


def test_at_most_a_hundred_are_answered_at_a_time(rig: Rig) -> None:
    router = rig.router(spec=listen(asgi("a:b"), "127.0.0.1:0"))
    rig.loop.advance(5)
    silent = rig.connect(router, 100)
    (client,) = rig.connect(router)
    client.sendall(REQUEST)
    assert unanswered(rig, client)
    assert rig.loop.watched == 100
    rig.loop.advance(1)  # who says nothing is disconnected
    assert answer(rig, client) == ANSWER
    assert answer(rig, silent[0]) == b""


def test_a_client_that_goes_on_sending_gets_the_answer_and_is_disconnected(rig: Rig) -> None:
    router = rig.router(spec=listen(asgi("a:b"), "127.0.0.1:0"))
    rig.loop.advance(5)
    (client,) = rig.connect(router)
    client.sendall(REQUEST + b"x" * 100_000)
    assert answer(rig, client) == ANSWER
    rig.loop.settle()
    client.setblocking(True)
    client.sendall(b"x" * 1000)
    rig.loop.settle()
    rig.loop.advance(1)
    assert rig.loop.watched == 1  # the listening socket


@pytest.mark.parametrize("kind", ["stream", "tls"])
def test_streams_and_tls_are_disconnected(rig: Rig, kind: str, certified: Certified) -> None:
    if kind == "tls":
        spec = listen(asgi("a:b"), "127.0.0.1:0", certfile=certified.certfile)
    else:
        spec = listen("a:b", "127.0.0.1:0")
    router = rig.router(spec=spec)
    rig.loop.advance(5)
    (client,) = rig.connect(router)
    assert answer(rig, client) == b""


@pytest.mark.parametrize("policy", [ReusePort(), LeastConnections()])
def test_the_parent_answers_where_nodes_accept_too(
    rig: Rig, policy: ReusePort | LeastConnections
) -> None:
    router = new_router(
        listen(asgi("a:b"), "127.0.0.1:0", policy=policy), rig.loop.as_loop(), rig.facts.append
    )
    router.open()
    try:
        rig.loop.advance(5)
        with connect_to(router) as client:
            client.sendall(REQUEST)
            assert answer(rig, client) == ANSWER
        with connect_to(router) as late:
            node = AttachedNode()
            router.add_node(node)  # type: ignore[arg-type]  # of the kind that this router has
            late.sendall(REQUEST)
            if isinstance(policy, ReusePort):
                assert node.sent == 1
            assert unanswered(rig, late)
        assert [type(fact) for fact in rig.facts[1:]] == [Unavailable, Available]
        node.close()  # as its process does when it ends
        router.remove_node(node, dead=True)  # type: ignore[arg-type]
        rig.loop.advance(10)
        with connect_to(router) as client:
            client.sendall(REQUEST)
            assert answer(rig, client) == ANSWER
    finally:
        router.close()
        node.close()


def test_a_listener_that_ends_answers_nobody(rig: Rig) -> None:
    router = rig.router(spec=listen(asgi("a:b"), "127.0.0.1:0"))
    rig.loop.advance(5)
    (client,) = rig.connect(router)
    rig.loop.settle()
    router.close()
    assert answer(rig, client) == b""
    rig.loop.advance(60)
    assert rig.loop.watched == 0
    assert rig.loop.timers == 0


@pytest.mark.parametrize("bad", [0, -1, True, "5"])
def test_the_time_is_checked(bad: object) -> None:
    with pytest.raises(BadListener, match="unavailable_after must be more than 0, got"):
        listen("a:b", unavailable_after=bad)  # type: ignore[arg-type]


def test_clients_may_wait_for_ever_if_that_is_wanted(rig: Rig) -> None:
    router = rig.router(spec=listen(asgi("a:b"), "127.0.0.1:0", unavailable_after=math.inf))
    (client,) = rig.connect(router)
    client.sendall(REQUEST)
    rig.loop.advance(1e6)
    assert unanswered(rig, client)


STEPS = tuple(product(("join", "leave", "die", "return"), ("web/0", "web/0+1", "web/1")))
"""What may happen to a node; the second is what the first is replaced by in a reload."""


@pytest.mark.parametrize("policy", [LeastConnections(), ReusePort(), Sticky(ip())], ids=repr)
def test_the_parent_takes_clients_only_while_no_node_is_ready_whatever_has_happened_to_the_nodes(
    rig: Rig, policy: LeastConnections | ReusePort | Sticky
) -> None:
    spec = listen(asgi("a:b"), "127.0.0.1:0", policy=policy)
    for steps in product(STEPS, repeat=3):
        router = new_router(spec, rig.loop.as_loop(), rig.facts.append)
        router.open()
        nodes = {name: AttachedNode(name) for _, name in STEPS}
        try:
            for what, name in steps:
                _step(router, what, nodes[name])
            ready = any(node.ready for node in router.snapshot().nodes)
            rig.facts.clear()
            rig.loop.advance(6)
            assert bool(rig.reported(Unavailable)) != ready, steps
        finally:
            router.close()
            for node in nodes.values():
                node.close()
        assert rig.loop.timers == 0, steps


def _step(router: AnyRouter, what: str, node: AttachedNode) -> None:
    given: Any = node  # of the kind that this router has
    known = {one.name: one.ready for one in router.snapshot().nodes}
    if what == "join":
        router.add_node(given)
    elif what == "return":
        if known.get(node.name) is False:
            router.resume_node(given)
    elif node.name in known:
        router.remove_node(given, dead=what == "die")


def connect_to(router: AnyRouter) -> socket.socket:
    return socket.create_connection(("127.0.0.1", router.port), timeout=30)
