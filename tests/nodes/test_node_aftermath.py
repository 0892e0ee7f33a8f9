"""What is said of a process node that died, and what becomes of those who counted on it.

One loop is enough here: how the parent's loop sees a death is tested beside this, on each.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from typing import Any

import anyio
import psutil
import pytest

from actors import ActorStopped, Backoff, Node, NodeDown, Ref, System, Topology, nodes
from actors.testing import crash, eventually, running_system
from tests.conftest import LOOPS
from tests.nodes.node_actors import Victim

AGAIN = "it is being restarted"
KILLED = "killed by SIGKILL, perhaps out of memory"


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return LOOPS["uvloop"]


@pytest.fixture(scope="module")
async def system(no_leaks_in_file: None, anyio_backend: object) -> AsyncIterator[System]:
    quickly = Backoff(first=0.01, factor=1, cap=0.01)
    async with running_system(Topology(nodes=[nodes("web", backoff=quickly)])) as system:
        yield system


@pytest.fixture(autouse=True)
def _nothing_left(no_leaks_in_file: None) -> None:
    """The system is the file's, and so is the census."""


@pytest.fixture
async def node(system: System) -> AsyncIterator[Node]:
    """The node, ready, and after the test ready again."""
    (node,) = [node for node in system.nodes if node.kind == "process"]
    await eventually(lambda: node.ready, 10)
    yield node
    await eventually(lambda: node.ready, 10)


ENDS: dict[str, tuple[Any, tuple[Any, ...], str]] = {
    "exit code 42": (Victim.exit, (42,), "exit code 42"),
    "exit code 0": (Victim.exit, (0,), "exit code 0"),
    "SIGTERM": (Victim.signal_itself, (int(signal.SIGTERM),), "killed by SIGTERM"),
    "SIGKILL": (Victim.signal_itself, (int(signal.SIGKILL),), KILLED),
    "a signal without a name": (Victim.signal_itself, (63,), "killed by signal 63"),
}


@pytest.mark.parametrize("how", ENDS)
async def test_the_asker_hears_how_its_node_ended(system: System, node: Node, how: str) -> None:
    victim = await system.spawn(Victim, on="web")
    method, args, why = ENDS[how]
    with anyio.fail_after(10), pytest.raises(NodeDown) as caught:
        await victim.ask(method, *args)
    assert str(caught.value) == f"{victim}: node web/0 is down ({why}); {AGAIN}"


async def test_the_last_lines_of_a_node_are_in_its_event(system: System, node: Node) -> None:
    victim = await system.spawn(Victim, on="web")
    events = system.events()
    with anyio.fail_after(10):
        await victim.tell(Victim.say_and_die, "these were my last words")
        async for event in events:
            if event.kind == "child_ended" and event.facts["child"] == "web/0":
                break
    events.close()
    assert "node web/0: killed by SIGSEGV" in event.facts["exit"]
    assert "these were my last words" in event.facts["exit"]


async def test_events_tell_of_the_death_and_the_return_once(system: System, node: Node) -> None:
    events = system.events()
    with anyio.fail_after(10):
        await crash(node)
        seen = []
        async for event in events:
            if event.kind.startswith("node_"):
                seen.append(event)
            if event.kind == "node_ready":
                break
    events.close()
    died, ready = seen
    assert (died.kind, died.facts) == ("node_died", {"node": "web/0", "why": KILLED})
    assert (ready.facts["node"], ready.facts["pid"]) == ("web/0", node.pid)


async def test_a_watcher_hears_nothing_of_a_node_that_comes_back(
    system: System, node: Node
) -> None:
    victim = await system.spawn(Victim, on="web")
    ends: list[str] = []

    async def wait() -> None:
        ends.append(str(await victim.wait()))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await crash(node)
            await eventually(lambda: node.ready, 10)
            assert await victim.ask(Victim.incarnation) == 2
            assert ends == []
            await victim.stop()
    assert ends == ["SHUTDOWN"]


async def test_children_of_an_actor_go_with_their_node_and_their_names_are_free(
    system: System, node: Node
) -> None:
    parent = await system.spawn(Victim, on="web")
    with anyio.fail_after(10):
        child: Ref[Victim] = await parent.ask(Victim.spawn_child, "cub")
        assert await system.lookup("cub") == child
        await crash(node)
        assert await system.lookup("cub") is None
        assert str(await child.wait()).startswith("NODE_DOWN(")
        await eventually(lambda: node.ready, 10)
        again = await parent.ask(Victim.spawn_child, "cub")
        assert again != child
        with pytest.raises(ActorStopped):
            await child.ask(Victim.pid)


async def test_a_program_that_an_actor_started_goes_with_its_node(
    system: System, node: Node
) -> None:
    victim = await system.spawn(Victim, on="web")
    with anyio.fail_after(10):
        program = await victim.ask(Victim.start_program)
        assert psutil.pid_exists(program)
        await crash(node)
        await eventually(lambda: not psutil.pid_exists(program))
