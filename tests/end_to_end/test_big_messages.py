"""A big message on its way to one actor delays no other of its node, and nothing overtakes that should not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from actors import Ref, SharedBuffer, System, Topology, nodes
from actors.testing import eventually, running_system
from actors.transport.wire.frames import BULK_LANES
from tests.end_to_end.big_message_actors import Receiver, Watching

pytestmark = pytest.mark.within(30)

BIG = 20_000_000
"""Bytes; as text they always go by copy."""


@pytest.fixture(scope="module")
async def system(no_leaks_in_file: None) -> AsyncIterator[System]:
    async with running_system(Topology(nodes=[nodes("box")])) as system:
        yield system


@pytest.fixture
async def box(system: System) -> AsyncIterator[Ref[Receiver]]:
    """An actor by which the node is blocked, and asked what came."""
    ref = await system.spawn(Receiver, on="box", name="first")
    await ref.ask(Receiver.order)
    yield ref
    await ref.stop()
    await ref.wait()


async def test_messages_to_other_actors_pass_and_those_to_the_same_one_do_not(
    system: System, box: Ref[Receiver]
) -> None:
    other = await system.spawn(Receiver, on="box", name="other")
    third = await system.spawn(Receiver, on="box", name="third")
    gate = SharedBuffer(8)
    await box.tell(Receiver.block, gate)
    await other.tell(Receiver.take, " " * BIG)
    await other.tell(Receiver.take, " ")
    await third.tell(Receiver.take, " " * 1_000_000)
    await third.tell(Receiver.take, "  ")
    await box.tell(Receiver.take, " ")
    gate.atomics.store(0, 1)
    await other.ask(Receiver.take, "  ")
    assert await box.ask(Receiver.order) == [
        "first 1",
        "third 1000000",
        "third 2",
        f"other {BIG}",
        "other 1",
        "other 2",
    ]
    await other.stop()
    await third.stop()


async def test_a_big_ask_that_is_cancelled_on_its_way_does_not_run_on(
    system: System, box: Ref[Receiver]
) -> None:
    other = await system.spawn(Receiver, on="box")
    gate = SharedBuffer(8)
    await box.tell(Receiver.block, gate)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other.ask, Receiver.linger, " " * BIG)
        await anyio.sleep(0.02)
        await box.tell(Receiver.take, "a later message")
        tasks.cancel_scope.cancel()
    gate.atomics.store(0, 1)
    await other.ask(Receiver.take, "it handles the next one")
    await other.stop()


async def test_the_end_of_an_actor_comes_behind_the_big_message_it_sent(
    system: System, box: Ref[Receiver]
) -> None:
    other = await system.spawn(Receiver, on="box")
    watching = await system.spawn(Watching)
    await watching.ask(Watching.watch, other)
    await other.tell(Receiver.tell_and_end, watching, BIG)
    assert await watching.ask(Watching.order) == [str(BIG), "NORMAL"]
    await watching.stop()


async def test_senders_of_big_messages_wait_and_the_link_keeps_only_some(
    system: System, box: Ref[Receiver]
) -> None:
    count = 3 * len(BULK_LANES)
    others = [await system.spawn(Receiver, on="box") for _ in range(count)]
    sent = []

    async def send(ref: Ref[Receiver]) -> None:
        await ref.tell(Receiver.take, " " * 2_000_000)
        sent.append(ref)

    gate = SharedBuffer(8)
    await box.tell(Receiver.block, gate)
    async with anyio.create_task_group() as tasks:
        for ref in others:
            tasks.start_soon(send, ref)
        await anyio.sleep(0.02)
        assert len(BULK_LANES) <= len(sent) <= len(BULK_LANES) + 1
        gate.atomics.store(0, 1)
        await box.ask(Receiver.take, "small ones pass")
    assert len(sent) == count

    async def all_came() -> bool:
        found.extend(await box.ask(Receiver.order))
        return len(found) == count + 1

    found: list[str] = []
    await eventually(all_came)
    for ref in others:
        await ref.stop()
