"""Clients that come in the moment in which a listener ends are served, or find nobody; none is reset."""

from __future__ import annotations

import select
import socket
from pathlib import Path
from typing import Any

import pytest

from actors.routing import (
    AnyRouter,
    LeastConnections,
    ReusePort,
    Sticky,
    asgi,
    ip,
    listen,
    new_router,
)
from tests.routing.conftest import Rig
from tests.routing.serving_nodes import accepted
from tests.routing.socket_nodes import AttachedNode

POLICIES = [LeastConnections(), ReusePort(), Sticky(ip())]


def try_to_connect(router: AnyRouter) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex(("127.0.0.1", router.port))
    return sock


def connected(sock: socket.socket) -> bool:
    _, writable, _ = select.select([], [sock], [], 0.1)
    return bool(writable) and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


class Late(AttachedNode):
    """A node in whose last moment a client connects."""

    def __init__(self, router: AnyRouter) -> None:
        super().__init__()
        self._router = router
        self.client: socket.socket | None = None

    def detach_socket(self, listener: str) -> None:
        self.client = try_to_connect(self._router)
        super().detach_socket(listener)


@pytest.mark.parametrize("policy", [LeastConnections(), ReusePort()], ids=repr)
def test_who_comes_after_the_last_was_accepted_is_not_let_in(
    rig: Rig, policy: LeastConnections | ReusePort
) -> None:
    spec = listen(asgi("a:b"), "127.0.0.1:0", policy=policy)
    router = new_router(spec, rig.loop.as_loop(), rig.facts.append)
    router.open()
    node: Any = Late(router)
    router.add_node(node)
    before = try_to_connect(router)
    assert connected(before)
    router.stop_listening()
    if isinstance(policy, LeastConnections):
        assert node.sent == 1
    assert node.client is not None
    _, heard, _ = select.select([], [node.client], [], 0.1)
    assert heard == []  # neither let in nor reset
    for sock in (before, node.client):
        sock.close()
    router.close()
    node.close()


def test_who_waits_in_the_backlog_at_the_end_still_gets_a_node(rig: Rig) -> None:
    router = rig.router()
    (node,) = rig.join(router)
    rig.connect(router, 3)
    router.stop_listening()
    accepted(rig.loop, router, 3)
    rig.loop.until(lambda: len(node.got) == 3, "three hand-overs")


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_the_address_can_be_used_again_at_once(rig: Rig, policy: Any) -> None:
    router = new_router(
        listen(asgi("a:b"), "127.0.0.1:0", policy=policy), rig.loop.as_loop(), rig.facts.append
    )
    router.open()
    port = router.port
    router.close()
    again = new_router(
        listen(asgi("a:b"), f"127.0.0.1:{port}", policy=policy),
        rig.loop.as_loop(),
        rig.facts.append,
    )
    again.open()
    node: Any = AttachedNode()
    if not isinstance(policy, Sticky):
        again.add_node(node)
    client = try_to_connect(again)
    assert connected(client)
    client.close()
    again.close()
    node.close()


def test_the_path_of_the_next_one_stays(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "s"
    spec = listen(asgi("a:b"), f"unix:{path}")
    router, following = (new_router(spec, rig.loop.as_loop(), rig.facts.append) for _ in range(2))
    router.open()

    class Follows(AttachedNode):
        def detach_socket(self, listener: str) -> None:
            following.open()  # as soon as the path is free
            super().detach_socket(listener)

    node: Any = Follows()
    router.add_node(node)
    router.close()
    assert path.is_socket()
    following.close()
    assert not path.exists()
    node.close()
