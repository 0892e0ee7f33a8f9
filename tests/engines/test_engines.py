"""What every engine has to do; a new one passes this file and the contracts."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import anyio
import pytest

from actors import Topology
from actors._base.run_loop import open_loop
from actors._system.control.ps import ps
from actors._system.system import coordinator_of
from actors.machines import Engine, Gone, Join, Reach, Want
from actors.machines.authority import Authority
from actors.machines.entrance import Entrance
from actors.testing import eventually
from tests.engines.conftest import EngineUnderTest
from tests.machines.conftest import Guests
from tests.machines.far_actors import Counter
from tests.machines.places_of_a_test import alive, kinds, place_of, system_with_events

pytestmark = [pytest.mark.within(200), pytest.mark.timeout(260)]
LEASE = 2.0


def topology(engine: EngineUnderTest, count: int = 2, lease: float = 10.0) -> Topology:
    group = engine.group(count, boot_timeout=60)
    return Topology(nodes=[group], patience=100.0, lease=lease, **engine.options)


async def test_it_starts_an_agent_for_each_place_and_says_where(engine: EngineUnderTest) -> None:
    async with system_with_events(topology(engine)) as (system, _):
        one, other = [await system.spawn(Counter, on=f"far/{slot}") for slot in range(2)]
        assert await one.ask(Counter.ask_other, other, 5) == 5, "they reach each other"
        assert await other.ask(Counter.ask_other, one, 7) == 7
        places = (await ps(coordinator_of(system)))["places"]
        assert [place["name"] for place in places] == ["far@0", "far@1"]
        assert [place["engine"] for place in places] == [engine.name] * 2
        assert len({place["pid"] for place in places}) == 2
        assert all(place["machine"] for place in places)
    if not engine.stays:
        # A process of the engine's own may take its time after the agent in it has ended.
        await eventually(lambda: not any(alive(place["pid"]) for place in places), within=20)


async def test_the_death_of_an_agent_is_told_and_its_place_is_given_again(
    engine: EngineUnderTest,
) -> None:
    async with system_with_events(topology(engine)) as (system, events):
        before, stays = place_of(system, "far/0"), place_of(system, "far/1")
        one, other = [await system.spawn(Counter, on=f"far/{slot}") for slot in range(2)]
        pid = await one.ask(Counter.pid)
        await other.ask(Counter.add, 3)
        os.kill(before.pid, signal.SIGKILL)
        await eventually(lambda: kinds(events, "place_lost"), within=8)
        assert not alive(pid), "its node had ended before that was said"
        ((_, lost),) = kinds(events, "place_lost")
        assert (lost["place"], lost["by"]) == ("far@0", f"engine {engine.name}")
        assert await one.ask(Counter.add, 1) == 1, "started anew"
        assert place_of(system, "far/0").key != before.key
        assert await other.ask(Counter.add, 1) == 4, "the other place has lost nothing"
        assert place_of(system, "far/1") is stays


async def test_an_agent_that_is_told_to_end_leaves_in_order(engine: EngineUnderTest) -> None:
    async with system_with_events(topology(engine, count=1)) as (system, events):
        before, counter = place_of(system, "far/0"), await system.spawn(Counter, on="far/0")
        os.kill(before.pid, signal.SIGTERM)
        await eventually(lambda: kinds(events, "place_left"), within=20)
        assert await counter.ask(Counter.add, 1) == 1
        assert place_of(system, "far/0").key != before.key
        assert not kinds(events, "node_died", "place_lost")


async def test_an_agent_that_is_stopped_loses_its_lease_and_nothing_runs_twice(
    engine: EngineUnderTest,
) -> None:
    async with system_with_events(topology(engine, count=1, lease=LEASE)) as (system, events):
        before, counter = place_of(system, "far/0"), await system.spawn(Counter, on="far/0")
        pid = await counter.ask(Counter.pid)
        os.kill(before.pid, signal.SIGSTOP)
        try:
            await eventually(lambda: kinds(events, "place_lost"), within=5 * LEASE)
            assert not alive(pid), "its node had ended before its place was given up"
            ((_, lost),) = kinds(events, "place_lost")
            assert lost["by"] == "its lease"
            assert await counter.ask(Counter.add, 1) == 1
        finally:
            if alive(before.pid):
                os.kill(before.pid, signal.SIGKILL)


async def test_kill_in_any_thread_ends_an_agent(engine: EngineUnderTest) -> None:
    async with system_with_events(topology(engine, count=1, lease=LEASE)) as (system, events):
        place, counter = place_of(system, "far/0"), await system.spawn(Counter, on="far/0")
        pid = await counter.ask(Counter.pid)
        assert place._placed is not None
        await anyio.to_thread.run_sync(place._engine.kill, place._placed)
        await eventually(lambda: kinds(events, "place_lost"), within=5 * LEASE)
        assert not alive(pid)
        if not engine.stays:
            await eventually(lambda: not alive(place.pid), within=10)
        assert await counter.ask(Counter.add, 1) == 1


async def test_an_agent_with_a_wrong_ticket_is_not_let_in_and_ends(engine: EngineUnderTest) -> None:
    if engine.make is None:
        pytest.skip("agents that come by themselves show a secret, in tests/machines/test_join.py")
    told: list[Gone] = []
    guests = Guests()
    authority = Authority.new()
    async with open_loop() as loop:
        made = engine.make(loop)
        assert isinstance(made, Engine)
        turned_away: list[str] = []
        entrance = Entrance(
            loop,
            authority.issue("parent"),
            "127.0.0.1",
            turned_away=lambda _count, _peer, why: turned_away.append(why),
        )
        good = entrance.expect("agent", guests.came)
        host, port = entrance.address
        join = Join(
            host=host,
            port=port,
            ticket=good,
            material=authority.issue("agent").to_plain(),
            lease=10.0,
            place="far@0",
        )
        want = Want(group="far", place=0, on=engine.on_one)
        try:
            await made.open(Reach(host=host, port=port))
            made.check(want)
            placed = await made.start(want, replace(join, ticket="wrong"), told.append)
            await eventually(lambda: turned_away, within=60)
            await made.stop(placed, 10.0)
            await eventually(lambda: told, within=20)
            assert "ticket is unknown" in turned_away[0]
            assert not guests.sessions
        finally:
            await made.close()
            entrance.close()
    assert len(told) == 1, "it was told once"
