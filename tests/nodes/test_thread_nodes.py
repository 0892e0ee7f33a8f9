"""A thread node leaves nothing behind, however far it came; what it is sent goes over as it is."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import anyio.to_thread
import pytest

from actors import Actor, NodeDown, Ref, System, Topology, nodes
from actors._system.coordinator import Coordinator
from actors.errors import BootFailed
from actors.testing import eventually, running_system
from tests.conftest import LOOPS

BESIDE = [nodes("beside", kind="thread")]


@pytest.fixture(params=["uvloop", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


class Keeper(Actor):
    """Keeps what it gets, and shows where that is."""

    kept: Any = None

    async def keep(self, value: Any) -> int:
        self.kept = value
        return id(value)

    async def give(self) -> Any:
        return self.kept

    async def thread(self) -> int:
        return threading.get_ident()


BLOCKED = threading.Event()
GATE = threading.Event()


class Busy(Actor):
    """Keeps the loop of its thread until the gate opens."""

    async def block(self) -> None:
        BLOCKED.set()
        GATE.wait(30)  # the loop of this node stands still: that is the point


class Asker(Actor):
    """Has another keep what it gets."""

    def __init__(self, keeper: Ref[Keeper]) -> None:
        self.keeper = keeper

    async def pass_on(self, value: Any) -> int:
        return await self.keeper.ask(Keeper.keep, value)


async def test_a_thread_node_that_cannot_be_imported_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Coordinator, "node_module", "no_such_module_of_a_node")
    # What it had open, the census of every test would find.
    with pytest.raises(BootFailed, match="No module named 'no_such_module_of_a_node'"):
        async with System(Topology(nodes=BESIDE)):
            pytest.fail("it cannot have started")


async def test_a_thread_that_cannot_be_started_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_thread(thread: threading.Thread) -> None:
        if thread.name.startswith("actors node"):
            raise RuntimeError("can't start new thread")
        start(thread)

    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with pytest.raises(BootFailed, match="can't start new thread"):
        async with System(Topology(nodes=BESIDE)):
            pytest.fail("it cannot have started")


async def test_what_cannot_change_is_the_same_object_on_both_sides() -> None:
    data, text = bytes(100_000), "text" * 1000
    async with running_system(Topology(nodes=BESIDE)) as system:
        keeper = await system.spawn(Keeper, on="beside")
        with anyio.fail_after(20):
            assert await keeper.ask(Keeper.thread) != threading.get_ident()
            for value in (data, text):
                assert await keeper.ask(Keeper.keep, value) == id(value)
                assert await keeper.ask(Keeper.give) is value
            other = [1, (2, "3")]
            assert await keeper.ask(Keeper.keep, other) != id(other)
            assert await keeper.ask(Keeper.give) == other
            (node,) = [node for node in system.nodes if node.name == "beside/0"]
            modes = (await node.stats())["links"]["local"]["modes"]
    assert modes["reference"] == 1


async def test_thread_nodes_talk_to_each_other_without_a_socket() -> None:
    data = bytes(100_000)
    async with running_system(Topology(nodes=[nodes("beside", kind="thread", count=2)])) as system:
        keeper = await system.spawn(Keeper, on="beside/0")
        asker = await system.spawn(Asker, keeper, on="beside/1")

        async def keeper_is_back() -> bool:
            try:
                return await asker.ask(Asker.pass_on, "again") != 0
            except NodeDown:
                return False

        with anyio.fail_after(20):
            # What is sent before the way is open is packed, and goes first.
            await asker.ask(Asker.pass_on, "first")
            assert await asker.ask(Asker.pass_on, data) == id(data)
            assert await keeper.ask(Keeper.give) is data
            (node,) = [node for node in system.nodes if node.name == "beside/0"]
            node.kill()
            await eventually(lambda: node.ready and node.restarts == 1, 20)
            await eventually(keeper_is_back, 20)
            assert await asker.ask(Asker.pass_on, data) == id(data)


async def test_an_ask_taken_back_before_the_thread_looked_is_not_run() -> None:
    BLOCKED.clear()
    GATE.clear()
    async with running_system(Topology(nodes=BESIDE)) as system:
        busy = await system.spawn(Busy, on="beside")
        keeper = await system.spawn(Keeper, on="beside", mailbox=20)
        with anyio.fail_after(20):
            try:
                await busy.tell(Busy.block)
                await anyio.to_thread.run_sync(BLOCKED.wait)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(keeper.ask, Keeper.keep, "taken back")
                    await anyio.wait_all_tasks_blocked()
                    # What takes it back goes in the lane of control, ahead of the ask itself.
                    tasks.cancel_scope.cancel()
            finally:
                GATE.set()
            assert await keeper.ask(Keeper.give) is None
            # The place it had in the mailbox is free again.
            for _ in range(40):
                await keeper.ask(Keeper.keep, "kept")
            assert await keeper.ask(Keeper.give) == "kept"
