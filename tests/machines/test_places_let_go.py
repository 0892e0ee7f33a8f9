"""Places that no node needs any more: their agents are for others."""

from __future__ import annotations

from typing import Any

import pytest

from actors import Topology, nodes
from actors._system.control.ps import ps
from actors._system.system import coordinator_of
from actors.testing import eventually
from tests.machines.far_actors import Counter
from tests.machines.joining import Cluster
from tests.machines.places_of_a_test import alive, kinds, place_of, system_with_events

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.within(120)]

_SOON = 20.0
_HOSTS = {"hosts": [{"run": ["env", "FAR=0"]}, {"run": ["env", "FAR=1"]}]}
_TWO = Topology(nodes=[nodes("far", count=2, engine="hosts", on=_HOSTS)], patience=60.0)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: what waits and ends is the same on each."""
    return "asyncio", {"use_uvloop": True}


async def test_an_agent_whose_last_node_was_stopped_is_there_for_another_group(
    cluster: Cluster,
) -> None:
    agents = [cluster.agent(), cluster.agent()]
    wanted = nodes("far", count=2, engine="join")
    async with system_with_events(cluster.topology(wanted)) as (system, events):
        freed = place_of(system, "far/1").pid
        await system.scale("far", 1)
        await eventually(lambda: kinds(events, "place_left"), within=_SOON)
        ((_, left),) = kinds(events, "place_left")
        assert left["place"] == "far@1"
        assert (left["why"], left["by"]) == ("no node needs it any more", "its parent")
        await system.start(nodes("other", engine="join"))
        assert place_of(system, "other/0").pid == freed
        assert all(agent.process.poll() is None for agent in agents)


async def test_an_agent_that_came_for_a_node_which_was_given_up_is_a_spare_again(
    cluster: Cluster,
) -> None:
    cluster.agent()
    async with system_with_events(cluster.topology()) as (system, events):
        cluster.agent()
        await eventually(lambda: kinds(events, "agent_spare"), within=_SOON)
        (node,) = await system.start(nodes("other", engine="join"))
        await node.stop()

        async def spare() -> bool:
            shown = (await ps(coordinator_of(system)))["places"]
            return [place["state"] for place in shown] == ["READY", "SPARE"]

        await eventually(spare, within=_SOON)


async def test_a_command_whose_nodes_were_stopped_ends_and_runs_again_when_it_is_needed() -> None:
    async with system_with_events(_TWO) as (system, events):
        before = [place_of(system, f"far/{slot}").pid for slot in range(2)]
        await system.scale("far", 4)
        await system.scale("far", 2)
        assert not kinds(events, "place_left"), "one node of each is there still"
        await system.scale("far", 1)
        await eventually(lambda: not alive(before[1]), within=_SOON)
        assert [facts["place"] for _, facts in kinds(events, "place_left")] == ["far@1"]
        await system.scale("far", 2)
        counter = await system.spawn(Counter, 1, on="far/1")
        assert await counter.ask(Counter.add, 1) == 2
        assert place_of(system, "far/0").pid == before[0]
        assert not kinds(events, "place_lost", "place_failed", "node_died")


async def test_a_reload_and_the_crash_of_a_node_let_go_of_no_place() -> None:
    async with system_with_events(_TWO) as (system, events):
        before = [place_of(system, f"far/{slot}").pid for slot in range(2)]
        counter = await system.spawn(Counter, 1, on="far/0")
        await counter.tell(Counter.kill_process)
        await eventually(lambda: kinds(events, "node_died"), within=_SOON)
        assert await counter.ask(Counter.add, 1) == 2
        await system.reload()
        assert [place_of(system, f"far/{slot}").pid for slot in range(2)] == before
        assert not kinds(events, "place_left", "place_lost")
