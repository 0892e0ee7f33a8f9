"""Shared memory and descriptors between real processes: all of it comes back, whoever dies."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import pytest

from actors import Buffer, Ref, SharedBuffer, System, Topology, move, nodes
from actors.errors import MailboxFull, NodeDown
from actors.testing import Probe, eventually, running_system
from actors.transport import FRAME_LIMIT, Move
from tests.end_to_end.attachment_modes import (
    LARGE,
    LEASED,
    PAYLOADS,
    AttachmentActor,
    comes_back,
    descriptors,
    half_a_pair,
    held_here,
    killed_in_the_middle,
    ways,
)
from tests.transport.shared_memory import MIB, mapped

pytestmark = pytest.mark.within(60)

MANY = 1000
"""Messages, which take 80 MiB together."""


@pytest.fixture(scope="module")
async def system(no_leaks_in_file: None) -> AsyncIterator[System]:
    before = mapped()
    async with running_system(Topology(nodes=[nodes("dock")], patience=0)) as system:
        yield system
    gc.collect()
    assert mapped() <= before


@pytest.fixture
async def there(system: System) -> AsyncIterator[Ref[AttachmentActor]]:
    dock = system.nodes[-1]
    assert dock.name == "dock/0"
    await eventually(lambda: dock.ready, 20)
    ref = await system.spawn(AttachmentActor, on="dock")
    yield ref
    with contextlib.suppress(NodeDown):
        ref.kill()
        await ref.stop()


class Balance:
    """What both nodes hold: descriptors, leases, buffers."""

    def __init__(self, system: System, there: Ref[AttachmentActor]) -> None:
        self.system = system
        self.there = there

    async def now(self) -> dict[str, int]:
        (dock,) = [node for node in self.system.nodes if node.name == "dock/0"]
        ours = (await self.system.node.stats())["memory"]
        theirs = (await dock.stats())["memory"]
        return {
            "descriptors": descriptors(),
            "theirs": await self.there.ask(AttachmentActor.descriptors),
            **{f"our {name}": ours[name] for name in ("leases", "buffers", "mapped_leases")},
            **{f"their {name}": theirs[name] for name in ("leases", "buffers", "mapped_leases")},
        }

    async def comes_back_to(self, before: dict[str, int]) -> None:
        """Without any garbage being collected."""
        after: dict[str, int] = {}
        with anyio.move_on_after(15):
            while True:
                after = await self.now()
                if all(after[name] <= before[name] for name in before):
                    return
                await anyio.sleep(0.02)
        assert after == before


@pytest.fixture
async def balance(system: System, there: Ref[AttachmentActor]) -> AsyncIterator[Balance]:
    """The books, while nothing is collected on either side."""
    gc.collect()
    gc.disable()
    await there.ask(AttachmentActor.no_gc)
    try:
        yield Balance(system, there)
    finally:
        gc.enable()


async def test_everything_comes_back_after_a_thousand_messages_of_every_mode(
    there: Ref[AttachmentActor], balance: Balance
) -> None:
    for send in ways().values():
        for _ in range(3):  # the first of a size warms the memory that the others take
            await send(there)
    before = await balance.now()
    assert (before["our leases"], before["their leases"]) == (0, 0)
    for name, send in ways().items():
        for _ in range(40):
            await send(there)
        await balance.comes_back_to(before)
        assert name


async def test_everything_comes_back_when_asks_are_cancelled_in_their_middle(
    system: System, there: Ref[AttachmentActor], balance: Balance
) -> None:
    probe = await Probe.start(system)
    for make in PAYLOADS.values():
        await there.ask(AttachmentActor.take, make())
    before: dict[str, int] = {}
    for _ in range(4):
        for make in PAYLOADS.values():
            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(there.ask, AttachmentActor.hang, make(), probe.ref)
                await probe.expect("it is there", 20)
                tasks.cancel_scope.cancel()
        if not before:
            before = await balance.now()
            before.update(dict.fromkeys((name for name in before if " " in name), 0))
    gc.collect()  # of the loops' own, who keep their cancelled tasks; the other side collects none
    await balance.comes_back_to(before)


async def test_everything_comes_back_when_the_receiver_is_killed(
    system: System, there: Ref[AttachmentActor], balance: Balance
) -> None:
    probe = await Probe.start(system)
    (dock,) = [node for node in system.nodes if node.name == "dock/0"]
    values = [make() for make in PAYLOADS.values() for _ in range(4)]
    async with anyio.create_task_group() as tasks:
        for value in values:
            tasks.start_soon(_hangs_until_it_is_down, there, value, probe)
        for _ in values:
            await probe.expect("it is there", 20)
        held = (await system.node.stats())["memory"]
        assert held["leases"] >= 4
        pid = dock.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    values.clear()
    memory = (await system.node.stats())["memory"]
    assert (memory["leases"], memory["mapped_leases"], memory["buffers"]) == (0, 0, 0)
    assert memory["reclaimed"] >= held["leases"]
    await eventually(lambda: dock.ready, 20)
    assert await there.ask(AttachmentActor.take, bytes(LEASED)) == LEASED


@pytest.mark.filterwarnings("ignore:unclosed")  # of sockets nobody got, which Python then closes
@pytest.mark.parametrize("sender", [False, True], ids=["the receiver", "the sender"])
async def test_everything_comes_back_when_one_side_is_killed_in_the_middle_of_every_mode(
    system: System,
    there: Ref[AttachmentActor],
    sender: bool,
) -> None:
    home = there.host

    async def look() -> dict[str, int]:
        return await held_here(system, home)

    for make in PAYLOADS.values():
        await there.ask(AttachmentActor.take, make())
    before = await look()
    await killed_in_the_middle(system, there, list(PAYLOADS), sender=sender, after=60)
    await comes_back(look, {**before, "leases": 0, "mapped_leases": 0, "buffers": 0})
    assert await there.ask(AttachmentActor.take, bytes(LEASED)) == LEASED


async def _hangs_until_it_is_down(ref: Ref[AttachmentActor], value: Any, probe: Probe) -> None:
    with pytest.raises(NodeDown):
        await ref.ask(AttachmentActor.hang, value, probe.ref)


async def test_a_moved_thing_comes_back_when_the_node_goes_down_before_it_left(
    system: System, there: Ref[AttachmentActor]
) -> None:
    (dock,) = [node for node in system.nodes if node.name == "dock/0"]
    small = await system.spawn(AttachmentActor, on="dock", mailbox=1)
    pid = dock.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await small.tell(AttachmentActor.take, b"")
    buffer, (ours, theirs) = Buffer(LARGE), socket.socketpair()
    with ours, theirs:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_told_that_it_is_down, small, [move(buffer), move(theirs)])
            await anyio.wait_all_tasks_blocked()
            assert buffer.moved
            os.kill(pid, signal.SIGKILL)
        assert not buffer.moved
        ours.send(b"x")
        assert theirs.recv(1) == b"x"


async def _told_that_it_is_down(ref: Ref[AttachmentActor], value: Any) -> None:
    with pytest.raises(NodeDown):
        await ref.tell(AttachmentActor.take, value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: bytes(LEASED),
        lambda: bytes(600),
        lambda: move(half_a_pair()),
        lambda: SharedBuffer(8),
    ],
    ids=["leases", "copies", "sockets", "shared"],
)
async def test_m12_a_stopped_receiver_stops_its_senders_and_then_gets_all(
    system: System, there: Ref[AttachmentActor], make: Callable[[], Any]
) -> None:
    (dock,) = [node for node in system.nodes if node.name == "dock/0"]
    pid = dock.pid
    assert pid is not None
    await there.ask(AttachmentActor.take, make())
    os.kill(pid, signal.SIGSTOP)
    sent, waiting = 1, 5
    try:
        sent += await _fill(there, make)
        memory = (await system.node.stats())["memory"]
        assert memory["held"] <= memory["limit"] / 2
        assert descriptors() < 600
        async with anyio.create_task_group() as tasks:
            for _ in range(waiting):
                tasks.start_soon(there.tell, AttachmentActor.take, make())
            await anyio.wait_all_tasks_blocked()
            os.kill(pid, signal.SIGCONT)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert await there.ask(AttachmentActor.handled) == sent + waiting


async def test_a_sender_to_a_stopped_node_holds_little_and_all_of_it_arrives_in_order(
    system: System, there: Ref[AttachmentActor]
) -> None:
    (dock,) = [node for node in system.nodes if node.name == "dock/0"]
    pid = dock.pid
    assert pid is not None
    kinds = list(PAYLOADS.values())
    for make in kinds:  # what the memory that they need costs once is none of this
        await there.ask(AttachmentActor.take, make())
    stats = await system.node.stats()
    before = stats["rss"]
    sent = 0

    async def send() -> None:
        nonlocal sent
        while sent < MANY:
            await there.tell(AttachmentActor.take_numbered, sent, kinds[sent % len(kinds)]())
            sent += 1

    os.kill(pid, signal.SIGSTOP)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            assert 0 < sent < MANY / 2
            stats = await system.node.stats()
            assert stats["memory"]["held"] < 32 * MIB
            assert stats["rss"] - before < 32 * MIB
            os.kill(pid, signal.SIGCONT)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert sent == MANY
    assert await there.ask(AttachmentActor.in_order) == list(range(MANY))


async def _fill(ref: Ref[AttachmentActor], make: Callable[[], Any]) -> int:
    """Send until there is no room; return how many went."""
    sent = 0
    while sent < 5000:
        value = make()
        try:
            ref.tell_nowait(AttachmentActor.take, value)
        except MailboxFull:
            if isinstance(value, Move):
                value.value.close()
            return sent
        sent += 1
        await anyio.lowlevel.checkpoint()
    raise AssertionError("there was always room")


@pytest.mark.parametrize("make", [bytes, bytearray, lambda n: np.zeros(n, dtype="u1"), Buffer])
async def test_what_no_frame_could_hold_goes_by_shared_memory(
    system: System, there: Ref[AttachmentActor], make: Callable[[int], Any]
) -> None:
    size = FRAME_LIMIT + 1000
    value = make(size)
    assert await there.ask(AttachmentActor.take, value) == size
    if isinstance(value, Buffer):
        assert await there.ask(AttachmentActor.take, move(value)) == size
        assert value.moved
    memory = (await system.node.stats())["memory"]
    assert memory["leased"] >= 1


async def test_leases_are_what_large_payloads_travel_by(
    system: System, there: Ref[AttachmentActor]
) -> None:
    for _ in range(5):
        await there.ask(AttachmentActor.send_back, bytes(LEASED))
        await anyio.sleep(0.01)

    async def leased() -> bool:
        await there.ask(AttachmentActor.send_back, bytes(LEASED))
        (dock,) = [node for node in system.nodes if node.name == "dock/0"]
        ours, theirs = (await system.node.stats())["memory"], (await dock.stats())["memory"]
        return bool(ours["given_back"] and theirs["given_back"])

    await eventually(leased)


async def test_memory_that_was_lent_for_an_ask_is_back_when_its_reply_is(
    there: Ref[AttachmentActor],
) -> None:
    host: Any = there.host
    value = np.zeros(FRAME_LIMIT + 1000, dtype="u1")
    await eventually(lambda: not host.memory.stats()["held"])  # what other tests have lent
    for _ in range(5):
        before = host.memory.stats()
        await there.ask(AttachmentActor.take, value)
        memory = host.memory.stats()
        assert memory["leased"] == before["leased"] + 1
        assert not memory["held"]


@pytest.mark.parametrize(
    "op, numbers, text",
    [
        ("arena", [999, 65536, 1], "the peer passed a descriptor that is no segment"),
        ("fds", ["x"], "descriptors came for attachment 'x', no number"),
    ],
    ids=["a segment that is none", "a number that is none"],
)
async def test_a_node_that_lies_about_its_cargo_loses_its_link_and_nobody_else_does(
    system: System, there: Ref[AttachmentActor], op: str, numbers: list[Any], text: str
) -> None:
    (dock,) = [node for node in system.nodes if node.name == "dock/0"]
    events = system.events()
    await there.tell(AttachmentActor.lie, op, numbers)
    async for event in events:
        if event.kind == "link_failed":
            assert event.facts["peer"] == "dock/0"
            assert text in event.facts["error"]
        elif event.kind == "node_died":
            break
    await eventually(lambda: dock.ready and dock.pid is not None, 20)
    await there.wait_ready()
    assert await there.ask(AttachmentActor.take, bytes(LEASED)) == LEASED
