"""Nodes are stopped, drained and killed: from the system that made them, and from themselves."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import psutil
import pytest

from actors import ActorsError, Backoff, Node, NodeDown, Restart, System, Topology, child, nodes
from actors._base.events import Event
from actors.errors import InvalidSpec
from actors.testing import Probe, eventually, running_system
from tests.conftest import LOOPS
from tests.nodes.worker_actors import RELEASE, Gate, Worker

PATIENCE = 30.0
QUICKLY = Backoff(first=0.01, factor=1, cap=0.01)
SLOWLY = Backoff(first=600, cap=600, jitter=0)
GROUPS = [
    nodes("process", count=2, backoff=QUICKLY),
    nodes("thread", kind="thread", count=2, backoff=QUICKLY),
    nodes("late", kind="thread", count=2, backoff=SLOWLY),
]
KINDS = pytest.mark.parametrize("kind", ["process", "thread"])
PROCESS = pytest.mark.parametrize("kind", ["process"])
THREAD = pytest.mark.parametrize("kind", ["thread"])


@pytest.fixture(scope="module", params=["uvloop", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


@pytest.fixture(scope="module")
async def running(no_leaks_in_file: None, anyio_backend: object) -> AsyncIterator[System]:
    async with running_system(Topology(nodes=GROUPS)) as system:
        yield system


@pytest.fixture(autouse=True)
def _nothing_left(no_leaks_in_file: None) -> None:
    """The system is the file's, and so is the census."""


@pytest.fixture
async def system(running: System, kind: str) -> AsyncIterator[System]:
    """The system of the file; what a test has ended there is started again after it."""
    RELEASE.clear()
    yield running
    RELEASE.set()
    with anyio.fail_after(PATIENCE):
        await running.scale(kind, 2)
        both = [named(running, f"{kind}/{slot}") for slot in range(2)]
        await eventually(lambda: all(node.ready for node in both), PATIENCE)


@pytest.fixture
async def probe(system: System) -> Probe:
    return await Probe.start(system)


def named(system: System, name: str) -> Node:
    return next(node for node in system.nodes if node.name == name)


def left(system: System, kind: str) -> list[str]:
    """Return which nodes of the group there are."""
    return [node.name for node in system.nodes if node.group == kind]


async def heard(stream: AsyncIterator[Event], kind: str, **facts: object) -> Mapping[str, Any]:
    """Wait for an event."""
    with anyio.fail_after(PATIENCE):
        async for event in stream:
            if event.kind == kind and facts.items() <= event.facts.items():
                return event.facts
    raise AssertionError(f"the events ended without {kind} {facts}")


@KINDS
async def test_a_stopped_node_is_gone_and_its_actors_fail_for_good(
    system: System, kind: str
) -> None:
    events = system.events()
    node = named(system, f"{kind}/1")
    worker = await system.spawn(Worker, on=node, name="worker")
    pid = node.pid
    await node.stop()
    assert left(system, kind) == [f"{kind}/0"]
    assert (node.state.value, node.pid, node.lost) == ("EXITED", None, True)
    assert node.kind == "thread" or not psutil.pid_exists(pid or 0)
    with pytest.raises(NodeDown, match="it is not coming back") as caught:
        await worker.ask(Worker.ping)
    assert caught.value.restarting is False
    assert str(await worker.wait()).startswith(f"NODE_DOWN({kind}/1: ")
    assert await system.lookup("worker") is None
    assert (await heard(events, "node_ended"))["node"] == f"{kind}/1"
    await node.stop()  # it is gone already
    with pytest.raises(InvalidSpec, match="no node or group"):
        await system.spawn(Worker, on=f"{kind}/1")


@KINDS
async def test_what_a_node_is_at_is_finished_before_it_ends(
    system: System, kind: str, probe: Probe
) -> None:
    gate = await system.spawn(Gate)
    worker = await system.spawn(Worker, probe.ref, on=f"{kind}/1")
    node = named(system, f"{kind}/1")
    answers: list[str] = []

    async def ask() -> None:
        answers.append(await worker.ask(Worker.work, gate))

    events = system.events()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await probe.expect(0)
        for n in (1, 2, 3):
            await worker.tell(Worker.note, n)
        tasks.start_soon(node.stop)
        await heard(events, "node_draining", node=f"{kind}/1")
        assert node.state.value == "DRAINING"
        with pytest.raises(NodeDown, match=rf"{kind}/1 is draining .* it is not coming back"):
            await worker.ask(Worker.ping)
        with pytest.raises(NodeDown, match=f"{kind}/1 is draining"):
            await system.spawn(Worker, on=f"{kind}/1")
        await gate.tell(Gate.open)
    assert answers == ["done"]
    assert probe.heard == [0, 1, 2, 3]


@KINDS
async def test_a_killed_node_is_restarted_and_so_are_its_actors(system: System, kind: str) -> None:
    events = system.events()
    node = named(system, f"{kind}/0")
    worker = await system.spawn(Worker, on=f"{kind}/0", restart=Restart.PERMANENT)
    pid, before = node.pid, node.restarts
    node.kill()
    facts = await heard(events, "node_died")
    assert facts["node"] == f"{kind}/0"
    await heard(events, "node_ready", node=f"{kind}/0")
    assert node.restarts == before + 1
    assert node.kind == "thread" or node.pid != pid
    asked = f"killed by SIGKILL, as node {system.node.name} asked"
    assert node.kind == "thread" or facts["why"] == asked
    await eventually(lambda: node.ready, PATIENCE)
    assert await worker.ask(Worker.ping) == f"{kind}/0"


@PROCESS
async def test_a_node_that_is_killed_while_it_drains_ends_at_once_and_for_good(
    system: System, kind: str, probe: Probe
) -> None:
    gate = await system.spawn(Gate)
    worker = await system.spawn(Worker, probe.ref, on=f"{kind}/1")
    node = named(system, f"{kind}/1")
    events = system.events()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_fails_with, worker, gate)
        await probe.expect(0)
        tasks.start_soon(node.stop, 600.0)
        await heard(events, "node_draining")
        node.kill()
    assert left(system, kind) == [f"{kind}/0"]
    facts = await heard(events, "node_ended", node=f"{kind}/1")
    assert facts["why"] == f"killed by SIGKILL, as node {system.node.name} asked"


async def _fails_with(worker: Any, gate: Any) -> None:
    with pytest.raises(NodeDown) as caught:
        await worker.ask(Worker.work, gate)
    assert caught.value.restarting is False


@PROCESS
async def test_l04_a_process_that_spins_is_killed_after_its_grace_and_others_serve_on(
    system: System, kind: str, probe: Probe
) -> None:
    spinner = await system.spawn(Worker, probe.ref, on=f"{kind}/1")
    other = await system.spawn(Worker, on=f"{kind}/0")
    node = named(system, f"{kind}/1")
    pid = node.pid
    assert pid is not None
    await spinner.tell(Worker.spin)
    await probe.expect(0)
    events = system.events()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node.stop, 0.5)
        await heard(events, "node_draining")
        answered = 0
        while node.pid is not None:
            assert await other.ask(Worker.ping) == f"{kind}/0"
            answered += 1
    assert answered > 1
    assert not psutil.pid_exists(pid)
    assert (await heard(events, "shutdown_overrun", child=f"{kind}/1"))["grace"] == 0.5
    ended = await heard(events, "node_ended", node=f"{kind}/1")
    assert ended["why"] == "killed by SIGKILL"
    assert (await heard(events, "child_ended", child=f"{kind}/1"))["exit"] == "KILLED"


@THREAD
async def test_l04_a_thread_that_does_not_end_is_abandoned_with_its_stack_and_the_process_lives(
    system: System, kind: str, probe: Probe
) -> None:
    stuck = await system.spawn(Worker, probe.ref, on=f"{kind}/1")
    other = await system.spawn(Worker, on=f"{kind}/0")
    await stuck.tell(Worker.block)
    await probe.expect(0)
    events = system.events()
    await named(system, f"{kind}/1").stop(grace=0.1)
    assert left(system, kind) == [f"{kind}/0"]
    facts = await heard(events, "node_abandoned", node=f"{kind}/1")
    assert "worker_actors.py" in facts["stack"]
    assert "in block" in facts["stack"]
    ended = await heard(events, "node_ended", node=f"{kind}/1")
    assert ended["why"] == "abandoned: a thread cannot be killed, and it did not end"
    assert (await heard(events, "child_ended", child=f"{kind}/1"))["exit"] == "ABANDONED"
    assert await other.ask(Worker.ping) == f"{kind}/0"
    RELEASE.set()
    await eventually(lambda: node_threads(f"{kind}/1") == 0, PATIENCE)


def node_threads(name: str) -> int:
    return sum(name in thread.name for thread in threading.enumerate())


@KINDS
async def test_l05_a_node_ends_whether_its_actor_says_so_or_its_parent_and_is_not_restarted(
    system: System,
    kind: str,
) -> None:
    first = await system.spawn(Worker, on=f"{kind}/0")
    second = await system.spawn(Worker, on=f"{kind}/1")
    events = system.events()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(named(system, f"{kind}/1").stop)
        # The handler that asks is finished, too: its asker has the reply.
        assert await first.ask(Worker.stop_my_node) == "it ends when this is done"
    ended = {(await heard(events, "node_ended"))["node"] for _ in range(2)}
    assert ended == {f"{kind}/0", f"{kind}/1"}
    await eventually(lambda: left(system, kind) == [], PATIENCE)
    assert str(await first.wait()).startswith(f"NODE_DOWN({kind}/0: ")
    assert str(await second.wait()).startswith(f"NODE_DOWN({kind}/1: ")
    rows = (await system.tree())["children"][0]["children"]
    assert not [row for row in rows if row["name"].startswith(kind)]


@KINDS
async def test_l05_both_at_once_are_one_end(system: System, kind: str) -> None:
    worker = await system.spawn(Worker, on=f"{kind}/1")
    node = named(system, f"{kind}/1")
    events = system.events()

    async def ask() -> None:
        try:
            await worker.ask(Worker.stop_my_node)
        except NodeDown as error:
            assert error.restarting is False  # noqa: PT017 - it may come too late, which is no failure

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        tasks.start_soon(node.stop)
        tasks.start_soon(node.stop)
    assert left(system, kind) == [f"{kind}/0"]
    named(system, f"{kind}/0").kill()
    seen: list[str] = []
    async for event in events:
        if event.facts.get("node") == f"{kind}/0":
            break
        seen += [event.kind] * (event.facts.get("node") == f"{kind}/1")
    assert seen == ["node_draining", "node_ended"]


@PROCESS
async def test_an_actor_can_have_its_node_killed(system: System, kind: str) -> None:
    node = named(system, f"{kind}/0")
    before = node.restarts
    worker = await system.spawn(Worker, on=f"{kind}/0")
    by = f"killed by SIGKILL, as actor {re.escape(worker.name)} asked"
    with pytest.raises(NodeDown, match=by) as caught:
        await worker.ask(Worker.kill_my_node)
    assert caught.value.restarting is True
    await eventually(lambda: node.ready and node.restarts > before, PATIENCE)


@KINDS
async def test_a_drained_node_gets_nothing_new_and_lives_until_it_is_stopped(
    system: System,
    kind: str,
) -> None:
    node = named(system, f"{kind}/1")
    pid = node.pid
    worker = await system.spawn(Worker, on=node)
    await node.drain()
    assert (node.state.value, node.pid) == ("DRAINING", pid)
    with pytest.raises(NodeDown, match=f"{kind}/1 is draining") as caught:
        await worker.ask(Worker.ping)
    assert caught.value.restarting is True
    with pytest.raises(NodeDown, match=f"{kind}/1 is draining"):
        await system.spawn(Worker, on=f"{kind}/1")
    assert await (await system.spawn(Worker, on=kind)).ask(Worker.ping) == f"{kind}/0"
    await node.drain()
    await node.stop()
    assert left(system, kind) == [f"{kind}/0"]


@PROCESS
async def test_a_static_child_of_a_stopped_node_ends_for_good(system: System, kind: str) -> None:
    await system.start(child(Worker, name="keeper", on=f"{kind}/1"))
    keeper = await system.lookup("keeper")
    assert keeper is not None
    await named(system, f"{kind}/1").stop()
    assert str(await keeper.wait()).startswith(f"NODE_DOWN({kind}/1: ")
    (row,) = [row for row in (await system.tree())["children"] if row["name"] == "keeper"]
    assert row["state"] == "STOPPED"


@PROCESS
async def test_who_no_longer_waits_for_a_stop_does_not_take_it_back(
    system: System, kind: str, probe: Probe
) -> None:
    gate = await system.spawn(Gate)
    worker = await system.spawn(Worker, probe.ref, on=f"{kind}/1")
    await worker.tell(Worker.work, gate)
    await probe.expect(0)
    events = system.events()
    node = named(system, f"{kind}/1")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node.stop)
        await heard(events, "node_draining")
        tasks.cancel_scope.cancel()
    await gate.tell(Gate.open)
    await eventually(lambda: node.lost, PATIENCE)
    assert left(system, kind) == [f"{kind}/0"]


@pytest.mark.parametrize("kind", ["late"])
async def test_a_node_that_waits_for_its_restart_is_stopped_at_once(
    system: System, kind: str
) -> None:
    events = system.events()
    node = named(system, f"{kind}/1")
    node.kill()
    await heard(events, "node_ready", node=f"{kind}/1")
    node.kill()
    await heard(events, "restart_scheduled", child=f"{kind}/1", delay=600.0)
    assert node.pid is None
    await node.stop()
    assert left(system, kind) == [f"{kind}/0"]


@pytest.mark.parametrize("kind", ["late"])
async def test_the_local_node_refuses_with_one_clear_error(system: System) -> None:
    text = "the local node 'local' lives as long as its system; `await system.stop()` ends both"
    with pytest.raises(ActorsError, match=re.escape(f"stop: {text}")):
        await system.node.stop()
    with pytest.raises(ActorsError, match=re.escape(f"drain: {text}")):
        await system.node.drain()
    with pytest.raises(ActorsError, match=re.escape(f"kill: {text}")):
        system.node.kill()


@pytest.mark.parametrize("kind", ["late"])
@pytest.mark.parametrize("grace", [-1, math.nan, True, "5"])
async def test_a_grace_that_can_never_work_is_shown(system: System, kind: str, grace: Any) -> None:
    with pytest.raises(InvalidSpec, match=f"grace must be 0 or more seconds, got {grace!r}"):
        await named(system, f"{kind}/0").stop(grace)
    assert left(system, kind) == [f"{kind}/0", f"{kind}/1"]
