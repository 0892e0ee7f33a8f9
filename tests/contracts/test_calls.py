"""What an actor does is the same on every kind of node: calls, order, deadlines, cancellation."""

from __future__ import annotations

import re

import anyio
import pytest

from actors.errors import DeadlineExceeded
from tests.contracts.contract_actors import Caller, Gate, Impatient, Worker
from tests.contracts.node_under_test import NodeUnderTest


async def test_an_ask_returns_what_the_handler_returns(node: NodeUnderTest) -> None:
    worker = await node.spawn(Worker)
    with anyio.fail_after(5):
        assert await worker.ask(Worker.add, 2, b=3) == 5
        assert await worker.ask(Worker.add, 2) == 3
        assert await worker.ask(Worker.logged) == [("add", 2, 3), ("add", 2, 1)]


async def test_a_ref_says_where_and_who_its_actor_is(node: NodeUnderTest) -> None:
    worker = await node.spawn(Worker, name="who")
    with anyio.fail_after(5):
        assert await worker.ask(Worker.where) == (node.on, "who")
    assert (worker.node, worker.name) == (node.on, "who")
    assert repr(worker) == f"<Ref who Worker on {node.on}>"


async def test_a_ref_sent_to_its_own_node_and_back_is_equal_and_works(node: NodeUnderTest) -> None:
    caller = await node.spawn(Caller)
    with anyio.fail_after(5):
        await caller.ask(Caller.befriend, caller)
        keeper = await node.spawn(Worker)
        await keeper.tell(Worker.note, caller)
        (back,) = await keeper.ask(Worker.logged)
        assert back == caller
        assert hash(back) == hash(caller)
        assert await back.ask(Caller.name) == caller.name


async def test_messages_of_one_sender_keep_their_order_whatever_their_size(
    node: NodeUnderTest,
) -> None:
    worker = await node.spawn(Worker)
    sizes = [1, 65_521, 3, 2_000_000, 10, 65_537, 0, 300_000, 5]
    with anyio.fail_after(20):
        for index, size in enumerate(sizes):
            await worker.tell(Worker.note, (index, len(bytes(size)), bytes(size)[:1]))
            await worker.tell(Worker.note, bytes(size))
            worker.tell_nowait(Worker.note, index)
        log = await worker.ask(Worker.logged)
    assert [item for item in log if isinstance(item, int)] == list(range(len(sizes)))
    assert [len(item) for item in log if isinstance(item, bytes)] == sizes
    assert log[0::3] == [(index, size, bytes(size)[:1]) for index, size in enumerate(sizes)]


async def test_an_actor_handles_one_message_at_a_time(node: NodeUnderTest) -> None:
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref)
    await worker.tell(Worker.hold, gate, 1)
    await worker.tell(Worker.hold, gate, 2)
    await worker.tell(Worker.tell, "after both")
    await node.probe.expect((1, "begins"))
    with anyio.fail_after(5):
        await gate.ask(Gate.open)
        # Had they run side by side, the second would have begun before the gate was opened.
        assert await worker.ask(Worker.logged) == [1, 2]
    await node.probe.expect((2, "begins"))
    await node.probe.expect("after both")
    assert len(node.probe.heard) == 3


async def test_concurrent_handlers_run_beside_the_messages(node: NodeUnderTest) -> None:
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref)
    results: list[object] = []

    async def ask(label: int) -> None:
        results.append(await worker.ask(Worker.hold_beside, gate, label))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, 1)
            tasks.start_soon(ask, 2)
            begun = {await node.probe.next() for _ in range(2)}
            assert begun == {(1, "begins"), (2, "begins")}
            assert await worker.ask(Worker.add, 1, 1) == 2
            await gate.ask(Gate.open)
    assert sorted(results, key=repr) == [1, 2]


async def test_c44_an_ask_within_a_time_says_what_it_waited_for(node: NodeUnderTest) -> None:
    worker = await node.spawn(Worker, node.probe.ref)
    with anyio.fail_after(5), pytest.raises(DeadlineExceeded) as caught:
        await worker.within(0.1).ask(Worker.sleep)
    text = f"{re.escape(str(worker))}: no reply to sleep in 0\\.\\d+ s"
    assert re.fullmatch(text, str(caught.value))
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.message == ("sleep", (), {})
    await node.probe.expect("asleep")
    await node.probe.expect("awake")
    with anyio.fail_after(5):
        assert await worker.ask(Worker.logged) == []


async def test_a_message_that_expires_in_the_queue_is_not_run(node: NodeUnderTest) -> None:
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref)
    await worker.tell(Worker.hold, gate)
    await node.probe.expect(("held", "begins"))
    await worker.within(0.1).tell(Worker.note, "expired tell")
    with anyio.fail_after(5), pytest.raises(DeadlineExceeded):
        await worker.within(0.15).ask(Worker.add, 1)
    with anyio.fail_after(5):
        await gate.ask(Gate.open)
        assert await worker.ask(Worker.logged) == ["held"]


async def test_a_message_that_expires_while_its_loop_is_blocked_is_not_run(
    node: NodeUnderTest,
) -> None:
    worker = await node.spawn(Worker)
    with anyio.fail_after(5):
        await worker.tell(Worker.block_the_loop, 0.4)
        await worker.within(0.2).tell(Worker.note, "expired while the loop was blocked")
        assert await worker.ask(Worker.logged) == []


async def test_asks_made_while_handling_inherit_the_deadline(node: NodeUnderTest) -> None:
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref)
    caller = await node.spawn(Caller)
    with anyio.fail_after(5), pytest.raises(DeadlineExceeded):
        await caller.within(0.1).ask(Caller.ask_held, worker, gate)
    await node.probe.expect(("inner", "begins"))
    assert (await node.probe.next())[0] == "inner"
    with anyio.fail_after(5):
        # Both are free again, although nobody ever opened the gate.
        assert await worker.ask(Worker.logged) == []
        assert await caller.ask(Caller.name) == caller.name


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
async def test_c44_a_time_to_wait_has_to_be_more_than_nothing(
    node: NodeUnderTest, seconds: float
) -> None:
    worker = await node.spawn(Worker)
    with pytest.raises(ValueError, match=r"within\(seconds\) must be more than 0, got"):
        worker.within(seconds)


async def test_cancelling_an_ask_takes_the_queued_message_back(node: NodeUnderTest) -> None:
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref)
    await worker.tell(Worker.hold, gate)
    await node.probe.expect(("held", "begins"))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.ask, Worker.note, "unwanted")
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        await gate.ask(Gate.open)
        await worker.tell(Worker.note, "wanted")
        assert await worker.ask(Worker.logged) == ["held", "wanted"]


async def test_cancelling_an_ask_cancels_its_handler_and_the_actor_lives_on(
    node: NodeUnderTest,
) -> None:
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref)
    await worker.tell(Worker.note, "before")
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.ask, Worker.hold, gate)
            await node.probe.expect(("held", "begins"))
            tasks.cancel_scope.cancel()
        label, error = await node.probe.next()
        assert label == "held"
        assert error in {"CancelledError", "Cancelled"}
        assert await worker.ask(Worker.logged) == ["before"]
        assert await worker.ask(Worker.incarnation) == 1


async def test_cancelling_an_ask_cancels_a_concurrent_handler_alone(node: NodeUnderTest) -> None:
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref)
    with anyio.fail_after(5):
        await worker.tell(Worker.hold_beside, gate, "stays")
        await node.probe.expect(("stays", "begins"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.ask, Worker.hold_beside, gate, "goes")
            await node.probe.expect(("goes", "begins"))
            tasks.cancel_scope.cancel()
        assert (await node.probe.next())[0] == "goes"
        await gate.ask(Gate.open)
        await worker.tell(Worker.tell, "sync")
        await node.probe.expect("sync")
        assert await worker.ask(Worker.incarnation) == 1
        assert len(node.probe.heard) == 4


async def test_an_ask_without_a_deadline_has_that_of_the_class(node: NodeUnderTest) -> None:
    impatient = await node.spawn(Impatient, node.probe.ref)
    with anyio.fail_after(10):
        with pytest.raises(DeadlineExceeded, match=r"0\.05 s, the ask_timeout of Impatient"):
            await impatient.ask(Worker.sleep)
        await node.probe.expect("asleep")
        await node.probe.expect("awake")  # the handler was cancelled on its node
        assert await impatient.within(5).ask(Worker.add, 1) == 2
