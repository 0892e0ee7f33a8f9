"""Bounds and cycles are the same on every kind of node: full mailboxes, self-sends, call cycles."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
import sniffio

from actors import Bounded, Ref
from actors._messaging.byte_bound import COUNTED_FROM
from actors._messaging.mailbox_options import MAILBOX_BYTES
from actors.errors import ActorStopped, CallCycle, DeadlineExceeded, MailboxFull
from actors.testing import eventually
from tests.contracts.contract_actors import Caller, Gate, Worker
from tests.contracts.node_under_test import NodeUnderTest

BIG = bytes(MAILBOX_BYTES * 5 // 8)
"""A mailbox has room for one, not for two."""


async def _full(node: NodeUnderTest) -> tuple[Ref[Worker], Ref[Gate]]:
    """A worker with room for ten that handles one message and has ten waiting."""
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref, mailbox=10)
    await worker.tell(Worker.hold, gate)
    await node.probe.expect(("held", "begins"))
    with anyio.fail_after(5):
        for n in range(10):
            await worker.tell(Worker.note, n)
    return worker, gate


async def test_a_mailbox_takes_as_many_as_it_has_room_for_and_then_senders_wait(
    node: NodeUnderTest,
) -> None:
    worker, gate = await _full(node)
    sent: list[int] = []

    async def send(n: int) -> None:
        await worker.tell(Worker.note, n)
        sent.append(n)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for n in (10, 11):
                tasks.start_soon(send, n)
                await anyio.wait_all_tasks_blocked()
            assert sent == []
            await gate.ask(Gate.open)
        assert await worker.ask(Worker.logged) == ["held", *range(12)]


async def test_c58_tell_nowait_gives_a_message_back_that_has_no_room(node: NodeUnderTest) -> None:
    worker, gate = await _full(node)
    with pytest.raises(MailboxFull) as caught:
        worker.tell_nowait(Worker.note, "eleventh")
    assert str(caught.value) == f"{worker}: its mailbox is full"
    assert caught.value.message == ("note", ("eleventh",), {})
    assert caught.value.ref == worker
    with anyio.fail_after(5):
        await gate.ask(Gate.open)
        assert await worker.ask(Worker.logged) == ["held", *range(10)]
    worker.tell_nowait(*caught_message(caught.value))


def caught_message(error: MailboxFull) -> Any:
    """What to send again, as the error gives it back."""
    assert error.message is not None
    name, args, _ = error.message
    return getattr(Worker, name), *args


async def test_an_ask_waits_for_room_too(node: NodeUnderTest) -> None:
    worker, gate = await _full(node)
    answers: list[int] = []

    async def ask() -> None:
        answers.append(await worker.ask(Worker.add, 2, 3))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await gate.ask(Gate.open)
    assert answers == [5]


async def _held(node: NodeUnderTest) -> tuple[Ref[Worker], Ref[Gate]]:
    """A worker that handles one message until the gate opens."""
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref)
    await worker.tell(Worker.hold, gate)
    await node.probe.expect(("held", "begins"))
    return worker, gate


async def test_a_big_message_waits_for_room_in_bytes_and_small_ones_pass(
    node: NodeUnderTest,
) -> None:
    worker, gate = await _held(node)
    with anyio.fail_after(20):
        await worker.tell(Worker.measure, BIG)
        with pytest.raises(MailboxFull) as caught:
            worker.tell_nowait(Worker.measure, BIG)
        assert str(caught.value) == f"{worker}: its mailbox is full"
        assert caught.value.message == ("measure", (BIG,), {})
        worker.tell_nowait(Worker.note, "small")
        with pytest.raises(DeadlineExceeded, match=r"no room in its mailbox in 0\.05 s"):
            await worker.within(0.05).tell(Worker.measure, BIG)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.tell, Worker.measure, BIG)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(MailboxFull):
                worker.tell_nowait(Worker.note, "would overtake")
            await gate.ask(Gate.open)
        assert await worker.ask(Worker.logged) == ["held", len(BIG), "small", len(BIG)]
        # What was taken makes room.
        for _ in range(2):
            assert await worker.ask(Worker.measure, BIG) == len(BIG)


async def test_a_message_bigger_than_the_mailbox_waits_there_alone(node: NodeUnderTest) -> None:
    worker, gate = await _held(node)
    bigger = bytes(MAILBOX_BYTES + 1)
    with anyio.fail_after(20):
        worker.tell_nowait(Worker.measure, bigger)
        with pytest.raises(MailboxFull):
            worker.tell_nowait(Worker.measure, bytes(COUNTED_FROM + 1))
        worker.tell_nowait(Worker.measure, bytes(COUNTED_FROM))
        await gate.ask(Gate.open)
        assert await worker.ask(Worker.logged) == ["held", len(bigger), COUNTED_FROM]


async def test_a_mailbox_has_the_bounds_that_it_was_given(node: NodeUnderTest) -> None:
    gate, half = await node.gate(), bytes(100_000)
    bounds = Bounded(messages=5, bytes=200_000)
    worker = await node.spawn(Worker, node.probe.ref, mailbox=bounds)
    assert (worker.bounds, worker.mailbox) == (bounds, 5)
    await worker.tell(Worker.hold, gate)
    await node.probe.expect(("held", "begins"))
    with anyio.fail_after(20):
        for _ in range(2):
            await worker.tell(Worker.measure, half)
        with pytest.raises(MailboxFull):
            worker.tell_nowait(Worker.measure, half)
        for number in range(3):
            await worker.tell(Worker.note, number)
        with pytest.raises(MailboxFull):
            worker.tell_nowait(Worker.note, "sixth")

        async def figures() -> dict[str, Any]:
            there = next(one for one in node.system.nodes if one.name == node.on)
            stats = await there.stats()
            return next(one for one in stats["actors"] if one["uid"] == worker.uid)

        await eventually(lambda: _waiting(figures, 5))
        assert (await figures())["mailbox_bytes"] == 200_000
        await gate.ask(Gate.open)
        assert await worker.ask(Worker.logged) == ["held", 100_000, 100_000, 0, 1, 2]
        assert (await figures())["mailbox_bytes"] == 0


async def _waiting(figures: Any, count: int) -> bool:
    return bool((await figures())["mailbox"] == count)


async def test_a_thousand_messages_of_a_mebibyte_are_64_at_a_time(node: NodeUnderTest) -> None:
    worker, gate = await _held(node)
    sent = 0

    async def send() -> None:
        nonlocal sent
        await worker.tell(Worker.measure, payload)
        sent += 1

    payload = bytes(2**20)
    with anyio.fail_after(40):
        async with anyio.create_task_group() as tasks:
            for _ in range(1024):
                tasks.start_soon(send)
            await eventually(lambda: sent == 64)
            await anyio.wait_all_tasks_blocked()
            assert sent == 64
            await gate.ask(Gate.open)
        assert await worker.ask(Worker.logged) == ["held", *[2**20] * 1024]


async def test_the_end_of_an_actor_refuses_who_waits_for_room_in_bytes(node: NodeUnderTest) -> None:
    worker, _ = await _held(node)
    refused: list[Any] = []

    async def send() -> None:
        with pytest.raises(ActorStopped) as caught:
            await worker.tell(Worker.measure, BIG)
        refused.append(caught.value.message)

    with anyio.fail_after(20):
        await worker.tell(Worker.measure, BIG)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            await worker.stop(grace=0)
        assert refused == [("measure", (BIG,), {})]


async def test_a_sender_cancelled_in_the_line_leaves_it(node: NodeUnderTest) -> None:
    worker, gate = await _full(node)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.tell, Worker.note, "cancelled tell")
            tasks.start_soon(worker.ask, Worker.note, "cancelled ask")
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        await gate.ask(Gate.open)
        await worker.tell(Worker.note, "after")
        assert await worker.ask(Worker.logged) == ["held", *range(10), "after"]


async def test_a_full_mailbox_holds_up_nobody_else(node: NodeUnderTest) -> None:
    worker, gate = await _full(node)
    other = await node.spawn(Worker)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.tell, Worker.note, "waits in line")
            await anyio.wait_all_tasks_blocked()
            assert await other.ask(Worker.add, 1, 1) == 2
            await gate.ask(Gate.open)


async def test_c58_stop_and_kill_pass_a_full_mailbox(node: NodeUnderTest) -> None:
    worker, _ = await _full(node)
    with anyio.fail_after(5):
        worker.kill()
        assert await worker.ask(Worker.incarnation) == 2
        assert await worker.ask(Worker.logged) == list(range(10))
        await worker.stop()
        assert str(await worker.wait()) == "SHUTDOWN"


async def test_concurrent_handlers_that_run_take_no_room(node: NodeUnderTest) -> None:
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref, mailbox=2)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for label in range(5):
                tasks.start_soon(worker.ask, Worker.hold_beside, gate, label)
                await node.probe.expect((label, "begins"))
            assert await worker.ask(Worker.add, 1, 1) == 2
            await gate.ask(Gate.open)


@pytest.mark.parametrize("kind", ["call", "concurrent", "stream"])
async def test_a_message_taken_back_gives_its_room_back(node: NodeUnderTest, kind: str) -> None:
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref, mailbox=1)
    await worker.tell(Worker.hold, gate)
    await node.probe.expect(("held", "begins"))

    async def stream() -> None:
        async with worker.stream(Worker.numbers) as items:
            await anext(items)

    with anyio.fail_after(5):
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                if kind == "call":
                    tasks.start_soon(worker.ask, Worker.note, "unwanted")
                elif kind == "concurrent":
                    tasks.start_soon(worker.ask, Worker.hold_beside, gate, "unwanted")
                else:
                    tasks.start_soon(stream)
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
        await worker.tell(Worker.note, "wanted")
        await gate.ask(Gate.open)
        assert await worker.ask(Worker.logged) == ["held", "wanted"]


async def test_c58_a_message_to_itself_passes_the_bound(node: NodeUnderTest) -> None:
    caller = await node.spawn(Caller, mailbox=1)
    with anyio.fail_after(5):
        assert await caller.ask(Caller.tell_myself, 10) == 10
        assert await caller.ask(Caller.name) == caller.name


async def test_c44_an_ask_of_itself_is_refused_and_named(node: NodeUnderTest) -> None:
    caller = await node.spawn(Caller)
    with anyio.fail_after(5):
        with pytest.raises(CallCycle) as caught:
            await caller.ask(Caller.ask_myself)
        assert str(caught.value) == f"{caller}: asking would wait for the asking actor itself"
        assert caught.value.message == ("name", (), {})
        # A concurrent handler holds nobody up: it may.
        assert await caller.ask(Caller.ask_myself_beside) == caller.name


@pytest.mark.parametrize("length", [2, 3])
async def test_a_cycle_of_asks_is_refused_where_it_would_close(
    node: NodeUnderTest, length: int
) -> None:
    ring = [await node.spawn(Caller) for _ in range(length)]
    with anyio.fail_after(5):
        for caller, friend in zip(ring, [*ring[1:], ring[0]], strict=True):
            await caller.ask(Caller.befriend, friend)
        with pytest.raises(CallCycle) as caught:
            await ring[0].ask(Caller.ask_friend)
        assert caught.value.ref == ring[0]
        for caller, friend in zip(ring, [*ring[1:], ring[0]], strict=True):
            assert await caller.ask(Caller.ask_name_of_friend) == friend.name


@pytest.mark.parametrize("verb", ["ask", "tell"])
async def test_two_actors_full_on_each_other_are_named_not_suffered(
    node: NodeUnderTest, verb: str
) -> None:
    here = await node.spawn(Caller, mailbox=2, on=node.system.node.name)
    there = await node.spawn(Caller, mailbox=2)
    pair = {here: there, there: here}
    gate = await node.gate()
    told: list[int] = []
    cycles: list[str] = []

    async def run(one: Ref[Caller]) -> None:
        try:
            told.append(await one.ask(Caller.tell_friend, verb, 10, gate, node.probe.ref))
        except CallCycle as error:
            cycles.append(str(error.ref))

    with anyio.fail_after(20):
        for one, other in pair.items():
            await one.ask(Caller.befriend, other)
        async with anyio.create_task_group() as tasks:
            for one in pair:
                tasks.start_soon(run, one)
                await node.probe.expect("begins")
            await gate.ask(Gate.open)
        assert cycles
        assert len(told) + len(cycles) == 2
        # Both of them go on.
        for one, other in pair.items():
            assert await one.ask(Caller.ask_name_of_friend) == other.name


async def test_a_sender_that_waits_for_room_at_its_asker_is_refused(node: NodeUnderTest) -> None:
    asker = await node.spawn(Caller, mailbox=1, on=node.system.node.name)
    told = await node.spawn(Caller)
    gate = await node.gate()
    with anyio.fail_after(20):
        await gate.ask(Gate.open)
        await told.ask(Caller.befriend, asker)
        with pytest.raises(CallCycle, match="would wait for the asking actor itself"):
            await asker.ask(Caller.have_told, told, gate, node.probe.ref)
        assert await asker.ask(Caller.name) == asker.name


async def test_an_ask_cancelled_as_it_gets_its_place_is_not_run(node: NodeUnderTest) -> None:
    if sniffio.current_async_library() != "asyncio":
        return  # only asyncio lets a bare cancellation in between
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref, mailbox=1)
    await worker.tell(Worker.hold, gate)
    await node.probe.expect(("held", "begins"))
    tasks: list[asyncio.Task[None]] = []

    async def first() -> None:
        try:
            await worker.ask(Worker.note, "first")
        finally:
            # Its place in the mailbox has just become the second's.
            tasks[1].cancel()

    with anyio.fail_after(5):
        for message in (first(), worker.ask(Worker.note, "second")):
            tasks.append(asyncio.create_task(message))
            await anyio.wait_all_tasks_blocked()
        tasks[0].cancel()
        await asyncio.wait(tasks)
        await gate.ask(Gate.open)
        assert await worker.ask(Worker.logged) == ["held"]


@pytest.mark.parametrize("verb", ["ask", "tell"])
async def test_c58_waiting_for_room_ends_with_the_deadline(node: NodeUnderTest, verb: str) -> None:
    worker, gate = await _full(node)
    with anyio.fail_after(5):
        with pytest.raises(DeadlineExceeded) as caught:
            await getattr(worker.within(0.1), verb)(Worker.note, "late")
        assert str(caught.value) == f"{worker}: no room in its mailbox in 0.1 s"
        assert caught.value.message == ("note", ("late",), {})
        await gate.ask(Gate.open)
        assert await worker.ask(Worker.logged) == ["held", *range(10)]
