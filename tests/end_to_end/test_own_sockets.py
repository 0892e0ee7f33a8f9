"""Nodes that get their work from sockets of their own, in whole systems: processes and threads."""

from __future__ import annotations

import os
import resource
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream

from actors import Actor, System, Topology, listen, nodes
from actors._system.control.ps import ps
from actors._system.system import coordinator_of
from actors.nodes import NodeKind
from actors.policies import LeastConnections, ReusePort
from actors.testing import running_system
from tests.leaks import census

PATIENCE = 40.0
ECHO = "tests.end_to_end.echo_handler:echo"
ANYWHERE = "127.0.0.1:0"

pytestmark = pytest.mark.usefixtures("no_leaks")


class Scarce(Actor):
    """Leaves its node only so many descriptors."""

    async def limit(self, more: int) -> int:
        highest = max(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208 - a look at names
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + more, hard))
        return highest


@asynccontextmanager
async def running(topology: Topology) -> AsyncIterator[System]:
    with anyio.fail_after(PATIENCE):
        async with running_system(topology) as system:
            yield system


def router_of(system: System, number: int = 0) -> Any:
    router = coordinator_of(system).listeners[number].router
    assert router is not None
    return router


async def said(stream: ByteStream, word: str = "hello") -> str:
    """Return which node answers on a connection."""
    await stream.send(word.encode())
    name, _, answer = (await stream.receive()).decode().partition(" ")
    assert answer == word
    return name


async def connected(port: int) -> str:
    """Return which node answers on a new connection."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        return await said(stream)


async def eventually(true: Any) -> None:
    while not true():  # noqa: ASYNC110 - what is waited for has no event to give
        await anyio.sleep(0.01)


def web(policy: Any, kind: NodeKind = "process", **options: Any) -> Topology:
    return Topology(
        nodes=[nodes("web", kind=kind, count=2)],
        listeners=[listen(ECHO, ANYWHERE, policy=policy, **options)],
    )


@pytest.mark.parametrize("policy", [ReusePort(), LeastConnections()], ids=str)
async def test_nodes_accept_for_themselves_and_ps_shows_what_they_serve(
    policy: Any,
) -> None:
    async with running(web(policy, "thread")) as system, AsyncExitStack() as stack:
        router = router_of(system)
        names: Counter[str] = Counter()
        while len(names) < 2:
            stream = await stack.enter_async_context(
                await anyio.connect_tcp("127.0.0.1", router.port)
            )
            names[await said(stream)] += 1
        await eventually(
            lambda: {place.name: place.open for place in router.snapshot().nodes} == names
        )
        (shown,) = (await ps(coordinator_of(system)))["listeners"]
        assert (shown["policy"], shown["open"], shown["accepting"]) == (str(policy), names, True)


@pytest.mark.parametrize("policy", [ReusePort(), LeastConnections()], ids=str)
async def test_a_killed_node_comes_back_and_accepts_again(policy: Any) -> None:
    async with running(web(policy)) as system:
        router = router_of(system)
        web0 = coordinator_of(system).nodes["web/0"]
        coordinator_of(system).kill_node("web/0")
        await eventually(lambda: web0.restarts == 1 and web0.ready)
        served: Counter[str] = Counter()
        while not {"web/0", "web/1"} <= served.keys():
            served[await connected(router.port)] += 1


async def test_with_one_node_at_a_time_away_a_shared_socket_refuses_nobody() -> None:
    async with running(web(LeastConnections())) as system:
        router = router_of(system)
        served = 0
        done = anyio.Event()

        async def go_on() -> None:
            nonlocal served
            while not done.is_set():
                await connected(router.port)
                served += 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go_on)
            await system.scale("web", 3)
            await system.scale("web", 1)
            begin = served
            await eventually(lambda: served > begin + 5)
            done.set()
        assert [place.name for place in router.snapshot().nodes] == ["web/0"]


async def test_tcp_of_both_families_unix_and_udp_are_served_by_one_system(tmp_path: Path) -> None:
    name = "tests.routing.udp_handlers:name"
    topology = Topology(
        nodes=[nodes("web", count=2), nodes("dns", kind="thread", count=4)],
        listeners=[
            listen(ECHO, "[::]:0"),
            listen(ECHO, f"unix:{tmp_path}/s", policy=LeastConnections()),
            listen(ECHO, ANYWHERE, policy=ReusePort()),
            listen(name, "udp://127.0.0.1:0", nodes="dns"),
        ],
    )
    async with running(topology) as system:
        both, _, own, udp = (router_of(system, number) for number in range(4))
        for host in ("127.0.0.1", "::1"):
            async with await anyio.connect_tcp(host, both.port) as stream:
                assert (await said(stream)).startswith("web/")
        async with await anyio.connect_unix(f"{tmp_path}/s") as unix:
            assert (await said(unix)).startswith("web/")
        assert (await connected(own.port)).startswith("web/")
        await ask_40(udp.port)
        await eventually(lambda: sum(place.total for place in udp.snapshot().nodes) == 80)
        assert udp.snapshot().dropped == 0
        shown = (await ps(coordinator_of(system)))["listeners"]
        assert [listener["policy"] for listener in shown] == [
            "least-connections",
            "least-connections",
            "reuse-port",
            "sticky=source",
        ]


async def ask_40(port: int) -> None:
    """Ask from 40 sockets, twice: each is answered by one node, and all nodes answer."""
    senders = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(40)]
    try:
        homes: list[list[bytes]] = []
        for _ in range(2):
            for number, sender in enumerate(senders):
                sender.setblocking(False)
                sender.sendto(b"%d" % number, ("127.0.0.1", port))
            answers = []
            for number, sender in enumerate(senders):
                await anyio.wait_readable(sender)
                node, _, said_ = sender.recv(100).partition(b" ")
                assert said_ == b"%d" % number
                answers.append(node)
            homes.append(answers)
        assert homes[0] == homes[1]
        assert set(homes[0]) == {b"dns/0", b"dns/1", b"dns/2", b"dns/3"}
    finally:
        for sender in senders:
            sender.close()


async def test_a_node_short_of_descriptors_passes_clients_on_and_keeps_those_it_has() -> None:
    async with running(web(None)) as system, AsyncExitStack() as stack:
        scarce = await system.spawn(Scarce, on="web/0")
        await scarce.ask(Scarce.limit, 40)
        router = router_of(system)
        streams = [
            await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", router.port))
            for _ in range(40)
        ]
        served = Counter([await said(stream) for stream in streams])
        assert 0 < served["web/0"] < 20 < served["web/1"]
        assert [await said(stream, "still") for stream in streams].count("web/0") == served["web/0"]
        assert [node.restarts for node in coordinator_of(system).nodes.values()] == [0, 0]


async def test_descriptors_are_flat_over_many_connections_and_nodes() -> None:
    async with running(web(ReusePort(), "thread")) as system:
        router = router_of(system)
        served: set[str] = set()
        while len(served) < 2:  # a loop keeps a spare descriptor from its first connection on
            served.add(await connected(router.port))
        await system.scale("web", 3)
        await system.scale("web", 2)
        await eventually(lambda: sum(place.open for place in router.snapshot().nodes) == 0)
        before = census()
        for _ in range(50):
            await connected(router.port)
        await system.scale("web", 3)
        await system.scale("web", 2)
        await eventually(lambda: sum(place.open for place in router.snapshot().nodes) == 0)
        assert census() == before
