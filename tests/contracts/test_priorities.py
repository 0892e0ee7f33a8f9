"""Mailboxes by priority are the same on every kind of node; `ref.priority(n)` says a message's priority."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from actors import Actor, Bounded, Exit, Priority, Ref, batched, keyed
from actors.errors import ActorsError, DeadlineExceeded, InvalidSpec, MailboxFull
from actors.testing import Recorder
from tests.contracts.contract_actors import Gate, Worker
from tests.contracts.node_under_test import NodeUnderTest, drain

pytestmark = pytest.mark.within(20)


class Clerk(Worker):
    """A worker with streams, batches and second thoughts."""

    def __init__(self, probe: Ref[Recorder] | None = None) -> None:
        super().__init__(probe)
        self.ready = False

    async def items(self, label: str) -> AsyncIterator[str]:
        for number in range(2):
            self.log.append(f"{label} {number}")
            yield label

    @batched(most=8, within=0)
    async def together(self, labels: list[str]) -> list[str]:
        self.log.append(labels)
        return labels

    async def later(self, label: str) -> None:
        if not self.ready:
            self.context.defer()
        self.log.append(label)

    async def get_ready(self) -> None:
        self.ready = True
        self.log.append("ready")

    async def watch(self, other: Ref[Any]) -> None:
        self.context.watch(other)

    async def on_exit(self, ref: Ref[Any], exit: Exit) -> None:  # noqa: A002, ARG002 - the hook's name
        self.log.append("exit")


class Sender(Actor):
    """Sends by priority from where it is, to a ref that came in a message."""

    async def notes(self, clerk: Ref[Clerk]) -> None:
        for priority in (0, 3, -3):
            await clerk.priority(priority).tell(Clerk.note, priority)

    async def in_background(self, clerk: Ref[Clerk]) -> None:
        for priority in (0, 3, -3):
            later = self.context.reply_to(Sender.forget)
            later.ask(clerk.priority(priority).within(20), Clerk.note, priority)

    async def forget(self, reply: Exception | None) -> None: ...


class Room(Clerk):
    """Of a book."""

    def __init__(self, key: str, probe: Ref[Recorder]) -> None:
        super().__init__(probe)
        self.key = key


async def _held(node: NodeUnderTest, **options: Any) -> tuple[Ref[Clerk], Ref[Gate]]:
    """A clerk with priorities that handles one message until the gate opens."""
    gate = await node.gate()
    clerk = await node.spawn(Clerk, node.probe.ref, **{"mailbox": Priority(), **options})
    await clerk.tell(Clerk.hold, gate, None)
    await node.probe.expect((None, "begins"))
    return clerk, gate


async def _log(clerk: Ref[Any], gate: Ref[Gate]) -> list[Any]:
    await gate.ask(Gate.open)
    await clerk.wait_ready()
    return [entry for entry in await clerk.ask(Clerk.logged) if entry is not None]


async def test_the_highest_is_first_and_within_one_priority_the_first_that_was_sent(
    node: NodeUnderTest,
) -> None:
    clerk, gate = await _held(node)
    for number, priority in enumerate([0, -1, 5, 0, 2**63 - 1, 5, -(2**63), -1]):
        ref = clerk.priority(priority) if number % 2 else clerk.within(60).priority(priority)
        await ref.tell(Clerk.note, (priority, number))
    await clerk.tell(Clerk.note, (0, 8))
    clerk.priority(5).tell_nowait(Clerk.note, (5, 9))
    got = await _log(clerk, gate)
    assert got == [
        (2**63 - 1, 4),
        (5, 2),
        (5, 5),
        (5, 9),
        (0, 0),
        (0, 3),
        (0, 8),
        (-1, 1),
        (-1, 7),
        (-(2**63), 6),
    ]


async def test_asks_big_messages_and_items_of_streams_have_priorities_too(
    node: NodeUnderTest,
) -> None:
    clerk, gate = await _held(node)
    asked: list[Any] = []

    async def ask(priority: int, payload: bytes) -> None:
        asked.append(await clerk.priority(priority).ask(Clerk.measure, payload))

    async def read() -> None:
        async with clerk.priority(3).stream(Clerk.items, "item") as items:
            await drain(items, asked)

    async with anyio.create_task_group() as tasks:
        for send in (
            functools.partial(ask, 1, bytes(1)),
            functools.partial(ask, 4, bytes(400_000)),
            functools.partial(ask, 2, bytes(2)),
            read,
        ):
            tasks.start_soon(send)
            await anyio.wait_all_tasks_blocked()
        got = await _log(clerk, gate)
    # A stream that is open makes its next item when its reader wants one.
    assert got[:2] == [400_000, "item 0"]
    assert [entry for entry in got if type(entry) is int] == [400_000, 2, 1]
    assert sorted(asked, key=str) == [1, 2, 400_000, "item", "item"]


async def test_nothing_waits_forever(node: NodeUnderTest) -> None:
    clerk, gate = await _held(node)
    await clerk.priority(-1).tell(Clerk.note, "low")
    for number in range(40):
        await clerk.priority(1).tell(Clerk.note, number)
    got = await _log(clerk, gate)
    assert got.index("low") in range(13, 17)
    assert [entry for entry in got if entry != "low"] == list(range(40))


async def test_senders_that_wait_for_room_are_served_by_priority(node: NodeUnderTest) -> None:
    clerk, gate = await _held(node, mailbox=Priority(messages=2))
    for label in ("first", "second"):
        await clerk.tell(Clerk.note, label)
    with pytest.raises(MailboxFull) as caught:
        clerk.priority(9).tell_nowait(Clerk.note, "refused")
    assert caught.value.message == ("note", ("refused",), {})
    with pytest.raises(DeadlineExceeded, match="no room in its mailbox"):
        await clerk.within(0.05).priority(9).tell(Clerk.note, "late")

    async def send(priority: int) -> None:
        await clerk.priority(priority).tell(Clerk.note, priority)

    async with anyio.create_task_group() as tasks:
        for priority in (1, -1, 3, 2):
            tasks.start_soon(send, priority)
            await anyio.wait_all_tasks_blocked()
        await gate.ask(Gate.open)
    got = await clerk.priority(-9).ask(Clerk.logged)
    assert [entry for entry in got if type(entry) is int] == [3, 2, 1, -1]
    assert {"first", "second"} < set(got)


async def test_a_stop_and_a_drain_wait_for_the_lowest_priority(node: NodeUnderTest) -> None:
    for draining in (False, True):
        clerk, gate = await _held(node)
        await clerk.priority(-9).tell(Clerk.tell, f"low {draining}")
        await clerk.stop(drain=draining)
        if not draining:
            await clerk.priority(9).tell(Clerk.tell, "too late")
        await gate.ask(Gate.open)
        await node.probe.expect(f"low {draining}")
        assert await clerk.wait() == Exit.SHUTDOWN
    assert "too late" not in node.probe.heard


async def test_a_kill_overtakes_all_of_them_and_what_waits_keeps_its_priority(
    node: NodeUnderTest,
) -> None:
    clerk, _ = await _held(node)
    for priority in (0, 7, -7):
        await clerk.priority(priority).tell(Clerk.tell, priority)
    clerk.kill()
    assert (await node.probe.next())[0] is None  # it was held, and is cancelled
    for priority in (7, 0, -7):
        await node.probe.expect(priority)
    assert await clerk.ask(Clerk.incarnation) == 2


async def test_what_is_deferred_or_batched_comes_by_priority(node: NodeUnderTest) -> None:
    clerk, gate = await _held(node)
    await clerk.priority(5).tell(Clerk.later, "urgent")
    await clerk.priority(-5).tell(Clerk.later, "not urgent")
    await clerk.priority(-1).tell(Clerk.get_ready)
    for priority in (-7, -6, -7):
        await clerk.priority(priority).tell(Clerk.together, f"at {priority}")
    got = await _log(clerk, gate)
    assert got[:3] == ["ready", "urgent", "not urgent"]
    assert [label for batch in got[3:] for label in batch] == ["at -6", "at -7", "at -7"]


async def test_the_end_of_another_is_told_behind_its_last_message(node: NodeUnderTest) -> None:
    clerk, gate = await _held(node)
    other = await node.spawn(Sender)
    await gate.ask(Gate.open)
    await clerk.ask(Clerk.watch, other)
    gate = await node.gate()
    await clerk.tell(Clerk.hold, gate, None)
    await node.probe.expect((None, "begins"))
    await other.ask(Sender.notes, clerk)
    await other.stop()
    await other.wait()
    assert await _log(clerk, gate) == [3, 0, -3, "exit"]


@pytest.mark.parametrize("send", [Sender.notes, Sender.in_background])
async def test_a_ref_that_was_sent_or_looked_up_knows_that_its_mailbox_has_priorities(
    node: NodeUnderTest, send: Any
) -> None:
    clerk, gate = await _held(node, name="by-priority")
    found = await node.system.lookup("by-priority", Clerk)
    assert found is not None
    assert found.bounds == Priority()
    for on in (node.on, node.system.node.name):
        await (await node.spawn(Sender, on=on)).ask(send, found)
    assert await _log(clerk, gate) == [3, 3, 0, 0, -3, -3]


async def test_threads_and_books_send_by_priority(node: NodeUnderTest) -> None:
    gate = await node.gate()
    make: Any = functools.partial(Room, probe=node.probe.ref)
    book = await node.system.start(keyed(make, name="byprio", on=node.on, mailbox=Priority()))
    try:
        room = book["a"]
        await room.priority(1).tell(Room.hold, gate, None)
        await node.probe.expect((None, "begins"))
        ref = await room.ref()
        blocking = node.system.blocking(ref)
        await room.priority(-1).tell(Room.note, "room, low")
        await anyio.to_thread.run_sync(blocking.tell, Room.note, "thread")
        high = blocking.priority(9).within(20)
        await anyio.to_thread.run_sync(high.tell, Room.note, "thread, high")
        await room.within(20).priority(3).tell(Room.note, "room, high")
        assert await _log(ref, gate) == ["thread, high", "room, high", "thread", "room, low"]
    finally:
        top = node.system.supervisor("")
        await top.stop_child("byprio")
        await top.delete_child("byprio")


async def test_a_priority_is_refused_where_it_means_nothing(node: NodeUnderTest) -> None:
    plain = await node.spawn(Worker, mailbox=Bounded(messages=3))
    assert plain.mailbox == 3
    with pytest.raises(ActorsError) as caught:
        plain.priority(1)
    assert str(caught.value) == (
        f"{plain}: its mailbox has no priorities; start it with mailbox=actors.Priority()"
    )
    clerk = await node.spawn(Clerk, mailbox=Priority())
    for wrong in (1.5, True, "high", None, 2**63, -(2**63) - 1):
        with pytest.raises(
            InvalidSpec, match="priority must be a whole number, of 64 bits at most"
        ) as refused:
            clerk.within(1).priority(wrong)  # type: ignore[arg-type] # that is what is refused
        assert repr(wrong) in str(refused.value)
