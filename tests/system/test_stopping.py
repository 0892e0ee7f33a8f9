"""Ends that somebody wanted: told as what they are, and not held up by who cannot answer."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from typing import Any

import anyio
import pytest

from actors import System, Topology, asgi, child, dynamic, listen, nodes
from actors._base.events import Event
from actors._system.system import coordinator_of
from actors.keys import cookie, ip
from actors.nodes import RemoteNode
from actors.policies import LeastConnections, Policy, ReusePort, Sticky
from actors.testing import running_system
from tests.nodes.node_actors import Victim


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: what is tested is between processes."""
    return "asyncio", {"use_uvloop": True}


def of_kind(told: list[Event], kind: str) -> list[dict[str, Any]]:
    return [dict(event.facts) for event in told if event.kind == kind]


async def test_actors_of_a_node_that_was_stopped_end_with_it_and_nobody_gave_up() -> None:
    tree = Topology(
        nodes=[nodes("web", count=2)],
        children=[child(Victim, name="static", on="web/1"), dynamic("crowd")],
    )
    with anyio.fail_after(40):
        async with System(tree) as system:
            await system.spawn(Victim, name="spawned", on="web/1")
            await system.supervisor("crowd").start_child(child(Victim, name="one", on="web/1"))
            events = system.events()
            await next(node for node in system.nodes if node.name == "web/1").stop()
            events.close()
            told = [event async for event in events]
    assert of_kind(told, "restarts_given_up") == []
    ended = of_kind(told, "ended_with_node")
    assert sorted((fact["supervisor"], fact["child"], fact["node"]) for fact in ended) == [
        ("crowd", "one", "web/1"),
        ("spawned", "spawned", "web/1"),
        ("system", "static", "web/1"),
    ]


async def test_nodes_that_do_not_answer_are_ended_together_when_the_system_stops() -> None:
    tree = Topology(
        nodes=[nodes("well"), nodes("deaf", count=3, shutdown=0.3)],
        children=[
            child(Victim, name="well", on="well"),
            *[child(Victim, name=f"deaf-{n}", on=f"deaf/{n}", shutdown=0.3) for n in range(3)],
        ],
    )
    with anyio.fail_after(40):
        async with System(tree) as system:
            events = system.events()
            for node in system.nodes:
                if node.group == "deaf":
                    assert node.pid is not None
                    os.kill(node.pid, signal.SIGSTOP)
            began = anyio.current_time()
        took = anyio.current_time() - began
        told = [event async for event in events]
    # One after the other would be 16 s: each is asked, killed, and then waited for.
    assert took < 8
    hung = [(fact["node"], fact["seconds"]) for fact in of_kind(told, "node_hung")]
    assert sorted(hung) == [("deaf/0", 0.6), ("deaf/1", 0.6), ("deaf/2", 0.6)]
    assert of_kind(told, "node_ready") == []
    ends = {fact["child"]: fact["exit"] for fact in of_kind(told, "child_ended")}
    assert ends["well"] == "SHUTDOWN"


async def test_a_node_that_cannot_say_what_it_does_does_not_end_the_stop_out_of_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fails(*_request: Any) -> dict[str, Any]:
        raise LookupError("no such figure")

    tree = Topology(nodes=[nodes("web", kind="thread")], children=[child(Victim, on="web")])
    with anyio.fail_after(20):
        async with System(tree) as system:
            events = system.events()
            monkeypatch.setattr(RemoteNode, "sample", fails)
        told = [event async for event in events]
    ends = {fact["child"]: fact["exit"] for fact in of_kind(told, "child_ended")}
    assert ends["victim"] == "SHUTDOWN"


@pytest.mark.parametrize("policy", [LeastConnections(), ReusePort(), Sticky(ip())], ids=repr)
async def test_nobody_who_connects_while_a_system_stops_is_reset(
    policy: LeastConnections | ReusePort | Sticky,
) -> None:
    """Each is answered, or finds nobody who listens."""
    outcomes: Counter[str] = Counter()
    served = listen(asgi("tests.soak.day_app:app"), "127.0.0.1:0", policy=policy, name="web")
    with anyio.fail_after(60):
        async with running_system(
            Topology(nodes=[nodes("web", count=2)], listeners=[served])
        ) as system:
            (router,) = [one.router for one in coordinator_of(system).listeners]
            assert router is not None
            port = router.port
            asking = [
                threading.Thread(target=ask_until_refused, args=(port, outcomes)) for _ in "123"
            ]
            for thread in asking:
                thread.start()
            while outcomes["answered"] < 50:  # noqa: ASYNC110 - counted by threads
                await anyio.sleep(0.01)
        for thread in asking:
            await anyio.to_thread.run_sync(thread.join)
    assert outcomes.keys() == {"answered", "refused"}


@pytest.mark.parametrize(
    "policy", [LeastConnections(), ReusePort(), Sticky(ip()), Sticky(cookie("room"))], ids=repr
)
async def test_who_has_connected_when_a_system_begins_to_stop_is_answered(policy: Policy) -> None:
    served = listen(asgi("tests.soak.day_app:app"), "127.0.0.1:0", policy=policy, name="web")
    stopping, answers = threading.Event(), []

    def ask(sock: socket.socket) -> None:
        stopping.wait()
        time.sleep(0.1)  # as long as a request takes to another continent
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answers.append(b"".join(iter(lambda: sock.recv(4096), b"")))

    with anyio.fail_after(60):
        tree = Topology(nodes=[nodes("web", kind="thread")], listeners=[served])
        async with running_system(tree) as system:
            (router,) = [one.router for one in coordinator_of(system).listeners]
            assert router is not None
            sock = socket.create_connection(("127.0.0.1", router.port), timeout=20)
            await anyio.sleep(0.1)  # it is accepted
            asking = threading.Thread(target=ask, args=(sock,))
            asking.start()
            stopping.set()
        await anyio.to_thread.run_sync(asking.join)
        sock.close()
    assert b"welcome" in answers[0]


def ask_until_refused(port: int, outcomes: Counter[str]) -> None:
    """Ask over one new connection after another."""
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = b"".join(iter(lambda: sock.recv(4096), b""))
                outcomes["answered" if b"welcome" in answer else f"got {answer!r}"] += 1
        except ConnectionRefusedError:
            outcomes["refused"] += 1
            return
        except OSError as error:
            outcomes[repr(error)] += 1
