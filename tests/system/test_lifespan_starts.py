"""What a start waits for asks for what would wait for that start: a lifespan, a hook, an actor."""

from __future__ import annotations

import anyio
import pytest

from actors import Topology, asgi, child, listen, nodes, supervisor
from actors.errors import ActorsError
from actors.testing import running_system
from tests.system import starting_apps

WHAT = {
    "pool": "'work'",
    "offload": "'offload'",
    "second": "'offload'",
    "keyed": "'rooms'",
    "child": "'room'",
    "spawn": "'room'",
}


def topology(app: str) -> Topology:
    served = asgi(f"tests.system.starting_apps:{app}", lifespan="on")
    return Topology(nodes=[nodes("web")], listeners=[listen(served, "127.0.0.1:0", nodes="web")])


@pytest.mark.parametrize("what", list(WHAT))
async def test_what_waits_for_its_own_start_is_refused_at_once_and_says_what_to_do(
    what: str,
) -> None:
    message = (
        rf"{WHAT[what]} cannot be started by the lifespan of "
        rf"'tests.system.starting_apps:{what}_app': the system is starting, and waits for that. "
        r"Put it into the topology, or start it in a task of its own"
    )
    with anyio.fail_after(25):  # less than `boot_timeout`
        with pytest.raises(ActorsError, match=message):
            async with running_system(topology(f"{what}_app")):
                raise AssertionError("it has started")


async def test_what_a_task_of_its_own_starts_is_there_once_the_system_has_started() -> None:
    with anyio.fail_after(60):
        async with running_system(topology("task_app")) as system:
            room = await system.lookup("room")
            while room is None:
                await anyio.sleep(0.01)
                room = await system.lookup("room")
            await room.wait_ready()
            assert room.name == "room"
            assert starting_apps.Room.__name__ in str(room)


async def test_a_hook_that_asks_for_what_waits_for_its_node_is_refused_at_once() -> None:
    hooked = nodes("web", on_ready="tests.system.starting_apps:hook")
    message = r"'room' cannot be started by on_ready='tests.system.starting_apps:hook': the system is starting"
    with anyio.fail_after(25):
        with pytest.raises(ActorsError, match=message):
            async with running_system(Topology(nodes=[hooked])):
                raise AssertionError("it has started")


@pytest.mark.parametrize("inner", [False, True])
async def test_an_actor_that_asks_for_what_waits_for_its_own_start_is_refused_at_once(
    inner: bool,
) -> None:
    starter = child(starting_apps.Starter, name="starter")
    item = supervisor("inner", children=[starter]) if inner else starter
    message = "'room' cannot be started by actor 'starter': supervisor 'system' is starting it"
    with anyio.fail_after(25):
        with pytest.raises(ActorsError, match=message):
            async with running_system(Topology(children=[item])):
                raise AssertionError("it has started")
