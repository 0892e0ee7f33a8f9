"""A process node dies: everybody is told at once and in full, and it comes back as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from actors import ActorStopped, Backoff, Node, NodeDown, Restart, System, Topology, nodes
from actors.testing import Probe, crash, eventually, running_system
from tests.conftest import LOOPS
from tests.nodes.node_actors import Victim

AGAIN = "it is being restarted"
KILLED = "killed by SIGKILL, perhaps out of memory"


@pytest.fixture(scope="module", params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


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


async def test_l03_pending_asks_are_told_which_node_why_and_what_follows(
    system: System, node: Node
) -> None:
    probe = await Probe.start(system)
    victim = await system.spawn(Victim, probe.ref, on="web")
    caught: list[NodeDown] = []

    async def ask() -> None:
        with pytest.raises(NodeDown) as error:
            await victim.ask(Victim.hang)
        caught.append(error.value)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await probe.expect("hanging")
            before = anyio.current_time()
            await crash(node)
        # The law says 100 ms; on a busy machine, well before a second.
        assert anyio.current_time() - before < 0.9
    assert str(caught[0]) == f"{victim}: node web/0 is down ({KILLED}); {AGAIN}"
    assert (caught[0].node, caught[0].restarting) == ("web/0", True)
    assert caught[0].message == ("hang", (), {})
    assert caught[0].ref == victim


async def test_c44_messages_to_a_node_that_has_died_wait_for_it(system: System, node: Node) -> None:
    victim = await system.spawn(Victim, on="web")
    with anyio.fail_after(10):
        before = await victim.ask(Victim.pid)
        await crash(node)
        assert node.pid is None
        with pytest.raises(NodeDown, match=AGAIN) as caught:
            victim.tell_nowait(Victim.note, 0)
        assert caught.value.message == ("note", (0,), {})
        with pytest.raises(NodeDown, match=AGAIN):
            await system.spawn(Victim, on="web/0")
        await victim.tell(Victim.note, 1)
        assert await victim.ask(Victim.logged) == [1]
        assert await victim.ask(Victim.pid) == node.pid != before


async def test_wait_ready_waits_for_a_node_that_is_restarted_later_than_messages_wait(
    no_leaks_in_file: None,
) -> None:
    slowly = Backoff(first=0.3, factor=1, cap=0.3, jitter=0)
    topology = Topology(nodes=[nodes("web", backoff=slowly)], patience=0)
    with anyio.fail_after(20):
        async with running_system(topology) as system:
            victim = await system.spawn(Victim, on="web")
            (node,) = [node for node in system.nodes if node.kind == "process"]
            for _ in range(2):  # the second time it waits for its backoff
                await crash(node)
                with pytest.raises(NodeDown, match=AGAIN):
                    await victim.ask(Victim.pid)
                await victim.within(10).wait_ready()
                assert await victim.ask(Victim.pid) == node.pid


async def test_a_stream_is_opened_when_the_node_that_died_is_there_again(
    system: System, node: Node
) -> None:
    victim = await system.spawn(Victim, on="web")
    with anyio.fail_after(10):
        await crash(node)
        await victim.wait_ready()
        await crash(node)
        async with victim.stream(Victim.drip) as items:
            assert await anext(items) == 1


async def test_a_node_comes_back_in_its_slot_and_the_refs_work_again(
    system: System, node: Node
) -> None:
    victim = await system.spawn(Victim, on="web", name="phoenix")
    with anyio.fail_after(10):
        await victim.tell(Victim.note, "lost with the node")
        before = await victim.ask(Victim.pid)
        assert before == node.pid
        await crash(node)
        await eventually(lambda: node.ready, 10)
        # Sent before the actor runs again: it waits for it.
        await victim.tell(Victim.note, 1)
        await victim.tell(Victim.note, 2)
        assert await victim.ask(Victim.logged) == [1, 2]
        assert await victim.ask(Victim.incarnation) == 2
        assert await victim.ask(Victim.pid) == node.pid != before
        assert await system.lookup("phoenix") == victim
        assert (node.name, node.slot) == ("web/0", 0)
        await victim.stop()
        assert str(await victim.wait()) == "SHUTDOWN"


async def test_a_stream_ends_with_its_node(system: System, node: Node) -> None:
    victim = await system.spawn(Victim, on="web")
    with anyio.fail_after(10):
        async with victim.stream(Victim.drip) as items:
            assert await anext(items) == 1
            await crash(node)
            with pytest.raises(NodeDown, match=KILLED):
                await anext(items)


async def test_an_actor_that_is_not_restarted_ends_with_its_node(
    system: System, node: Node
) -> None:
    victim = await system.spawn(Victim, on="web", restart=Restart.TEMPORARY, name="mortal")
    ends: list[str] = []

    async def wait() -> None:
        ends.append(str(await victim.wait()))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await crash(node)
        assert ends == [f"NODE_DOWN(web/0: {KILLED})"]
        assert str(await victim.wait()) == ends[0]
        assert await system.lookup("mortal") is None
        await eventually(lambda: node.ready, 10)
        with pytest.raises(ActorStopped, match="it has ended: NODE_DOWN"):
            await victim.ask(Victim.pid)
