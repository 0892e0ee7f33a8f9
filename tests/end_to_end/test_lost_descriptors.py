"""A process that has too many files open loses the message that brings one more, and nothing else."""

from __future__ import annotations

import resource
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from actors import (
    Actor,
    Buffer,
    Ref,
    SharedBuffer,
    System,
    Topology,
    concurrent,
    listen,
    move,
    nodes,
)
from actors._base.events import Event
from actors._system.system import coordinator_of
from actors.errors import NodeDown, NotSendable
from actors.testing import eventually, running_system
from tests.end_to_end.attachment_modes import LARGE

pytestmark = pytest.mark.within(30)

TOO_MANY = r"too many files open \(RLIMIT_NOFILE\)"


@dataclass
class Parcel:
    """What travels, below the arguments."""

    parts: list[Any]


class Poor(Actor):
    """Can have no further file open, until it may again."""

    def __init__(self) -> None:
        self.limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def starve(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, self.limits[1]))

    async def recover(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, self.limits)

    async def size(self, value: Any) -> int:
        return len(value)

    async def parts(self, parcel: Parcel) -> int:
        return len(parcel.parts)

    @concurrent
    async def send_to(self, other: Ref[Poor], text: str) -> int:
        return await other.ask(Poor.size, text)


@pytest.fixture(scope="module")
async def system(no_leaks_in_file: None) -> AsyncIterator[System]:
    echo = listen("tests.end_to_end.echo_handler:echo", "127.0.0.1:0", nodes="poor")
    async with running_system(Topology(nodes=[nodes("poor", count=3)], listeners=[echo])) as system:
        yield system


@pytest.fixture
async def poor(system: System) -> AsyncIterator[Ref[Poor]]:
    ref = await system.spawn(Poor, on="poor/0")
    yield ref
    await ref.ask(Poor.recover)
    await ref.stop()


@pytest.fixture
async def events(system: System) -> AsyncIterator[list[Event]]:
    """What the system says during the test; no link may fail."""
    seen: list[Event] = []
    heard = system.events()

    async def listen() -> None:
        async for event in heard:
            seen.append(event)  # noqa: PERF401 - it never ends

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        yield seen
        tasks.cancel_scope.cancel()
    assert [event for event in seen if event.kind in ("link_failed", "node_died")] == []


async def test_an_ask_fails_with_the_cause_and_the_link_goes_on(
    poor: Ref[Poor], events: list[Event]
) -> None:
    shared = SharedBuffer(8)
    await poor.ask(Poor.starve)
    with pytest.raises(NotSendable, match=TOO_MANY):
        await poor.ask(Poor.size, shared)
    assert await poor.ask(Poor.size, "small") == 5
    await poor.ask(Poor.recover)
    assert await poor.ask(Poor.size, shared) == 8


async def test_a_tell_becomes_a_dead_letter_that_names_the_cause(
    poor: Ref[Poor], events: list[Event]
) -> None:
    await poor.ask(Poor.starve)
    ours, theirs = socket.socketpair()
    await poor.tell(Poor.size, move(theirs))
    assert await poor.ask(Poor.size, "small") == 5
    assert ours.recv(1) == b""
    ours.close()
    await eventually(lambda: any(event.kind == "dead_letter" for event in events))
    (dead,) = [event.facts for event in events if event.kind == "dead_letter"]
    assert dead["message"] == "size"
    assert "too many files open (RLIMIT_NOFILE)" in dead["reason"]


async def test_shared_memory_that_could_not_be_mapped_is_freed_and_sent_again(
    system: System, poor: Ref[Poor], events: list[Event]
) -> None:
    async def leases() -> int:
        return int((await system.node.stats())["memory"]["leases"])

    async def all_returned() -> bool:
        return await leases() == 0

    buffer = Buffer(LARGE)
    await poor.ask(Poor.starve)
    with pytest.raises(NotSendable, match=TOO_MANY):
        await poor.ask(Poor.parts, Parcel([SharedBuffer(8), (buffer,)]))
    with pytest.raises(NotSendable, match=TOO_MANY):
        await poor.ask(Poor.size, move(buffer))
    await eventually(all_returned)
    await poor.ask(Poor.recover)
    other = Buffer(LARGE)
    assert await poor.ask(Poor.parts, Parcel([other, SharedBuffer(8)])) == 2
    assert await poor.ask(Poor.size, move(other)) == LARGE
    await eventually(all_returned)


async def test_two_nodes_get_their_link_when_there_is_a_descriptor_for_its_end(
    system: System, poor: Ref[Poor], events: list[Event]
) -> None:
    other = await system.spawn(Poor, on="poor/1")
    await poor.ask(Poor.starve)
    async with anyio.create_task_group() as tasks:
        answers: list[int] = []

        async def send() -> None:
            answers.append(await poor.ask(Poor.send_to, other, "small"))

        tasks.start_soon(send)
        await anyio.sleep(0.15)  # long enough for the first end to come and be lost
        assert answers == []
        await poor.ask(Poor.recover)
    assert answers == [5]
    await poor.ask(Poor.starve)
    assert await other.ask(Poor.send_to, poor, "small") == 5
    await other.stop()


async def test_the_other_node_of_a_lost_link_asks_for_another(
    system: System, poor: Ref[Poor], events: list[Event]
) -> None:
    other = await system.spawn(Poor, on="poor/2")
    await poor.ask(Poor.starve)
    with pytest.raises(NodeDown, match="the next message makes another"):
        await other.ask(Poor.send_to, poor, "small")
    await poor.ask(Poor.recover)
    assert await other.ask(Poor.send_to, poor, "small") == 5
    await other.stop()


async def test_connections_go_to_another_node(
    system: System, poor: Ref[Poor], events: list[Event]
) -> None:
    router: Any = coordinator_of(system).listeners[0].router
    await poor.ask(Poor.starve)
    answers = set()
    for _ in range(6):
        async with await anyio.connect_tcp("127.0.0.1", router.port) as stream:
            await stream.send(b"?")
            answers.add((await stream.receive()).decode())
    assert answers == {"poor/1 ?", "poor/2 ?"}
