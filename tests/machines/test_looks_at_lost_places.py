"""What commands are told of a node whose place is silent, is lost, or has just been killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from actors import Topology, child, nodes
from actors._system.control import actors as actor_commands
from actors._system.control.operations import OPERATIONS
from actors._system.control.profile import profile
from actors._system.system import coordinator_of
from actors.errors import ActorsError
from actors.nodes import NodeState
from actors.testing import eventually
from tests.machines.far_actors import Counter
from tests.machines.places_of_a_test import kinds, place_of, system_with_events

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.within(120)]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


def _topology(lease: float) -> Topology:
    counter = child(Counter, name="counter", on="far/0")
    group = nodes("far", engine="hosts")
    return Topology(nodes=[group], children=[counter], lease=lease, patience=60.0)


async def _ask(core: Any) -> list[Any]:
    return [one async for one in actor_commands.ask(core, "counter", "add", ["1"], {}, 30.0)]


async def _stack(core: Any) -> Any:
    return await OPERATIONS["stack"].run(core, node="far/0")


async def _error(look: Callable[[], Awaitable[Any]], told: list[str]) -> None:
    try:
        told.append(repr(await look()))
    except ActorsError as error:
        told.append(str(error))


async def test_a_look_at_a_node_whose_place_is_silent_says_so_at_once_or_when_it_is_lost() -> None:
    async with system_with_events(_topology(2.0)) as (system, events):
        core, agent = coordinator_of(system), place_of(system, "far/0").pid
        told: list[str] = []
        os.kill(agent, signal.SIGSTOP)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_error, lambda: _stack(core), told)
            tasks.start_soon(_error, lambda: profile(core, "far/0", 60.0), told)
            await eventually(lambda: kinds(events, "place_silent"), within=20)
            for look in (lambda: _stack(core), lambda: profile(core, "far/0", 1.0)):
                with pytest.raises(ActorsError, match="its place far@0 is UNREACHABLE since 2"):
                    await look()
            assert not told
        lost = "place far@0 cannot be reached: not heard of for longer than its lease of 2 s"
        assert told == [lost, lost]


async def test_an_ask_of_an_actor_whose_agent_was_killed_says_what_has_ended() -> None:
    async with system_with_events(_topology(20.0)) as (system, _):
        core, agent = coordinator_of(system), place_of(system, "far/0").pid
        link = core.nodes["far/0"].link
        os.kill(agent, signal.SIGKILL)
        await eventually(lambda: link.closed is not None, within=20)
        told: list[str] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_error, lambda: _ask(core), told)
            tasks.start_soon(_error, lambda: actor_commands.state(core, "counter"), told)
        ended = "its place was lost: its agent ended: killed by SIGKILL"
        assert len(told) == 2
        assert all(ended in text for text in told), told
        # Its next place is wanted a moment later, and takes a new agent to start.
        await eventually(lambda: core.nodes["far/0"].state is NodeState.WAITING, within=20)
        with pytest.raises(ActorsError, match=f"it is WAITING, as it has ended: {ended}"):
            await _stack(core)
