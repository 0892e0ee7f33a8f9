"""Sticky keys over several machines: a connection goes to the machine that its key belongs to, once.

All places are on this machine, so each says in HOST at which address of it that is.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from websockets.asyncio.client import connect

from actors import Sticky, asgi, keys, listen
from actors._system.control.ps import listener_facts
from actors._system.system import coordinator_of
from actors.cli.client.tables import listener_cells
from actors.errors import InvalidSpec
from actors.machines.passing import Sharing
from actors.routing import Listener, owner
from actors.testing import eventually
from tests.machines.far_listeners import HOSTS, far, free_port, pids_of
from tests.machines.places_of_a_test import kinds, place_of, system_with_events

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.within(120)]
ROOMS = [f"room-{number}" for number in range(12)]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


def _app(port: int, **options: Any) -> Listener:
    policy = Sticky(keys.query("room"), **options)
    app = asgi("tests.machines.served_far:app")
    return listen(app, f"127.0.0.1:{port}", nodes="far", policy=policy)


async def _served(host: int, port: int, room: str) -> tuple[int, str]:
    """Return which process served a request, and from whom it came there."""
    async with httpx2.AsyncClient(timeout=20.0) as client:
        answer = await client.get(f"http://127.0.0.{host}:{port}/?room={room}")
        return int(answer.text), answer.headers["x-client"]


async def test_each_key_is_served_by_the_node_that_owns_it_wherever_its_client_comes() -> None:
    port = free_port()
    async with system_with_events(far(4, _app(port), on=HOSTS)) as (system, _events):
        pids = pids_of(system)
        for room in ROOMS:
            wanted = pids[f"far/{owner(room.encode(), range(4))}"]
            for host in (2, 3):
                assert await _served(host, port, room) == (wanted, "127.0.0.1")
            async with connect(f"ws://127.0.0.3:{port}/?room={room}") as socket:
                assert int(await socket.recv()) == wanted
                await socket.send("x" * 500_000)
                assert await socket.recv() == "x" * 500_000


async def test_what_is_passed_on_is_shown_with_the_listener_and_with_the_place_where_it_came() -> (
    None
):
    port = free_port()
    async with system_with_events(far(2, _app(port), on=HOSTS)) as (system, _events):
        room = next(room for room in ROOMS if owner(room.encode(), range(2)) == 1)
        [listening] = coordinator_of(system).listeners
        async with connect(f"ws://127.0.0.2:{port}/?room={room}"):
            await eventually(lambda: listener_facts(listening)["open"]["far/1"] == 1)
            await eventually(lambda: listener_facts(listening)["passing"] == 1)
            facts = listener_facts(listening)
            assert [one["passing"] for one in facts["places"]] == [1, 0]
            assert (facts["accepted"], facts["passed_on"]) == (1, 1)
            assert "far/0: 0, far/1: 1, 1 of them passed on" in listener_cells(facts)
        await eventually(lambda: listener_facts(listening)["passing"] == 0)


async def test_across_serve_serves_it_where_it_came() -> None:
    port = free_port()
    async with system_with_events(far(4, _app(port, across="serve"), on=HOSTS)) as (
        system,
        _events,
    ):
        pids = pids_of(system)
        for room in ROOMS[:4]:
            for host, slots in ((2, (0, 2)), (3, (1, 3))):
                wanted = pids[f"far/{owner(room.encode(), slots)}"]
                assert (await _served(host, port, room))[0] == wanted


async def test_what_is_passed_on_is_carried_both_ways_and_ends_one_way_at_a_time() -> None:
    port = free_port()
    policy = Sticky(keys.ip())
    listener = listen(
        "tests.machines.served_far:who", f"127.0.0.1:{port}", nodes="far", policy=policy
    )
    sent = os.urandom(3_000_000)
    async with system_with_events(far(2, listener, on=HOSTS)) as (system, _events):
        pids = pids_of(system)
        for host in (2, 3):
            async with await anyio.connect_tcp(f"127.0.0.{host}", port) as stream:
                line = await stream.receive(20)
                assert int(line) == pids[f"far/{owner(b'127.0.0.1', range(2))}"]
                async with anyio.create_task_group() as tasks:

                    async def send(to: Any = stream) -> None:
                        await to.send(sent)
                        await to.send_eof()

                    tasks.start_soon(send)
                    back = b"".join([part async for part in stream])
                assert back == sent


async def test_while_the_machine_of_a_key_is_away_another_serves_it() -> None:
    port = free_port()
    async with system_with_events(far(2, _app(port), on=HOSTS)) as (system, events):
        room = next(room for room in ROOMS if owner(room.encode(), range(2)) == 1)
        assert (await _served(2, port, room))[0] == pids_of(system)["far/1"]
        os.kill(place_of(system, "far/1").pid, signal.SIGKILL)
        await eventually(lambda: kinds(events, "place_lost"), within=20)
        served = (await _served(2, port, room))[0]
        assert served in {pids_of(system)["far/0"], pids_of(system)["far/1"]}
        with anyio.fail_after(60):
            await eventually(lambda: kinds(events, "node_ready"), within=60)
            await eventually(lambda: kinds(events, "listening"), within=60)
        again = await _served(2, port, room)
        assert again[0] == pids_of(system)["far/1"]


async def test_what_another_machine_does_not_take_in_time_is_served_where_it_came() -> None:
    port = free_port()
    async with system_with_events(far(2, _app(port), on=HOSTS)) as (system, _events):
        room = next(room for room in ROOMS if owner(room.encode(), range(2)) == 1)
        agent = place_of(system, "far/1").pid
        os.kill(agent, signal.SIGSTOP)
        try:
            assert (await _served(2, port, room))[0] == pids_of(system)["far/0"]
        finally:
            os.kill(agent, signal.SIGCONT)
        assert (await _served(2, port, room))[0] == pids_of(system)["far/1"]


async def test_an_agent_that_is_told_to_end_carries_on_what_passes_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, begun, go = free_port(), tmp_path / "begun", tmp_path / "go"
    monkeypatch.setenv("BEGUN", str(begun))
    monkeypatch.setenv("GO", str(go))
    async with system_with_events(far(2, _app(port), on=HOSTS, shutdown=60.0)) as (system, events):
        room = next(room for room in ROOMS if owner(room.encode(), range(2)) == 1)
        wanted, answers = pids_of(system)["far/1"], []

        async def ask() -> None:
            async with httpx2.AsyncClient(timeout=60.0) as client:
                answers.append(await client.get(f"http://127.0.0.2:{port}/slow?room={room}"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await eventually(begun.exists, within=20)
            os.kill(place_of(system, "far/0").pid, signal.SIGTERM)
            await eventually(lambda: kinds(events, "node_replaced"), within=30)
            go.touch()
        assert [int(answer.text) for answer in answers] == [wanted]


def test_a_key_of_here_or_of_a_place_that_nobody_reaches_is_not_passed_on() -> None:
    ways = {"far@1#2": ("127.0.0.3", 7000, "secret")}
    sharing = Sharing(here="far@0#1", slots={0: "far@0#1", 1: "far@1#2", 2: "far@2#3"}, ways=ways)
    found = {owner(room.encode(), range(3)): sharing.place_of(room.encode()) for room in ROOMS}
    assert found == {0: None, 1: "far@1#2", 2: None}
    assert Sharing().place_of(b"room") is None


def test_keys_that_applications_make_are_refused_over_machines() -> None:
    with pytest.raises(
        InvalidSpec, match="which keys an application has made is not told to other"
    ):
        far(1, listen(asgi("m:app"), nodes="far", policy=Sticky(keys.cookie("sid"))))
    far(1, listen(asgi("m:app"), nodes="far", policy=Sticky(keys.cookie("sid"), learn=0)))
    far(1, listen(asgi("m:app"), nodes="far", policy=Sticky(keys.cookie("sid"), across="serve")))
