"""Every payload means the same on every kind of node, whatever way it takes and however big it is."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from actors import Buffer, Ref, SharedBuffer, local, move
from actors.errors import NotSendable
from actors.testing import eventually
from tests.contracts.contract_actors import Gate
from tests.contracts.node_under_test import NodeUnderTest, is_far, send
from tests.contracts.payloads import (
    KINDS,
    LARGE,
    MOVED,
    SMALL,
    Box,
    PayloadActor,
    expected,
    kinds_on,
    seen,
)

pytestmark = pytest.mark.within(40)

SIZES = (SMALL, LARGE)


def payloads(node: str) -> list[tuple[str, int]]:
    """Large ones twice: the first of a size finds no memory that is warm, and is copied."""
    return [(kind, size) for size in (*SIZES, LARGE) for kind in kinds_on(node)]


async def held(node: NodeUnderTest, *, mailbox: int) -> tuple[Ref[PayloadActor], Ref[Gate]]:
    """A porter that handles one message until the gate is opened, with room for some more."""
    gate = await node.gate()
    porter = await node.spawn(PayloadActor, mailbox=mailbox)
    await porter.tell(PayloadActor.hold, gate, node.probe.ref)
    await node.probe.expect("held", 20)
    return porter, gate


CANNOT_LEAVE = "cannot leave this machine"
CHANGEABLE = ("bytearray", "view", "array", "buffer")


def spoil(value: Any) -> None:
    """Change every byte of a payload."""
    view = memoryview(value.view() if isinstance(value, Buffer) else value).cast("B")
    view[:] = bytes(len(view))


@pytest.fixture
async def porter(node: NodeUnderTest) -> Ref[PayloadActor]:
    return await node.spawn(PayloadActor)


# -- every way


async def test_as_an_argument(porter: Ref[PayloadActor]) -> None:
    for kind, size in payloads(porter.node):
        got = await porter.ask(PayloadActor.look, KINDS[kind](size))
        assert got == expected(kind, size), (kind, size)


async def test_as_a_keyword_with_a_deadline(porter: Ref[PayloadActor]) -> None:
    for kind, size in payloads(porter.node):
        got = await porter.within(30).ask(PayloadActor.look, value=KINDS[kind](size))
        assert got == expected(kind, size), (kind, size)


async def test_inside_other_objects(porter: Ref[PayloadActor]) -> None:
    for kind, size in payloads(porter.node):
        got = await porter.ask(PayloadActor.look_inside, Box.around(KINDS[kind](size)))
        assert got == expected(kind, size), (kind, size)


async def test_told_in_order_by_every_verb(porter: Ref[PayloadActor]) -> None:
    sent = payloads(porter.node)
    for number, (kind, size) in enumerate(sent):
        value = KINDS[kind](size)
        if number % 3 == 0:
            await porter.tell(PayloadActor.take, value)
        elif number % 3 == 1:
            porter.tell_nowait(PayloadActor.take, value)
        else:
            await porter.within(30).tell(PayloadActor.take, value=value)
        await porter.tell(PayloadActor.take, number)
    seen_there = await porter.ask(PayloadActor.taken)
    assert seen_there[::2] == [expected(kind, size) for kind, size in sent]
    assert seen_there[1::2] == [seen(number) for number in range(len(sent))]


async def test_as_a_reply(porter: Ref[PayloadActor]) -> None:
    for kind, size in payloads(porter.node):
        got = await porter.ask(PayloadActor.give, kind, size)
        assert seen(got) == expected(kind, size), (kind, size)
        inside = await porter.ask(PayloadActor.give_inside, kind, size)
        assert seen(inside.inside()) == expected(kind, size), (kind, size)


async def test_as_items_of_a_stream(porter: Ref[PayloadActor]) -> None:
    for size in (*SIZES, LARGE):
        async with porter.stream(PayloadActor.give_all, size) as items:
            got = [seen(item) async for item in items]
        assert got == [expected(kind, size) for kind in kinds_on(porter.node)]


def _subscribed(report: Ref[PayloadActor]) -> Callable[[], Any]:
    async def is_it() -> bool:
        return await report.ask(PayloadActor.taken) == [seen("subscribed")]

    return is_it


async def test_as_values_of_a_topic_from_here_and_from_there(node: NodeUnderTest) -> None:
    kinds = [kind for kind in kinds_on(node.on) if kind not in MOVED]
    here, there = (
        await node.spawn(PayloadActor, on=node.system.node.name),
        await node.spawn(PayloadActor),
    )
    for listener, publisher in ((there, here), (here, there)):
        topic = f"payloads of {publisher.uid}"
        report = await node.spawn(PayloadActor, on=node.system.node.name)
        await listener.ask(PayloadActor.listen, topic, report, 2 * len(kinds))
        await eventually(_subscribed(report), 20)
        for size in SIZES:
            await publisher.ask(PayloadActor.publish, topic, kinds, size)
        got: list[Any] = []
        while len(got) < 2 * len(kinds):
            got += [value for _, value in await report.ask(PayloadActor.taken)]
            await anyio.sleep(0.01)
        assert got == [expected(kind, size) for size in SIZES for kind in kinds]


@pytest.mark.parametrize("size", SIZES)
async def test_as_a_constructor_argument_of_every_incarnation(
    node: NodeUnderTest, size: int
) -> None:
    for kind in kinds_on(node.on):
        porter = await node.spawn(PayloadActor, Box.around(KINDS[kind](size)))
        plain = await node.spawn(PayloadActor, KINDS[kind](size))
        assert await plain.ask(PayloadActor.born_with) == expected(kind, size), kind
        await plain.tell(PayloadActor.crash)
        assert await plain.ask(PayloadActor.born_with) == expected(kind, size), kind
        await porter.stop()


async def test_descriptors_are_no_constructor_arguments(node: NodeUnderTest) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        text = CANNOT_LEAVE if node.far else "can be sent in messages only"
        with pytest.raises(NotSendable, match=rf"args\[0\]\.items.*{text}"):
            await node.spawn(PayloadActor, Box.around(move(theirs)))
        assert theirs.fileno() >= 0


# -- what it means


async def test_it_is_what_it_was_when_it_was_sent(node: NodeUnderTest) -> None:
    porter, gate = await held(node, mailbox=100)
    changing = [(kind, size) for kind, size in payloads(node.on) if kind in CHANGEABLE]
    for kind, size in changing:
        value = KINDS[kind](size)
        await porter.tell(PayloadActor.take, value)
        spoil(value)
    await gate.ask(Gate.open)
    assert await porter.ask(PayloadActor.taken) == [expected(kind, size) for kind, size in changing]


async def test_small_and_large_ones_do_not_overtake_each_other(porter: Ref[PayloadActor]) -> None:
    sent: list[Any] = []
    for number in range(60):
        size = (8, LARGE, 300, 4 * LARGE)[number % 4] + number * 8
        value = number.to_bytes(8) + bytes(size)
        await porter.tell(PayloadActor.take, move(bytearray(value)) if number % 3 == 0 else value)
        sent.append(seen(bytearray(value) if number % 3 == 0 else value))
    assert await porter.ask(PayloadActor.taken) == sent


async def test_what_waits_for_room_is_as_it_was_and_comes_in_order(node: NodeUnderTest) -> None:
    porter, gate = await held(node, mailbox=2)
    async with anyio.create_task_group() as tasks:
        for kind, size in payloads(node.on):
            value = KINDS[kind](size)
            tasks.start_soon(porter.tell, PayloadActor.take, value)
            await anyio.wait_all_tasks_blocked()
            if kind in CHANGEABLE:
                spoil(value)
        await gate.ask(Gate.open)
    wanted = [expected(kind, size) for kind, size in payloads(node.on)]
    assert await porter.ask(PayloadActor.taken) == wanted


async def test_local_values_wait_for_room_here_and_are_refused_elsewhere(
    node: NodeUnderTest,
) -> None:
    porter, gate = await held(node, mailbox=1)
    await porter.tell(PayloadActor.keep, 1)
    async with anyio.create_task_group() as tasks:
        if node.remote:
            with pytest.raises(NotSendable, match="do not leave their process"):
                await porter.tell(PayloadActor.keep, local(PayloadActor))
        else:
            tasks.start_soon(porter.tell, PayloadActor.keep, local(PayloadActor))
            await anyio.wait_all_tasks_blocked()
        await gate.ask(Gate.open)
    assert await porter.ask(PayloadActor.type_of_kept) == ("int" if node.remote else "type")


async def test_both_sides_of_a_shared_buffer_see_the_same(porter: Ref[PayloadActor]) -> None:
    if is_far(porter.node):
        return  # below
    shared = SharedBuffer(64)
    await porter.ask(PayloadActor.keep, shared)
    await porter.ask(PayloadActor.count_up, shared, 100)
    shared.atomics.add(0, 1)
    assert await porter.ask(PayloadActor.count_up, shared, 100) == 201
    assert await porter.ask(PayloadActor.echo, shared) is shared
    assert shared.atomics.load(0) == 201


async def test_a_moved_buffer_goes_there_is_filled_and_comes_back(
    porter: Ref[PayloadActor],
) -> None:
    for size in (*SIZES, LARGE):
        mine = Buffer(size)
        theirs = await porter.ask(PayloadActor.fill, move(mine), 7)
        assert mine.moved
        assert bytes(theirs) == b"\7" * size
        again = await porter.ask(PayloadActor.fill, move(theirs), 9)
        assert theirs.moved
        assert bytes(again) == b"\x09" * size


async def test_a_buffer_moved_to_a_third_node_keeps_its_bytes(
    node: NodeUnderTest, porter: Ref[PayloadActor]
) -> None:
    third = await node.spawn(
        PayloadActor, on="box/0" if node.on != "box/0" else node.system.node.name
    )
    for size in (*SIZES, LARGE):
        theirs = await porter.ask(PayloadActor.give, "moved buffer", size)
        got = await third.ask(PayloadActor.look, move(theirs))
        assert theirs.moved
        assert got == expected("moved buffer", size)


async def test_a_moved_socket_is_spoken_through_by_its_receiver(porter: Ref[PayloadActor]) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(b"hello to you too")
        theirs.settimeout(9)
        if is_far(porter.node):
            with theirs, pytest.raises(NotSendable, match=rf"args\[0\].*{CANNOT_LEAVE}"):
                await porter.ask(PayloadActor.answer, move(theirs))
            return
        assert await porter.ask(PayloadActor.answer, move(theirs)) == "hello to you too"
        assert ours.recv(10) == b"hello"
        assert theirs.fileno() == -1


async def test_a_socket_is_a_reply_too(porter: Ref[PayloadActor]) -> None:
    if is_far(porter.node):
        with pytest.raises(NotSendable, match=CANNOT_LEAVE):
            await porter.ask(PayloadActor.send_socket)
        return
    sock = await porter.ask(PayloadActor.send_socket)
    with sock:
        assert sock.recv(100) == b"from there"


# -- what cannot leave a machine


async def test_what_is_shared_is_refused_where_it_would_leave_its_machine(
    node: NodeUnderTest,
) -> None:
    if not node.far:
        return
    porter = await node.spawn(PayloadActor)
    shared = SharedBuffer(64)
    for verb in ("ask", "tell", "tell_nowait"):
        for value in (shared, Box.around(shared)):
            with pytest.raises(NotSendable, match=rf"args\[0\].*{CANNOT_LEAVE}"):
                await send(porter, verb, PayloadActor.take, value)
    with pytest.raises(NotSendable, match=rf"value: .*{CANNOT_LEAVE}"):
        await porter.within(30).ask(PayloadActor.look, value=shared)
    for value in (shared, Box.around(shared)):
        with pytest.raises(NotSendable, match=rf"args\[0\].*{CANNOT_LEAVE}"):
            await node.spawn(PayloadActor, value)
    for giving in (PayloadActor.give, PayloadActor.give_inside):
        with pytest.raises(NotSendable, match=CANNOT_LEAVE):
            await porter.ask(giving, "shared buffer", SMALL)
    with pytest.raises(NotSendable, match=CANNOT_LEAVE):
        async with porter.stream(PayloadActor.give_each, ["bytes", "shared buffer"]) as items:
            assert [seen(item) async for item in items] == [expected("bytes", SMALL)]
    assert await porter.ask(PayloadActor.taken) == [], "nothing came"
