"""The messages of one actor are watched while it runs, and it is as before afterwards."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import anyio
import anyio.lowlevel

from actors import Actor, System, Topology, concurrent, local, nodes
from actors._actor.message_watch import BEGINS, MessageWatch, sender_of
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import handlers_of
from actors._remoting.receiver import RemoteReply
from actors._system.system import coordinator_of


class Till(Actor):
    """Takes money."""

    async def pay(self, amount: int) -> int:
        return amount

    async def fail(self) -> None:
        raise ValueError("no")

    @concurrent
    async def beside(self) -> None:
        await anyio.lowlevel.checkpoint()


class Customer(Actor):
    """Asks the till."""

    def __init__(self, till: Any) -> None:
        self.till = till

    async def buy(self) -> int:
        paid: int = await self.till.ask(Till.pay, 5)
        return paid


async def test_each_message_is_reported_with_its_sender_and_its_outcome() -> None:
    with anyio.fail_after(10):
        async with System() as system:
            host = coordinator_of(system).host
            till = await system.spawn(Till, name="till")
            customer = await system.spawn(Customer, till, name="ann")
            cell = host.cells[till.uid]
            plain = type(cell)
            watch = MessageWatch(cell, host.loop, 100)
            assert await customer.ask(Customer.buy) == 5
            with suppress(ValueError):
                await till.ask(Till.fail)
            await till.ask(Till.beside)
            await till.tell(Till.pay, 1)
            await till.ask(Till.pay, 2)
            found, dropped = await watch.next()
            nobody = "(no actor)"
            expected = [
                ("pay", "ann", "done"),
                ("fail", nobody, "raised ValueError"),
                ("beside", nobody, "done"),
                ("pay", nobody, "done"),
                ("pay", nobody, "done"),
            ]
            assert [
                (name, sender, how) for name, sender, _, how in found if how != BEGINS
            ] == expected
            assert [(name, sender, how) for name, sender, _, how in found if how == BEGINS] == [
                (name, sender, BEGINS) for name, sender, _ in expected
            ]
            assert dropped == 0
            watch.close()
            assert type(cell) is plain
            assert await till.ask(Till.pay, 3) == 3


async def test_above_the_rate_messages_are_counted() -> None:
    with anyio.fail_after(10):
        async with System() as system:
            host = coordinator_of(system).host
            till = await system.spawn(Till)
            watch = MessageWatch(host.cells[till.uid], host.loop, 3)
            other = MessageWatch(host.cells[till.uid], host.loop, 1000)
            for number in range(20):
                await till.ask(Till.pay, number)
            found, dropped = await watch.next()
            assert len(found) == 2 * 3  # each begins and ends
            assert dropped == 17
            watch.close()
            await till.ask(Till.pay, 1)
            assert len((await other.next())[0]) == 2 * 21
            other.close()


class Waiter(Actor):
    """Has a message that takes as long as it likes."""

    async def wait(self, until: anyio.Event) -> None:
        await until.wait()


async def test_a_message_is_reported_when_its_handling_begins() -> None:
    with anyio.fail_after(10):
        async with System() as system, anyio.create_task_group() as tasks:
            host = coordinator_of(system).host
            waiter, until = await system.spawn(Waiter), anyio.Event()
            watch = MessageWatch(host.cells[waiter.uid], host.loop, 100)
            tasks.start_soon(waiter.ask, Waiter.wait, local(until))
            assert [how for *_, how in (await watch.next())[0]] == [BEGINS]
            until.set()
            assert [how for *_, how in (await watch.next())[0]] == ["done"]
            watch.close()


def test_the_sender_of_an_ask_by_code_of_another_node_is_that_node() -> None:
    link: Any = SimpleNamespace(peer="web/0~1")
    envelope = Envelope(
        handlers_of(Till)[Till.pay], (1,), {}, RemoteReply(link, 1, cast("Any", None))
    )
    assert sender_of(envelope) == "(code on web/0)"


class Far(Actor):
    """Tells the till from another node."""

    async def pay(self, till: Any) -> None:
        for amount in range(3):
            await till.tell(Till.pay, amount)


async def test_tells_of_other_nodes_are_reported_with_the_node() -> None:
    with anyio.fail_after(20):
        async with System(Topology(nodes=[nodes("thr", kind="thread")])) as system:
            host = coordinator_of(system).host
            till = await system.spawn(Till)
            far = await system.spawn(Far, on="thr")
            watch = MessageWatch(host.cells[till.uid], host.loop, 100)
            await far.ask(Far.pay, till)
            senders: list[str] = []
            while len(senders) < 3:
                found, _ = await watch.next()
                senders += [sender for _, sender, _, how in found if how == "done"]
            assert senders == ["(code on thr/0)"] * 3
            watch.close()
