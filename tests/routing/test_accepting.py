"""The listening socket: options, errors, running out of descriptors, and closing."""

import errno
import os
import resource
import socket
from pathlib import Path

import pytest

from actors.routing import (
    AcceptPaused,
    AcceptResumed,
    HandOverFailed,
    LeastConnections,
    ListenFailed,
    Router,
    asgi,
    listen,
    new_router,
)
from tests.routing.conftest import Rig
from tests.routing.serving_nodes import FakeNode, accepted, fds, reset
from tests.routing.socket_nodes import AttachedNode


def test_accepted_sockets_do_not_delay_and_do_not_block(rig: Rig) -> None:
    router = rig.router()
    (node,) = rig.join(router)
    rig.connect(router)
    accepted(rig.loop, router, 1)
    sock = node.socks[node.got[0]]
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    with pytest.raises(BlockingIOError):
        sock.recv(1)


def test_a_port_in_use_is_one_clear_error_and_can_be_tried_again(rig: Rig) -> None:
    router = rig.router()
    (node,) = rig.join(router)
    taken = Router(listen("app:handle", f"127.0.0.1:{router.port}"), rig.loop.as_loop(), print)
    with pytest.raises(ListenFailed) as caught:
        taken.open()
    assert caught.value.errno == errno.EADDRINUSE
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1:{router.port}: Address already in use (EADDRINUSE)"
    )
    rig.connect(router)
    accepted(rig.loop, router, 1)
    assert len(node.got) == 1
    router.close()
    taken.open()
    taken.close()


def test_running_out_of_descriptors_pauses_accepting_and_is_told_once(rig: Rig) -> None:
    router = rig.router()
    (node,) = rig.join(router)
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
    assert rig.reported(AcceptPaused) == [AcceptPaused("127.0.0.1:0", errno.EMFILE, 0.5)]
    assert node.got == []
    rig.loop.advance(0.5)
    accepted(rig.loop, router, 3)
    assert len(node.got) == 3
    assert rig.reported(AcceptResumed) == []  # not yet: descriptors may run out again
    rig.loop.advance(5)
    assert rig.reported(AcceptResumed) == [AcceptResumed("127.0.0.1:0")]


def test_a_node_that_joins_while_descriptors_run_out_leaves_none_open(rig: Rig) -> None:
    spec = listen(asgi("a:b"), "127.0.0.1:0", policy=LeastConnections())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = fds()
    for free in range(12):
        router = new_router(spec, rig.loop.as_loop(), rig.facts.append)
        router.open()
        nodes = [AttachedNode(f"web/{slot}") for slot in range(4)]
        for node in nodes[:-1]:
            router.add_node(node)  # type: ignore[arg-type] # of the kind that this router has
        next_free = os.open(os.devnull, os.O_RDONLY)
        os.close(next_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (next_free + free, hard))
        try:
            router.add_node(nodes[-1])  # type: ignore[arg-type] # as above
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            router.close()
            for node in nodes:
                node.close()
        assert fds() == before
    assert rig.reported(HandOverFailed)


def test_a_shortage_that_comes_and_goes_is_told_once(rig: Rig) -> None:
    router = rig.router()
    (node,) = rig.join(router)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in range(1, 5):
        rig.connect(router)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            rig.loop.settle()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        rig.loop.advance(0.5)
        accepted(rig.loop, router, number)
    assert len(node.got) == 4
    assert len(rig.reported(AcceptPaused)) == 1
    rig.loop.advance(5)
    assert len(rig.reported(AcceptResumed)) == 1


def test_a_client_that_aborts_in_the_backlog_disturbs_nobody(rig: Rig) -> None:
    router = rig.router()
    early = rig.connect(router)[0]
    reset(early)
    rig.connect(router)
    (node,) = rig.join(router)
    accepted(rig.loop, router, 2)
    assert rig.reported(AcceptPaused) == []
    assert len(node.got) == 2


def test_closing_the_router_closes_what_no_node_has(rig: Rig) -> None:
    router = rig.router()
    (node,) = rig.join(router, auto_ack=False)
    first, second = rig.connect(router, 2)
    accepted(rig.loop, router, 2)
    router.close()
    assert second.recv(1) == b""
    node.socks[node.got[0]].sendall(b"still mine")
    assert first.recv(10) == b"still mine"
    assert (rig.loop.watched, rig.loop.timers) == (0, 0)


def test_a_socket_that_was_given_is_used_and_its_path_is_left(rig: Rig, tmp_path: Path) -> None:
    given = socket.socket(socket.AF_UNIX)
    given.bind(f"{tmp_path}/s")
    given.listen()
    spec = listen("app:handle", f"fd://{given.fileno()}")
    router = Router(spec, rig.loop.as_loop(), rig.facts.append)
    router.open()
    node = FakeNode(router, "web-0", 0)
    router.add_node(node)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp_path}/s")
        accepted(rig.loop, router, 1)
    router.close()
    node.close()
    given.close()
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_after_it_stops_listening_what_was_accepted_is_still_handed_over(rig: Rig) -> None:
    router = rig.router()
    (node,) = rig.join(router, auto_ack=False)
    rig.connect(router, 3)
    accepted(rig.loop, router, 3)
    port = router.port
    router.stop_listening()
    node.auto_ack = True
    node.acknowledge(node.got[0])
    assert len(node.got) == 3
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_the_clock_stands_still_when_nobody_owes_anything(rig: Rig) -> None:
    router = rig.router()
    rig.join(router, 2)
    rig.connect(router, 2)
    accepted(rig.loop, router, 2)
    rig.loop.advance(1)
    assert rig.loop.timers == 0
