"""Nodes that wait for an agent as long as that takes, and what ends the wait."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import System
from actors._system.system import coordinator_of
from actors.errors import BootFailed
from actors.testing import eventually
from tests.machines.joining import Cluster
from tests.machines.places_of_a_test import kinds, system_with_events

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.within(120)]

_SOON = 20.0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: what waits and ends is the same on each."""
    return "asyncio", {"use_uvloop": True}


async def _scale_in_vain(system: System, count: int, errors: list[str]) -> None:
    try:
        await system.scale("far", count)
    except BootFailed as error:
        errors.append(str(error))


async def test_stop_ends_a_node_that_waits_for_an_agent_and_what_waits_for_the_node(
    cluster: Cluster,
) -> None:
    """So a later change of the group, or a reload, does not wait for an agent that never comes."""
    cluster.agent()
    async with system_with_events(cluster.topology()) as (system, events):
        errors: list[str] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_scale_in_vain, system, 2, errors)
            await eventually(lambda: kinds(events, "place_waits"), within=_SOON)
            with anyio.fail_after(_SOON):
                await coordinator_of(system).groups.stop("far/1", None)
                await system.reload()
        assert errors == ["node far/1 was stopped before it was ready"]
        cluster.agent()
        await eventually(lambda: kinds(events, "agent_spare"), within=_SOON)


async def test_scaling_down_gives_up_the_nodes_that_an_earlier_call_has_waiting_for_agents(
    cluster: Cluster,
) -> None:
    cluster.agent()
    async with system_with_events(cluster.topology()) as (system, events):
        errors: list[str] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_scale_in_vain, system, 3, errors)
            await eventually(lambda: len(kinds(events, "place_waits")) > 1, within=_SOON)
            with anyio.fail_after(_SOON):
                (node,) = await system.scale("far", 1)
        assert node.name == "far/0"
        (text,) = errors
        assert text.endswith("was given up before it had a place")
        cluster.agent()
        await eventually(lambda: kinds(events, "agent_spare"), within=_SOON)


async def test_scaling_down_by_less_leaves_those_waiting_that_are_still_wanted(
    cluster: Cluster,
) -> None:
    cluster.agent()
    async with system_with_events(cluster.topology()) as (system, events):
        errors: list[str] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_scale_in_vain, system, 3, errors)
            await eventually(lambda: len(kinds(events, "place_waits")) > 1, within=_SOON)
            tasks.start_soon(system.scale, "far", 2)
            await eventually(lambda: errors, within=_SOON)
            cluster.agent()
        assert [node.name for node in system.nodes if node.ready and node.group == "far"] == [
            "far/0",
            "far/1",
        ]
