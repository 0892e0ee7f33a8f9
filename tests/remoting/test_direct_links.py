"""Process nodes talk to each other directly; what one knows of another is what the parent says."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from actors import ActorStopped, Backoff, Exit, Node, NodeDown, System, Topology, nodes
from actors._remoting import operations as ops
from actors._system import direct_links
from actors._system.system import coordinator_of
from actors.testing import Probe, crash, eventually, running_system
from tests.conftest import LOOPS
from tests.nodes.node_actors import Talker, Victim


@pytest.fixture(scope="module", params=["uvloop", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


@pytest.fixture(scope="module")
async def system(no_leaks_in_file: None, anyio_backend: object) -> AsyncIterator[System]:
    quickly = Backoff(first=0.01, factor=1, cap=0.01)
    topology = Topology(
        nodes=[nodes("left", backoff=quickly), nodes("right", uvloop=False, backoff=quickly)]
    )
    async with running_system(topology) as system:
        yield system


@pytest.fixture(autouse=True)
def _nothing_left(no_leaks_in_file: None) -> None:
    """The system is the file's, and so is the census."""


@pytest.fixture
async def right(system: System) -> AsyncIterator[Node]:
    """The node called right/0, ready, and after the test ready again."""
    right = node_of(system, "right/0")
    await eventually(lambda: right.ready, 10)
    yield right
    await eventually(lambda: right.ready, 10)


def node_of(system: System, name: str) -> Node:
    return next(node for node in system.nodes if node.name == name)


async def messages_to(node: Node, peer: str) -> int:
    """How many messages *node* has sent to *peer*."""
    links = (await node.stats())["links"]
    return int(links[peer]["messages_sent"]) if peer in links else 0


async def test_a_ref_works_wherever_it_is_sent(system: System, right: Node) -> None:
    talker = await system.spawn(Talker, on="left")
    victim = await system.spawn(Victim, on="right")
    with anyio.fail_after(10):
        assert await talker.ask(Talker.ask, victim) == right.pid
        log = await talker.ask(Talker.tell_many, victim, 3000)
    assert log == list(range(3000))


async def test_siblings_do_not_talk_through_the_parent(system: System, right: Node) -> None:
    left = node_of(system, "left/0")
    talker = await system.spawn(Talker, on="left")
    victim = await system.spawn(Victim, on="right")
    with anyio.fail_after(10):
        await talker.ask(Talker.ask, victim)
        direct, upwards = await messages_to(left, "right/0"), await messages_to(left, "local")
        await talker.ask(Talker.tell_many, victim, 500)
        assert await messages_to(left, "right/0") >= direct + 501
        assert await messages_to(left, "local") <= upwards + 20


async def test_a_node_finds_and_spawns_actors_of_another(system: System, right: Node) -> None:
    talker = await system.spawn(Talker, on="left")
    with anyio.fail_after(10):
        assert await talker.ask(Talker.find, "found on the right") is None
        victim = await talker.ask(Talker.spawn, "found on the right", "right")
        assert victim.node == "right/0"
        assert await talker.ask(Talker.spawn, "found on the right", "right") == victim
        assert await talker.ask(Talker.find, "found on the right") == victim
        assert await system.lookup("found on the right") == victim
        assert await victim.ask(Victim.pid) == right.pid


async def test_a_node_hears_of_its_siblings_death_and_return(system: System, right: Node) -> None:
    probe = await Probe.start(system)
    talker = await system.spawn(Talker, on="left")
    victim = await system.spawn(Victim, probe.ref, on="right")
    caught: list[NodeDown] = []

    async def ask() -> None:
        with pytest.raises(NodeDown) as error:
            await talker.ask(Talker.ask_hanging, victim)
        caught.append(error.value)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await probe.expect("hanging")
            before = anyio.current_time()
            await crash(right)
        assert anyio.current_time() - before < 0.9
        assert str(caught[0]) == (
            f"{victim}: node right/0 is down (killed by SIGKILL, perhaps out of memory); "
            "it is being restarted"
        )
        assert caught[0].restarting
        assert await talker.ask(Talker.ask, victim) == right.pid
        assert await talker.ask(Talker.tell_many, victim, 3) == [0, 1, 2]


async def test_a_node_waits_for_the_end_of_an_actor_over_its_nodes_death(
    system: System, right: Node
) -> None:
    talker = await system.spawn(Talker, on="left")
    victim = await system.spawn(Victim, on="right")
    ends: list[str] = []

    async def wait() -> None:
        ends.append(await talker.ask(Talker.wait_for, victim))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            # The watch is on its way before the next question to the same actor... is asked here.
            await anyio.wait_all_tasks_blocked()
            await crash(right)
            await eventually(lambda: right.ready, 10)
            assert await victim.ask(Victim.pid) == right.pid
            assert ends == []
            await victim.stop()
        assert ends == ["SHUTDOWN"]
        assert await victim.wait() == Exit.SHUTDOWN
        with pytest.raises(ActorStopped):
            await talker.ask(Talker.ask, victim)


async def test_stats_say_what_a_node_is_doing(system: System, right: Node) -> None:
    probe = await Probe.start(system)
    victim = await system.spawn(Victim, probe.ref, on="right", name="busy")
    with anyio.fail_after(10):
        await victim.tell(Victim.hang)
        await probe.expect("hanging")
        await victim.tell(Victim.note, 1)
        await victim.tell(Victim.note, 2)
        stats = await right.stats()
        assert (stats["node"], stats["pid"]) == ("right/0", right.pid)
        assert stats["rss"] > 1_000_000
        assert stats["cpu"] > 0
        (busy,) = [actor for actor in stats["actors"] if actor["name"] == "busy"]
        assert (busy["state"], busy["incarnation"]) == ("ready", 1)
        assert busy["mailbox"] == 2
        assert busy["handling"] == "hang"
        assert busy["handling_seconds"] >= 0
        assert busy["class"] == "tests.nodes.node_actors:Victim"
        assert set(stats["links"]) >= {"local"}
        local = await system.node.stats()
        assert local["node"] == "local"
        assert set(local["links"]) == {"left/0", "right/0"}
        await victim.stop(grace=0)
        await victim.wait()


async def test_a_link_for_which_there_is_no_descriptor_is_made_when_there_is_one(
    system: System, right: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = node_of(system, "left/0")
    with anyio.fail_after(20):
        await crash(right)
        await eventually(lambda: right.ready, 10)
        pids = left.pid, right.pid
        talker = await system.spawn(Talker, on="left")
        victim = await system.spawn(Victim, on="right")
        refused = 0

        def none_free() -> Any:
            nonlocal refused
            refused += 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        answers: list[int] = []

        async def ask() -> None:
            answers.append(await talker.ask(Talker.ask, victim))

        async with anyio.create_task_group() as tasks:
            with monkeypatch.context() as patched:
                patched.setattr(direct_links, "pair", none_free)
                tasks.start_soon(ask)
                await eventually(lambda: refused > 1)
                assert answers == []
        assert answers == [right.pid]
        assert (left.pid, right.pid) == pids


async def test_a_node_that_asks_for_links_and_then_ends_ends_no_link_by_an_error(
    system: System, right: Node
) -> None:
    link: Any = coordinator_of(system).runs["left/0"].link
    link._channel._sock.shutdown(socket.SHUT_WR)  # what it sent before is still read
    for times in range(2):
        link.host.handlers.notes[ops.request_link.name](link, "right/0", times)
    assert link.closed is None
    left = node_of(system, "left/0")
    with anyio.fail_after(40):
        await crash(left)
        await eventually(lambda: left.ready, 20)
        talker = await system.spawn(Talker, on="left")
        assert await talker.ask(Talker.ask, await system.spawn(Victim, on="right")) == right.pid
