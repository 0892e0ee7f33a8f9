"""Listeners of nodes on other machines: each place has a router over its own nodes.

All places are on this machine, so each says in HOST at which address of it that is.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import anyio
import httpx2
import pytest
from websockets.asyncio.client import connect

from actors import LeastConnections, RoundRobin, System, asgi, listen
from actors._base.events import Event
from actors._system.control.ps import listener_facts, ps
from actors._system.system import coordinator_of
from actors.errors import InvalidSpec, ListenFailed
from actors.routing import Listener, Policy, ReusePort
from actors.testing import eventually
from tests.machines.far_listeners import HOSTS, far, free_port, pids_of
from tests.machines.places_of_a_test import kinds, place_of, system_with_events

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.within(120)]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


async def _who(host: str, port: int) -> int:
    """Return the process that serves one connection."""
    with anyio.fail_after(20):
        async with await anyio.connect_tcp(host, port) as stream:
            line = await stream.receive(100)
            await stream.send(b"echo")
            assert await stream.receive(100) == b"echo"
    return int(line)


def _address(system: System) -> tuple[str, int]:
    [listening] = coordinator_of(system).listeners
    assert listening.far_router is not None
    host, _, port = listening.far_router.snapshot().address.rpartition(":")
    return host, int(port)


@pytest.mark.parametrize("policy", [LeastConnections(), RoundRobin(), ReusePort()], ids=str)
async def test_a_far_node_serves_streams(policy: Policy) -> None:
    listener = listen("tests.machines.served_far:who", "127.0.0.1:0", nodes="far", policy=policy)
    async with system_with_events(far(2, listener)) as (system, _events):
        served = {await _who(*_address(system)) for _ in range(30)}
        assert served == set(pids_of(system).values())


async def test_it_is_open_at_each_place_over_the_nodes_of_that_place_alone() -> None:
    port = free_port()
    listener = listen("tests.machines.served_far:who", f"127.0.0.1:{port}", nodes="far")
    async with system_with_events(far(4, listener, on=HOSTS)) as (system, _events):
        pids = pids_of(system)
        for host, slots in ((2, (0, 2)), (3, (1, 3))):
            served = {await _who(f"127.0.0.{host}", port) for _ in range(20)}
            assert served == {pids[f"far/{slot}"] for slot in slots}
        with pytest.raises(OSError, match="failed"):
            await anyio.connect_tcp("127.0.0.1", port)
        await eventually(lambda: _open_facts(system)["accepted"] == 40)
        shown = _open_facts(system)
        assert [(one["place"], one["address"]) for one in shown["places"]] == [
            ("far@0", f"127.0.0.2:{port}"),
            ("far@1", f"127.0.0.3:{port}"),
        ]
        assert (await ps(coordinator_of(system)))["listeners"] == [shown]


def _open_facts(system: System) -> dict[str, Any]:
    [listening] = coordinator_of(system).listeners
    return listener_facts(listening)


async def test_a_node_that_is_killed_and_started_again_keeps_the_port_open() -> None:
    listener = listen("tests.machines.served_far:who", "127.0.0.1:0", nodes="far")
    async with system_with_events(far(1, listener)) as (system, _events):
        address, before = _address(system), pids_of(system)["far/0"]
        assert before is not None
        assert await _who(*address) == before
        os.kill(before, signal.SIGKILL)
        after = await _who(*address)  # it waits in the backlog of the agent
        assert after != before
        assert _address(system) == address


async def test_a_reload_refuses_nobody() -> None:
    listener = listen("tests.machines.served_far:who", "127.0.0.1:0", nodes="far")
    async with system_with_events(far(1, listener)) as (system, events):
        address, before = _address(system), pids_of(system)
        served: list[int] = []
        reloaded = anyio.Event()

        async def visit() -> None:
            while not reloaded.is_set():
                served.append(await _who(*address))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(visit)
            await system.reload()
            reloaded.set()
        assert await _who(*address) not in before.values()
        assert served[0] == before["far/0"]
        assert len(kinds(events, "node_replaced")) == 1


async def test_what_follows_a_lost_place_opens_the_listener_again() -> None:
    port = free_port()
    listener = listen("tests.machines.served_far:who", f"127.0.0.1:{port}", nodes="far")
    async with system_with_events(far(1, listener)) as (system, events):
        before = await _who("127.0.0.1", port)
        os.kill(place_of(system, "far/0").pid, signal.SIGKILL)
        await _lost_and_back(system, events)
        assert await _who("127.0.0.1", port) != before
        assert len(kinds(events, "listening")) == 1, "the first was before anybody listened"


async def _lost_and_back(system: System, events: list[Event]) -> None:
    with anyio.fail_after(60):
        await eventually(lambda: kinds(events, "place_lost", "place_left"), within=30)
        await eventually(lambda: kinds(events, "node_ready"), within=30)


async def test_an_agent_that_is_told_to_end_finishes_its_connections_and_takes_no_more() -> None:
    port = free_port()
    listener = listen("tests.machines.served_far:who", f"127.0.0.1:{port}", nodes="far")
    async with system_with_events(far(1, listener)) as (system, events):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            before = int(await stream.receive(100))
            os.kill(place_of(system, "far/0").pid, signal.SIGTERM)
            await eventually(lambda: kinds(events, "place_leaving"))
            with pytest.raises(OSError, match="failed"):
                await anyio.connect_tcp("127.0.0.1", port)
            await stream.send(b"still")
            assert await stream.receive(100) == b"still"
        await _lost_and_back(system, events)
        assert await _who("127.0.0.1", port) != before
        assert [facts["node"] for _, facts in kinds(events, "node_replaced")] == ["far/0"]


async def test_applications_serve_http_and_websockets_there() -> None:
    listener = listen(asgi("tests.machines.served_far:app"), "127.0.0.1:0", nodes="far")
    async with System(far(2, listener)) as system:
        host, port = _address(system)
        async with httpx2.AsyncClient() as client:
            served = {int((await client.get(f"http://{host}:{port}/")).text)}
        async with connect(f"ws://{host}:{port}/") as one:
            served.add(int(await one.recv()))
            await one.send("hello")
            assert await one.recv() == "hello"
        assert served <= set(pids_of(system).values())


async def test_an_address_that_a_place_cannot_have_fails_the_start_and_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listener = listen("tests.machines.served_far:who", f"127.0.0.1:{port}", nodes="far")
        with pytest.raises(ListenFailed, match=f"127.0.0.1:{port} at place far@0.*in use"):
            async with System(far(1, listener)):
                raise AssertionError("it started")


async def test_datagrams_are_served_at_each_place_by_the_nodes_of_that_place() -> None:
    port = free_port()
    listener = listen("tests.machines.served_far:answer", f"udp://127.0.0.1:{port}", nodes="far")
    async with system_with_events(far(4, listener, on=HOSTS)) as (system, _events):
        pids = pids_of(system)
        for host, slots in ((2, (0, 2)), (3, (1, 3))):
            here = {pids[f"far/{slot}"] for slot in slots}
            for _ in range(8):
                assert await _answered(f"127.0.0.{host}", port) in here
        assert [one["address"] for one in _open_facts(system)["places"]] == [
            f"udp://127.0.0.2:{port}",
            f"udp://127.0.0.3:{port}",
        ]
        before = pids["far/1"]
        assert before is not None
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: pids_of(system)["far/1"] not in {None, before}, within=30)
        await eventually(lambda: coordinator_of(system).nodes["far/1"].ready, within=30)
        after = {pids_of(system)[f"far/{slot}"] for slot in (1, 3)}
        assert await _answered("127.0.0.3", port) in after


async def _answered(host: str, port: int) -> int:
    """Send a datagram from a port of its own, until it is answered; return which process does."""
    async with await anyio.create_connected_udp_socket(host, port) as sock:
        while True:
            await sock.send(b"who?")
            with anyio.move_on_after(2):
                answer = (await sock.receive()).split()
                assert answer[1] == b"who?"
                return int(answer[0])


@pytest.mark.parametrize(
    "listener, text",
    [
        (
            lambda: listen("tests.machines.served_far:who", "fd://3", nodes="far"),
            "have no socket that this process has inherited",
        ),
        (
            lambda: listen("__main__:who", nodes="far"),
            "'who' is in the file that was started, which stays on its machine",
        ),
    ],
)
async def test_what_no_other_machine_has_is_refused_where_it_is_written(
    listener: Callable[[], Listener], text: str
) -> None:
    with pytest.raises(InvalidSpec, match=text):
        far(1, listener())
