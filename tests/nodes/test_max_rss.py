"""A node that grows beyond its limit is drained and replaced: nothing that runs is lost, nobody pays."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from actors import Backoff, NodeDown, Ref, Restart, RoundRobin, System, Topology, listen, nodes
from actors._base.events import Event
from actors.testing import Probe, eventually, running_system
from tests.conftest import LOOPS
from tests.nodes.hanging_actors import Gate, Grower, connect

MIB = 2**20
PATIENCE = 20.0
"""Seconds that whatever is no claim may take, on a machine that is busy."""
REPLACED = "replaced: the test wants it"


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """One loop where nothing depends on the parent's."""
    return LOOPS[request.param]


def named(system: System, name: str) -> Any:
    return next(node for node in system.nodes if node.name == name)


async def until(events: AsyncIterator[Event], last: Callable[[Event], bool]) -> list[Event]:
    """Return what happened up to the first event that is the *last* one."""
    seen: list[Event] = []
    while not seen or not last(seen[-1]):
        seen.append(await anext(events))
    return seen


def is_kind(kind: str) -> Callable[[Event], bool]:
    return lambda event: event.kind == kind


@asynccontextmanager
async def running(*groups: Any, **more: Any) -> AsyncIterator[tuple[System, Probe, Ref[Gate]]]:
    async with running_system(Topology(nodes=groups, **more)) as system:
        with anyio.fail_after(50):
            gate = await system.spawn(Gate, on=system.node)
            yield system, await Probe.start(system), gate


@pytest.mark.parametrize(
    "anyio_backend, loop", [("uvloop", "asyncio"), ("trio", "trio")], indirect=["anyio_backend"]
)
async def test_a_node_over_its_limit_comes_back_for_what_waits(loop: Any) -> None:
    web = nodes("web", max_rss=150 * MIB, hang_after=None, backend=loop, shutdown=PATIENCE)
    async with running(web) as (system, probe, gate):
        node, events = named(system, "web/0"), system.events()
        grower = await system.spawn(Grower, probe.ref, on="web")
        mortal = await system.spawn(Grower, on="web", restart=Restart.TEMPORARY)
        before = node.pid
        answers: list[Any] = []

        async def ask(handler: Any, *args: Any) -> None:
            answers.append(await grower.ask(handler, *args))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, Grower.work_beside, gate, "beside")
            await probe.expect(("working", "beside"), PATIENCE)
            tasks.start_soon(ask, Grower.work, gate, "handled")
            await probe.expect(("working", "handled"), PATIENCE)
            await grower.tell(Grower.say, "queued")
            await mortal.tell(Grower.grow, 200)
            seen = await until(events, is_kind("node_draining"))
            why = seen[-1].facts["why"]
            with pytest.raises(NodeDown) as refused:
                grower.tell_nowait(Grower.say, "too early")
            tasks.start_soon(ask, Grower.pid)
            with pytest.raises(NodeDown, match="is draining"):
                await system.spawn(Grower, on="web")
            await gate.tell(Gate.open)
            await probe.expect("queued", PATIENCE)
            await probe.expect("stopped: SHUTDOWN", PATIENCE)
        assert (sorted(answers[:2]), answers[2:]) == (["beside", "handled"], [node.pid])
        text = f"{grower}: node web/0 is draining ({why}); it is being restarted"
        assert (str(refused.value), refused.value.restarting) == (text, True)
        seen += await until(events, is_kind("node_ready"))
        events.close()
        assert await grower.ask(Grower.pid) == node.pid != before
        assert await grower.ask(Grower.incarnation) == 2
        assert node.restarts == 1
        assert str(await mortal.wait()).startswith("NODE_DOWN(web/0: ")
    (over,) = [event.facts for event in seen if event.kind == "node_over_rss"]
    assert (over["node"], over["max_rss"]) == ("web/0", 150 * MIB)
    assert why == f"replaced: {over['rss'] / MIB:.0f} MiB resident, max_rss is 150 MiB"
    assert [event.facts["why"] for event in seen if event.kind == "node_replaced"] == [why]
    assert "node_died" not in [event.kind for event in seen]


async def test_what_does_not_finish_in_time_is_killed_with_its_node() -> None:
    async with running(nodes("web", shutdown=0.5)) as (system, probe, gate):
        node, events = named(system, "web/0"), system.events()
        grower = await system.spawn(Grower, probe.ref, on="web")
        await grower.ask(Grower.block_at_the_end, 60)
        caught: list[NodeDown] = []

        async def work() -> None:
            with pytest.raises(NodeDown) as error:
                await grower.ask(Grower.work, gate, "for ever")
            caught.append(error.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await probe.expect(("working", "for ever"), PATIENCE)
            assert node.replace("the test wants it")
            assert not node.replace("once is enough")
        seen = await until(events, is_kind("node_ready"))
        events.close()
        late = f"{REPLACED}; killed because it took over 0.5 s"
        ends = [(event.kind, event.facts["why"]) for event in seen if "why" in event.facts]
        assert ends == [("node_draining", REPLACED), ("node_replaced", late)]
        text = f"{grower}: node web/0 is down ({late}); it is being restarted"
        assert str(caught[0]) == text


async def test_actors_of_a_draining_node_still_reach_each_other() -> None:
    async with running(nodes("web", shutdown=PATIENCE)) as (system, probe, gate):
        node = named(system, "web/0")
        worker = await system.spawn(Grower, probe.ref, on="web")
        other = await system.spawn(Grower, probe.ref, on="web")
        passed: list[Any] = []

        async def pass_on() -> None:
            passed.append(await worker.ask(Grower.pass_on, other, "from inside"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.ask, Grower.work, gate, "first")
            await probe.expect(("working", "first"), PATIENCE)
            tasks.start_soon(pass_on)
            await anyio.wait_all_tasks_blocked()
            assert node.replace("the test wants it")
            await gate.tell(Gate.open)
        assert passed == ["from inside"]
        await probe.expect("from inside", PATIENCE)


async def test_siblings_wait_while_a_node_drains_and_are_served_by_the_next() -> None:
    async with running(nodes("web", shutdown=PATIENCE), nodes("far")) as (system, probe, gate):
        node, events = named(system, "web/0"), system.events()
        grower = await system.spawn(Grower, probe.ref, on="web")
        far = await system.spawn(Grower, on="far")
        assert await far.ask(Grower.pass_on, grower, "before") == "before"
        answers, passed = list[Any](), list[Any]()

        async def work() -> None:
            answers.append(await far.ask(Grower.work_there, grower, gate))

        async def pass_on_meanwhile() -> None:
            passed.append(await far.ask(Grower.pass_on, grower, "during"))
            passed.append(await grower.ask(Grower.incarnation))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await probe.expect("before", PATIENCE)
            await probe.expect(("working", "there"), PATIENCE)
            assert node.replace("the test wants it")
            tasks.start_soon(pass_on_meanwhile)
            with anyio.move_on_after(0.3) as scope:
                await until(events, is_kind("child_ended"))
            assert scope.cancelled_caught  # it waits for the handler that runs beside the others
            assert passed == []
            await gate.tell(Gate.open)
        assert (answers, passed) == (["there"], ["during", 2])
        await until(events, is_kind("node_ready"))
        events.close()
        await eventually(lambda: node.ready, 10)
        assert await far.ask(Grower.pass_on, grower, "after") == "after"


async def test_connections_are_finished_and_new_ones_go_elsewhere(tmp_path: Path) -> None:
    path = f"{tmp_path}/s"
    web = nodes("web", count=2, shutdown=PATIENCE)
    port = listen("tests.nodes.hanging_actors:echo", f"unix:{path}", policy=RoundRobin())
    async with running(web, listeners=[port]) as (system, _, _):
        events = system.events()
        first, slot = await anyio.to_thread.run_sync(_visit, path)
        node = named(system, slot)
        assert node.replace("the test wants it")
        for _ in range(4):
            client, elsewhere = await anyio.to_thread.run_sync(_visit, path)
            client.close()
            assert elsewhere != slot
        first.sendall(b"still here?")
        assert await anyio.to_thread.run_sync(first.recv, 100) == b"still here?"
        first.close()
        seen = await until(events, is_kind("node_ready"))
        events.close()
        assert (node.ready, node.restarts) == (True, 1)
        assert "node_replaced" in [event.kind for event in seen]


def _visit(path: str) -> tuple[socket.socket, str]:
    """Connect and return the connection and which node serves it."""
    client = connect(path)
    client.settimeout(10)
    return client, client.recv(100).decode().strip()


async def test_a_node_that_is_over_its_limit_at_once_is_paced_by_its_backoff() -> None:
    slowly = Backoff(first=0.05, factor=2, cap=1, jitter=0)
    async with running_system(Topology(nodes=[nodes("web", max_rss=1, backoff=slowly)])) as system:
        delays: list[float] = []
        with anyio.fail_after(50):
            events = system.events()
            while len(delays) < 2:
                event = await anext(events)
                if event.kind == "restart_scheduled":
                    delays.append(event.facts["delay"])
            events.close()
    assert delays == [0, 0.05]


async def test_a_thread_node_can_be_replaced_as_well() -> None:
    async with running(nodes("web", kind="thread", shutdown=PATIENCE)) as (system, probe, gate):
        node = named(system, "web/0")
        grower = await system.spawn(Grower, probe.ref, on="web")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(grower.ask, Grower.work, gate, "it")
            await probe.expect(("working", "it"), PATIENCE)
            assert node.replace("the test wants it")
            await gate.tell(Gate.open)
        await eventually(lambda: node.ready and node.restarts == 1, 10)
        assert node.last_end == REPLACED
        assert await grower.ask(Grower.incarnation) == 2
