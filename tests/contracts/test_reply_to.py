"""`context.reply_to` on every kind of node: the reply, or the error, comes as a message of the actor."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Actor, Ref
from actors.errors import (
    ActorCrashed,
    ActorsError,
    ActorStopped,
    DeadlineExceeded,
    MailboxFull,
    NotAMessage,
    NotSendable,
)
from actors.testing import Recorder, eventually
from tests.contracts.contract_actors import Gate, Impatient, Worker
from tests.contracts.node_under_test import NodeUnderTest

pytestmark = pytest.mark.within(20)


class Desk(Actor):
    """Asks workers and hears of it later."""

    def __init__(self, probe: Ref[Recorder]) -> None:
        self.probe = probe

    async def sum_of(self, worker: Ref[Worker], a: int, label: str = "") -> str:
        self.context.reply_to(Desk.summed, label).ask(worker, Worker.add, a, b=2)
        return "asked"

    async def summed(self, result: int | Exception, label: str) -> None:
        shown = type(result).__name__ if isinstance(result, Exception) else result
        await self.probe.tell(Recorder.record, (label, shown))

    async def held(self, result: Any | Exception) -> None:
        shown = type(result).__name__ if isinstance(result, Exception) else result
        await self.probe.tell(Recorder.record, shown)

    async def hold(self, worker: Ref[Any], gate: Ref[Gate], seconds: float | None = None) -> None:
        asks = self.context.reply_to(Desk.held)
        (asks if seconds is None else asks.within(seconds)).ask(worker, Worker.hold, gate)

    async def hold_many(self, worker: Ref[Worker], gate: Ref[Gate], count: int) -> str:
        for _ in range(count):
            try:
                self.context.reply_to(Desk.held).ask(worker, Worker.hold, gate)
            except MailboxFull as error:
                return error.why
        return "all"

    async def notes(self, worker: Ref[Worker], count: int) -> None:
        """Ask in the background and tell by turns."""
        for number in range(0, count, 2):
            self.context.reply_to(Desk.held).ask(worker, Worker.note, number)
            await worker.tell(Worker.note, number + 1)

    async def crash_a(self, worker: Ref[Worker]) -> None:
        self.context.reply_to(Desk.held).ask(worker, Worker.crash)

    async def ask_itself(self) -> None:
        self.context.reply_to(Desk.held).ask(self.context.ref, Desk.ping)

    async def ping(self) -> str:
        return "pong"

    async def refused(self, worker: Ref[Worker], what: str) -> str:
        later: Any = self.context.reply_to(Desk.summed, "x")
        try:
            if what == "handler":
                self.context.reply_to(Worker.note)
            elif what == "arguments of the handler":
                self.context.reply_to(Desk.summed)  # type: ignore[call-arg]
            elif what == "method":
                later.ask(worker, Worker.plain)
            elif what == "arguments":
                later.ask(worker, Worker.add)
            elif what == "value":
                later.ask(worker, Worker.note, anyio.Lock())
            else:
                later.within(0)
        except (ActorsError, TypeError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        return "taken"

    async def crash(self) -> None:
        raise RuntimeError("boom")


class Till(Actor, blocking=True):
    """Asks from its own thread."""

    def __init__(self, probe: Ref[Recorder]) -> None:
        self.probe = probe

    def sum_of(self, worker: Ref[Worker], a: int) -> None:
        self.context.reply_to(Till.summed).ask(worker, Worker.add, a)

    def summed(self, result: int | Exception) -> None:
        self.context.blocking(self.probe).tell(Recorder.record, result)


async def _desk(node: NodeUnderTest, **options: Any) -> Ref[Desk]:
    return await node.spawn(Desk, node.probe.ref, **options)


async def _worker(node: NodeUnderTest, *, here: bool = True, **options: Any) -> Ref[Worker]:
    where = {"on": node.system.node.name} if here else {}
    return await node.spawn(Worker, node.probe.ref, **where, **options)


@pytest.mark.parametrize("here", [True, False])
async def test_a_reply_comes_as_a_message_with_what_was_given_for_it(
    node: NodeUnderTest, here: bool
) -> None:
    desk, worker = await _desk(node), await _worker(node, here=here)
    for number in range(3):
        assert await desk.ask(Desk.sum_of, worker, number, f"no. {number}") == "asked"
    for number in range(3):
        await node.probe.expect((f"no. {number}", number + 2))


async def test_the_actor_handles_other_messages_until_the_reply_is_there(
    node: NodeUnderTest,
) -> None:
    desk, worker, gate = await _desk(node), await _worker(node), await node.gate()
    await desk.ask(Desk.hold, worker, gate)
    await node.probe.expect(("held", "begins"))
    assert await desk.ask(Desk.ping) == "pong"
    await gate.ask(Gate.open)
    await node.probe.expect("held")


async def test_whatever_an_ask_raises_comes_in_place_of_the_reply(node: NodeUnderTest) -> None:
    desk, worker, gate = await _desk(node), await _worker(node), await node.gate()
    await desk.ask(Desk.crash_a, worker)
    await node.probe.expect("RuntimeError")
    await desk.ask(Desk.hold, worker, gate)
    await node.probe.expect(("held", "begins"))
    worker.kill()
    heard = [await node.probe.next(), await node.probe.next()]
    assert ActorCrashed.__name__ in heard
    await worker.stop()
    await worker.wait()
    await desk.ask(Desk.sum_of, worker, 1, "gone")
    await node.probe.expect(("gone", ActorStopped.__name__))


async def test_a_deadline_ends_it_and_cancels_the_handler(node: NodeUnderTest) -> None:
    desk, worker, gate = await _desk(node), await _worker(node), await node.gate()
    await desk.ask(Desk.hold, worker, gate, 0.1)
    await node.probe.expect(("held", "begins"))
    heard = [str(await node.probe.next()), str(await node.probe.next())]
    assert DeadlineExceeded.__name__ in heard
    impatient = await node.spawn(Impatient, node.probe.ref)
    await desk.ask(Desk.hold, impatient, gate)
    await node.probe.expect(("held", "begins"))
    heard = [str(await node.probe.next()), str(await node.probe.next())]
    assert DeadlineExceeded.__name__ in heard


async def test_as_many_are_awaited_as_the_mailbox_holds(node: NodeUnderTest) -> None:
    desk, worker, gate = await _desk(node, mailbox=3), await _worker(node), await node.gate()
    why = await desk.ask(Desk.hold_many, worker, gate, 4)
    assert why == "it awaits 3 replies already, as many as its mailbox holds"
    await gate.ask(Gate.open)
    heard = 0
    while heard < 3:
        heard += await node.probe.next() == "held"
    await eventually(lambda: _asked(desk, worker))


async def _asked(desk: Ref[Desk], worker: Ref[Worker]) -> bool:
    return await desk.ask(Desk.sum_of, worker, 1) == "asked"


async def test_asks_wait_in_line_in_the_order_of_the_actor_s_messages(node: NodeUnderTest) -> None:
    desk, worker, gate = await _desk(node), await _worker(node, mailbox=2), await node.gate()
    await worker.tell(Worker.hold, gate)
    await node.probe.expect(("held", "begins"))
    await desk.tell(Desk.notes, worker, 10)
    await anyio.sleep(0.05)
    await gate.ask(Gate.open)
    await eventually(lambda: _noted(worker, 10))
    assert [item for item in await worker.ask(Worker.logged) if item != "held"] == list(range(10))


async def _noted(worker: Ref[Worker], count: int) -> bool:
    return len(await worker.ask(Worker.logged)) == count + 1


async def test_an_actor_may_ask_itself(node: NodeUnderTest) -> None:
    desk = await _desk(node)
    await desk.ask(Desk.ask_itself)
    await node.probe.expect("pong")


async def test_it_ends_with_the_incarnation(node: NodeUnderTest) -> None:
    desk, worker, gate = await _desk(node), await _worker(node), await node.gate()
    await desk.ask(Desk.hold, worker, gate)
    await node.probe.expect(("held", "begins"))
    await desk.tell(Desk.crash)
    cancelled = await node.probe.next()  # the handler was cancelled
    assert cancelled[0] == "held"
    await gate.ask(Gate.open)
    await desk.ask(Desk.sum_of, worker, 1, "of the next run")
    await node.probe.expect(("of the next run", 3))


async def test_a_blocking_actor_asks_from_its_thread(node: NodeUnderTest) -> None:
    till, worker = await node.spawn(Till, node.probe.ref), await _worker(node)
    await till.ask(Till.sum_of, worker, 4)
    await node.probe.expect(5)


REFUSED = {
    "handler": (NotAMessage, "is not a method of Desk"),
    "arguments of the handler": (TypeError, "missing 1 required positional argument: 'label'"),
    "method": (NotAMessage, "is not async"),
    "arguments": (TypeError, "missing 1 required positional argument: 'a'"),
    "value": (NotSendable, "args[0]"),
    "seconds": (ValueError, "within(seconds) must be more than 0, got 0"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_can_never_work_is_refused_in_the_call(node: NodeUnderTest, what: str) -> None:
    kind, text = REFUSED[what]
    desk, worker = await _desk(node), await _worker(node)
    refused = await desk.ask(Desk.refused, worker, what)
    assert refused.startswith(kind.__name__)
    assert text in refused
