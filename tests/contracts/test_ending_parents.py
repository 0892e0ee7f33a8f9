"""What a child asks of a parent that is ending is refused at once: the parent waits for the child (C69)."""

from __future__ import annotations

import anyio
import pytest

from actors import Actor, Exit, Ref
from actors.errors import CallCycle
from actors.testing import Recorder
from tests.contracts.node_under_test import NodeUnderTest


class Child(Actor):
    """Asks its parent when it is told to, and when it ends."""

    def __init__(self, parent: Ref[Parent], probe: Ref[Recorder]) -> None:
        self.parent = parent
        self.probe = probe

    async def begin(self) -> None:
        await self.probe.tell(Recorder.record, "asks")
        await self._ask("while it works")

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002, ARG002 - as the hook has it
        await self._ask("when it ends")

    async def _ask(self, where: str) -> None:
        try:
            await self.parent.ask(Parent.ok)
        except CallCycle:
            await self.probe.tell(Recorder.record, where)


class Parent(Actor):
    async def grow(self, probe: Ref[Recorder]) -> Ref[Child]:
        return await self.context.spawn(Child, self.context.ref, probe)

    async def ok(self) -> int:
        return 1

    async def stop_behind(self, gate: Ref[Parent], probe: Ref[Recorder]) -> None:
        """End with the next message, and take this one until the gate is gone."""
        await self.context.ref.stop()
        await probe.tell(Recorder.record, "ends next")
        await gate.wait()


async def test_c69_a_child_that_asks_its_ending_parent_as_it_ends_is_refused(
    node: NodeUnderTest,
) -> None:
    with anyio.fail_after(4.5):
        parent = await node.spawn(Parent)
        child = await parent.ask(Parent.grow, node.probe.ref)
        await parent.stop()
        assert await parent.wait() == Exit.SHUTDOWN
        assert await child.wait() == Exit.SHUTDOWN
        await node.probe.expect("when it ends")


@pytest.mark.parametrize("times", [1, 3])
async def test_c69_a_child_whose_question_is_queued_when_its_parent_ends_is_refused(
    node: NodeUnderTest, times: int
) -> None:
    with anyio.fail_after(4.5):
        gate = await node.spawn(Parent)
        parent = await node.spawn(Parent)
        children = [await parent.ask(Parent.grow, node.probe.ref) for _ in range(times)]
        await parent.tell(Parent.stop_behind, gate, node.probe.ref)
        await node.probe.expect("ends next")
        for child in children:
            await child.tell(Child.begin)
        for _ in range(times):
            await node.probe.expect("asks")
        await gate.stop()
        assert await parent.wait() == Exit.SHUTDOWN
        heard = [await node.probe.next() for _ in range(2 * times)]
        assert sorted(heard) == ["when it ends"] * times + ["while it works"] * times
