"""Decorated handlers do the same on every kind of node: batches, and limits of what runs at a time."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Actor, Ref, batched, concurrent
from actors.testing import Recorder
from tests.contracts.contract_actors import Gate
from tests.contracts.node_under_test import NodeUnderTest


class Sums(Actor):
    """Handles in each of the ways."""

    def __init__(self, probe: Ref[Recorder]) -> None:
        self.probe = probe
        self.sizes: list[int] = []

    @batched(most=5, within=5)
    async def double(self, numbers: list[int]) -> list[int | Exception]:
        self.sizes.append(len(numbers))
        return [2 * number if number else ZeroDivisionError("nothing") for number in numbers]

    async def batches(self) -> list[int]:
        return self.sizes

    @concurrent(limit=2)
    async def hold(self, gate: Ref[Gate], label: int) -> int:
        await self.probe.tell(Recorder.record, label)
        await gate.ask(Gate.wait)
        return label


async def test_each_asker_gets_its_own_part_of_a_batch(node: NodeUnderTest) -> None:
    ref = await node.spawn(Sums, node.probe.ref)
    replies: dict[int, Any] = {}

    async def ask(number: int) -> None:
        try:
            replies[number] = await ref.ask(Sums.double, number)
        except ZeroDivisionError as error:
            replies[number] = error.args

    with anyio.fail_after(4):
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(ask, number)
        assert await ref.ask(Sums.batches) == [5]
    assert replies == {0: ("nothing",), 1: 2, 2: 4, 3: 6, 4: 8}


async def test_calls_over_a_limit_wait_and_are_answered(node: NodeUnderTest) -> None:
    gate = await node.gate()
    ref = await node.spawn(Sums, node.probe.ref)
    replies: list[int] = []

    async def ask(label: int) -> None:
        replies.append(await ref.ask(Sums.hold, gate, label))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for label in range(5):
                tasks.start_soon(ask, label)
            first = {await node.probe.next(), await node.probe.next()}
            assert await ref.ask(Sums.batches) == []  # other messages go on
            assert len(node.probe.heard) == len(first) == 2
            await gate.ask(Gate.open)
    assert sorted(replies) == list(range(5))


async def test_a_withdrawn_call_that_waits_over_a_limit_never_runs(node: NodeUnderTest) -> None:
    gate = await node.gate()
    ref = await node.spawn(Sums, node.probe.ref)
    for label in range(2):
        await ref.tell(Sums.hold, gate, label)
    await ref.wait_ready()
    with pytest.raises(TimeoutError):
        await ref.within(0.05).ask(Sums.hold, gate, 99)
    await ref.tell(Sums.hold, gate, 2)
    await gate.ask(Gate.open)
    assert {await node.probe.next() for _ in range(3)} == {0, 1, 2}
