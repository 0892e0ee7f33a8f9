"""A message moves all that it moves, or nothing; what was moved is nobody's twice and never lost."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

from actors import Buffer, Ref, move
from actors.errors import (
    ActorStopped,
    DeadlineExceeded,
    MailboxFull,
    MessageTooBig,
    Moved,
    NotSendable,
    SendError,
    StillViewed,
)
from tests.contracts.contract_actors import Gate
from tests.contracts.node_under_test import NodeUnderTest, send
from tests.contracts.payloads import (
    LARGE,
    LARGEST,
    MOVED,
    SMALL,
    PayloadActor,
    buffer,
    expected,
    pattern,
)

pytestmark = pytest.mark.within(40)


class Things:
    """One of everything that can be moved to a node, and the other end of the socket."""

    def __init__(self, size: int, node: NodeUnderTest) -> None:
        self.size = size
        self.far = node.far
        self.buffer = buffer(size)
        self.bytes = bytearray(pattern(size))
        self.other_end, self.socket = socket.socketpair()
        self.socket.settimeout(7)
        self.other_end.settimeout(10)

    def moved(self) -> list[Any]:
        moved = [move(self.buffer), move(self.bytes), move(self.socket)]
        return moved[:2] if self.far else moved

    def check_gone(self) -> None:
        """All of it was moved, or waits to be."""
        assert self.buffer.moved
        assert self.bytes == b""
        assert self.far or self.socket.fileno() == -1

    def check(self) -> None:
        """Nothing was moved: all of it works."""
        assert not self.buffer.moved
        assert bytes(self.buffer) == pattern(self.size)
        assert self.bytes == pattern(self.size)
        assert self.socket.gettimeout() == 7
        self.other_end.sendall(b"still here")
        assert self.socket.recv(100) == b"still here"

    def close(self) -> None:
        self.socket.close()
        self.other_end.close()
        # pytest keeps this until the next test begins, and a buffer maps what its arena was.
        del self.buffer


@pytest.fixture(params=[SMALL, LARGE])
def things(request: pytest.FixtureRequest, node: NodeUnderTest) -> Iterator[Things]:
    made = Things(request.param, node)
    yield made
    made.close()


async def held(node: NodeUnderTest, *, mailbox: int = 2) -> tuple[Ref[PayloadActor], Ref[Gate]]:
    """A porter that handles one message until the gate is opened."""
    gate = await node.gate()
    porter = await node.spawn(PayloadActor, mailbox=mailbox)
    await porter.tell(PayloadActor.hold, gate, node.probe.ref)
    await node.probe.expect("held", 20)
    return porter, gate


async def full(node: NodeUnderTest) -> tuple[Ref[PayloadActor], Ref[Gate]]:
    """One that has no room left."""
    porter, gate = await held(node)
    for number in range(2):
        await porter.tell(PayloadActor.keep, number)
    return porter, gate


async def arrives(porter: Ref[PayloadActor], things: Things) -> None:
    """What could not be moved before can be now."""
    things.check()
    wanted = [expected(kind, things.size) for kind in MOVED]
    assert await porter.ask(PayloadActor.accept, {"all": things.moved()}) == wanted
    things.check_gone()


def _gone(size: int) -> Any:
    gone = Buffer(size)
    gone.take()
    return move(gone)


def _closed(_size: int) -> Any:
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()
    return move(ours)


def _viewed(size: int) -> Any:
    return _Kept.of(Buffer(size), lambda made: made.view())


def _viewed_bytes(size: int) -> Any:
    return _Kept.of(bytearray(size), memoryview)


class _Kept:
    view: Any = None

    @classmethod
    def of(cls, value: Any, look: Callable[[Any], Any]) -> Any:
        cls.view = look(value)
        return move(value)


NEIGHBOURS: list[tuple[str, Callable[[int], Any], type[Exception], str]] = [
    ("moved before", _gone, Moved, "this buffer of .* bytes was moved"),
    ("closed", _closed, Moved, "socket .*closed.* is closed, or was moved before"),
    ("viewed", _viewed, StillViewed, "views of this buffer of .* bytes are alive"),
    ("viewed bytes", _viewed_bytes, StillViewed, "views of this bytearray of .* bytes are alive"),
    ("lambda", lambda _: lambda: 0, NotSendable, r"args\[0\]\[\d\].*a lambda has no name"),
    ("a text", lambda _: move("text"), NotSendable, r"args\[0\]\[\d\]: .*can be moved"),
]
CANNOT_LEAVE = "cannot leave this machine"


@pytest.mark.parametrize("neighbour", NEIGHBOURS, ids=lambda neighbour: neighbour[0])
async def test_nothing_is_moved_beside_what_cannot_be(
    node: NodeUnderTest, things: Things, neighbour: Any
) -> None:
    _, make, error, text = neighbour
    porter = await node.spawn(PayloadActor)
    for verb in ("ask", "tell", "tell_nowait"):
        with pytest.raises(error, match=text):
            await send(porter, verb, PayloadActor.keep, [*things.moved(), make(things.size)])
    await arrives(porter, things)


async def test_what_is_moved_twice_in_one_message_is_not_moved(
    node: NodeUnderTest, things: Things
) -> None:
    porter = await node.spawn(PayloadActor)
    for twice in (things.buffer, things.bytes, things.socket)[: len(things.moved())]:
        with pytest.raises(Moved, match="is moved twice in one message"):
            await porter.ask(PayloadActor.keep, [*things.moved(), {"again": move(twice)}])
    await arrives(porter, things)


async def test_what_was_moved_raises_when_it_is_used(node: NodeUnderTest, things: Things) -> None:
    porter = await node.spawn(PayloadActor)
    await porter.ask(PayloadActor.accept, {"all": things.moved()})
    with pytest.raises(Moved, match="only its receiver has it"):
        things.buffer.view()
    with pytest.raises(Moved, match="was moved"):
        await porter.ask(PayloadActor.look, things.buffer)
    if not node.far:
        with pytest.raises(OSError, match="Bad file descriptor"):
            things.socket.send(b"x")


async def test_nothing_is_moved_by_a_message_that_is_too_big(node: NodeUnderTest) -> None:
    if not node.remote:
        return
    things = Things(LARGE, node)
    porter = await node.spawn(PayloadActor)
    for _ in range(2):  # at first by copy, then by shared memory
        with pytest.raises(MessageTooBig):
            await porter.ask(PayloadActor.keep, [*things.moved(), "x" * LARGEST])
        assert await porter.ask(PayloadActor.look, LARGE)
    await arrives(porter, things)
    things.close()


async def test_nothing_is_moved_when_there_is_no_room(node: NodeUnderTest, things: Things) -> None:
    porter, gate = await full(node)
    with pytest.raises(MailboxFull) as caught:
        porter.tell_nowait(PayloadActor.keep, things.moved())
    assert given_back(caught.value) is things.buffer
    things.check()
    await gate.ask(Gate.open)
    await arrives(porter, things)


def given_back(error: SendError) -> Any:
    """The first thing that the unsent message was to move."""
    assert error.message is not None
    return error.message[1][0][0].value


async def test_what_waits_for_room_is_given_back_at_the_deadline(
    node: NodeUnderTest, things: Things
) -> None:
    porter, gate = await full(node)
    for verb in ("tell", "ask"):
        with pytest.raises(DeadlineExceeded) as caught:
            await getattr(porter.within(0.05), verb)(PayloadActor.keep, things.moved())
        assert given_back(caught.value) is things.buffer
        things.check()
    await gate.ask(Gate.open)
    await arrives(porter, things)


async def test_what_waits_for_room_is_gone_while_it_waits_and_back_when_nobody_does(
    node: NodeUnderTest, things: Things
) -> None:
    porter, gate = await full(node)
    for verb in ("tell", "ask"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(getattr(porter, verb), PayloadActor.keep, things.moved())
            await anyio.wait_all_tasks_blocked()
            things.check_gone()
            tasks.cancel_scope.cancel()
        things.check()
    await gate.ask(Gate.open)
    await arrives(porter, things)


async def test_what_waited_for_room_arrives(node: NodeUnderTest, things: Things) -> None:
    porter, gate = await full(node)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(porter.tell, PayloadActor.keep, things.moved())
        await anyio.wait_all_tasks_blocked()
        await gate.ask(Gate.open)
    got = await porter.ask(PayloadActor.give_kept)
    assert bytes(got[0]) == got[1] == pattern(things.size)
    if node.far:
        return
    with got[2]:
        things.other_end.sendall(b"hello")
        assert got[2].recv(100) == b"hello"
        assert got[2].gettimeout() == 7


async def test_an_actor_of_this_node_that_takes_nothing_more_moves_nothing(
    node: NodeUnderTest, things: Things
) -> None:
    if node.remote:
        return
    porter, gate = await full(node)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(expect_stopped, porter, things)
        await anyio.wait_all_tasks_blocked()
        await porter.stop(grace=0.05)
    things.check()
    with pytest.raises(ActorStopped) as caught:
        await porter.tell(PayloadActor.keep, things.moved())
    assert given_back(caught.value) is things.buffer
    things.check()
    await gate.stop()


async def expect_stopped(porter: Ref[PayloadActor], things: Things) -> None:
    with pytest.raises(ActorStopped) as caught:
        await porter.tell(PayloadActor.keep, things.moved())
    assert given_back(caught.value) is things.buffer


@pytest.mark.filterwarnings("ignore:unclosed")  # which is how Python says that it closed it
async def test_what_became_a_dead_letter_is_closed(node: NodeUnderTest, things: Things) -> None:
    if node.far:
        return  # no socket can be under way to it
    porter, _ = await held(node)
    await porter.tell(PayloadActor.keep, things.moved())
    await porter.stop(grace=0.05)
    await eof(things.other_end)


async def test_what_is_refused_by_an_actor_that_has_ended_stays_the_senders(
    node: NodeUnderTest, things: Things
) -> None:
    porter = await node.spawn(PayloadActor)
    await porter.stop()
    await porter.wait()
    with pytest.raises(ActorStopped):
        await porter.tell(PayloadActor.keep, things.moved())
    things.check()


async def eof(sock: socket.socket) -> None:
    """Wait until the other end of this socket is closed."""
    sock.setblocking(False)
    await anyio.wait_readable(sock)
    assert sock.recv(1) == b""


async def test_a_reply_that_cannot_be_moved_is_the_askers_error(node: NodeUnderTest) -> None:
    porter = await node.spawn(PayloadActor)
    with pytest.raises(StillViewed, match="views of this buffer"):
        await porter.ask(PayloadActor.give_viewed)
    assert await porter.ask(PayloadActor.type_of_kept) == "memoryview"


async def test_what_goes_to_many_or_often_is_not_moved(node: NodeUnderTest, things: Things) -> None:
    with pytest.raises(NotSendable, match=r"sent more than once"):
        node.system.topic("news").publish(things.moved())
    porter = await node.spawn(PayloadActor)
    assert await porter.ask(PayloadActor.time_a_move) == "NotSendable"
    await arrives(porter, things)


async def test_nothing_is_moved_beside_a_socket_that_cannot_leave_its_machine(
    node: NodeUnderTest, things: Things
) -> None:
    if not node.far:
        return
    porter = await node.spawn(PayloadActor)
    for verb in ("ask", "tell", "tell_nowait"):
        with pytest.raises(NotSendable, match=rf"args\[0\]\[2\].*{CANNOT_LEAVE}"):
            await send(porter, verb, PayloadActor.keep, [*things.moved(), move(things.socket)])
        things.check()
    busy, gate = await full(node)
    with pytest.raises(NotSendable, match=CANNOT_LEAVE):
        await busy.within(20).tell(PayloadActor.keep, [*things.moved(), move(things.socket)])
    await gate.ask(Gate.open)
    await arrives(porter, things)
