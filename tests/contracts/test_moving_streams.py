"""A moved stream goes on where it was: with what had been read of it, and nobody else has it any more."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import sniffio
from anyio.abc import SocketAttribute, SocketStream, UNIXSocketStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSStream

from actors import Ref, move
from actors.errors import Moved, NotSendable, StillViewed
from tests.contracts.contract_actors import Gate
from tests.contracts.node_under_test import NodeUnderTest, send
from tests.contracts.stream_actor import StreamActor, hear, refused

pytestmark = pytest.mark.within(40)


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    return ours, far


@asynccontextmanager
async def _line(kind: str) -> AsyncIterator[tuple[Any, Any]]:
    """Both ends of a connection, as streams."""
    cls: Any = SocketStream if kind == "tcp" else UNIXSocketStream
    pair = _tcp_pair() if kind == "tcp" else socket.socketpair()
    async with await cls.from_socket(pair[0]) as ours, await cls.from_socket(pair[1]) as far:
        yield ours, far


KINDS = ("tcp", "unix")
CANNOT_LEAVE = "cannot leave this machine"


async def _half_read(ours: Any, far: Any) -> None:
    """Have the stream read six bytes, of which four were never received, where it reads ahead."""
    await far.send(b"abcdef")
    assert await ours.receive(2) == b"ab"


async def _busy(node: NodeUnderTest) -> tuple[Ref[StreamActor], Ref[Gate]]:
    """An operator without room, until the gate is opened."""
    gate = await node.gate()
    operator = await node.spawn(StreamActor, mailbox=1)
    await operator.tell(StreamActor.wait_at, gate, node.probe.ref)
    await node.probe.expect("waits", 20)
    await operator.tell(StreamActor.take, None)
    return operator, gate


@pytest.mark.parametrize("kind", KINDS)
async def test_it_goes_on_where_it_was(node: NodeUnderTest, kind: str) -> None:
    operator = await node.spawn(StreamActor)
    async with _line(kind) as (ours, far):
        address = ours.extra(SocketAttribute.local_address)  # noqa: S610 - not Django's
        await _half_read(ours, far)
        await operator.ask(StreamActor.take, move(ours))
        await far.send(b"ghi")
        assert await operator.ask(StreamActor.hear, 7) == b"cdefghi"
        await operator.ask(StreamActor.say, b"hello")
        assert await hear(far, 5) == b"hello"
        assert await operator.ask(StreamActor.what_is_it) == (True, kind == "unix", address)
        # The one that was left here is closed, and closing it again does no harm.
        assert await refused(ours) == ["ClosedResourceError"] * 2
        await ours.aclose()
        await operator.ask(StreamActor.say, b"still here")
        assert await hear(far, 10) == b"still here"
        await operator.ask(StreamActor.hang_up)
        with pytest.raises(anyio.EndOfStream):
            await far.receive()


@pytest.mark.parametrize("kind", KINDS)
async def test_it_comes_back_and_goes_on(node: NodeUnderTest, kind: str) -> None:
    first, second = await node.spawn(StreamActor), await node.spawn(StreamActor)
    async with _line(kind) as (ours, far):
        await _half_read(ours, far)
        await first.ask(StreamActor.take, move(ours))
        assert await first.ask(StreamActor.hear_some, 1) == b"c"
        back = await first.ask(StreamActor.give_on)
        async with back:
            assert await back.receive(1) == b"d"
            await back.send(b"and here")
            assert await hear(far, 8) == b"and here"
            await second.ask(StreamActor.take, move(back))
            assert await refused(back) == ["ClosedResourceError"] * 2
        await far.send(b"gh")
        assert await second.ask(StreamActor.hear, 4) == b"efgh"
        await second.ask(StreamActor.hang_up)


async def test_a_unix_stream_passes_descriptors_wherever_it_went(node: NodeUnderTest) -> None:
    operator = await node.spawn(StreamActor)
    async with _line("unix") as (ours, far):
        await operator.ask(StreamActor.take, move(ours))
        here, there = socket.socketpair()
        with here, there:
            await far.send_fds(b"x", [there.fileno()])
            assert await operator.ask(StreamActor.descriptor_of) == 1
            here.settimeout(10)
            assert here.recv(10) == b"passed"
        back = await operator.ask(StreamActor.give_on)
        async with back:
            here, there = socket.socketpair()
            with here, there:
                await back.send_fds(b"y", [there])
                text, fds = await far.receive_fds(10, 1)
                assert (text, len(fds)) == (b"y", 1)
                socket.close(fds[0])


@pytest.mark.parametrize("verb", ["tell", "ask"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_waits_for_room_is_gone_meanwhile_and_comes_back_whole(
    node: NodeUnderTest, kind: str, verb: str
) -> None:
    operator, gate = await _busy(node)
    async with _line(kind) as (ours, far):
        await _half_read(ours, far)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(getattr(operator, verb), StreamActor.take, move(ours))
            await anyio.wait_all_tasks_blocked()
            assert set(await refused(ours)) <= {"ClosedResourceError", "BrokenResourceError"}
            await far.send(b"gh")
            tasks.cancel_scope.cancel()
        assert await hear(ours, 6) == b"cdefgh"
        await ours.send(b"back")
        assert await hear(far, 4) == b"back"
        await gate.ask(Gate.open)
        await operator.ask(StreamActor.take, move(ours))
        await far.send(b"ij")
        assert await operator.ask(StreamActor.hear, 2) == b"ij"
        await operator.ask(StreamActor.hang_up)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_waited_for_room_arrives(node: NodeUnderTest, kind: str) -> None:
    operator, gate = await _busy(node)
    async with _line(kind) as (ours, far):
        await _half_read(ours, far)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(operator.tell, StreamActor.take, move(ours))
            await anyio.wait_all_tasks_blocked()
            await far.send(b"gh")
            await gate.ask(Gate.open)
        assert await operator.ask(StreamActor.hear, 6) == b"cdefgh"
        # Nobody else has it open any more: its end is the connection's.
        await operator.ask(StreamActor.let_go)
        with pytest.raises(anyio.EndOfStream):
            await far.receive()


@pytest.mark.parametrize("kind", KINDS)
async def test_one_that_is_being_used_is_not_moved(node: NodeUnderTest, kind: str) -> None:
    operator = await node.spawn(StreamActor)
    async with _line(kind) as (ours, far):
        heard: list[bytes] = []

        async def listen() -> None:
            heard.append(await ours.receive())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(StillViewed, match=r"a task is using .*Stream"):
                await operator.ask(StreamActor.take, move(ours))
            await far.send(b"hello")
        assert heard == [b"hello"]


async def test_one_with_bytes_that_were_not_sent_is_not_moved(node: NodeUnderTest) -> None:
    if sniffio.current_async_library() != "asyncio":
        return  # elsewhere a stream keeps none
    operator = await node.spawn(StreamActor)
    near, far = _tcp_pair()
    with far:
        async with await SocketStream.from_socket(near) as ours:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ours.send, bytes(16 << 20))
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            with pytest.raises(StillViewed, match="bytes of a send that was cancelled"):
                await operator.ask(StreamActor.take, move(ours))


@pytest.mark.parametrize("kind", KINDS)
async def test_one_that_is_closed_or_twice_in_a_message_is_not_moved(
    node: NodeUnderTest, kind: str
) -> None:
    operator = await node.spawn(StreamActor)
    async with _line(kind) as (ours, far):
        with pytest.raises(Moved, match="is moved twice in one message"):
            await operator.ask(StreamActor.take, [move(ours), move(ours)])
        await far.send(b"fine")
        assert await hear(ours, 4) == b"fine"
        await ours.aclose()
        with pytest.raises(Moved, match="is closed, or was moved before"):
            await operator.ask(StreamActor.take, move(ours))


async def test_it_travels_in_messages_only_and_never_as_a_copy(node: NodeUnderTest) -> None:
    operator = await node.spawn(StreamActor)
    async with _line("tcp") as (ours, far):
        text = CANNOT_LEAVE if node.far else "can be sent in messages only"
        with pytest.raises(NotSendable, match=text):
            await node.spawn(StreamActor, move(ours))
        with pytest.raises(NotSendable, match="sent more than once"):
            node.system.topic("lines").publish(move(ours))
        with pytest.raises(NotSendable, match=r"args\[0\]: .*streams are given away, never copied"):
            await operator.ask(StreamActor.take, ours)
        await far.send(b"fine")
        assert await hear(ours, 4) == b"fine"


async def test_what_may_lose_bytes_or_a_state_is_refused_by_name(node: NodeUnderTest) -> None:
    operator = await node.spawn(StreamActor)
    async with _line("tcp") as (ours, far):
        ends: Any = (ssl.create_default_context(), ssl.MemoryBIO(), ssl.MemoryBIO())
        encrypted = TLSStream(
            ours, True, ends[0].wrap_bio(*ends[1:], server_hostname="x"), *ends[1:]
        )
        for stream in (BufferedByteReceiveStream(ours), encrypted):
            with pytest.raises(NotSendable, match=r"args\[0\]: .*only socket streams of anyio"):
                await operator.ask(StreamActor.take, move(stream))
        await far.send(b"fine")
        assert await hear(ours, 4) == b"fine"


@pytest.mark.filterwarnings("ignore:unclosed")  # which is how Python says that it closed it
@pytest.mark.parametrize("kind", KINDS)
async def test_what_became_a_dead_letter_is_closed(node: NodeUnderTest, kind: str) -> None:
    gate = await node.gate()
    operator = await node.spawn(StreamActor)
    await operator.tell(StreamActor.wait_at, gate, node.probe.ref)
    await node.probe.expect("waits", 20)
    async with _line(kind) as (ours, far):
        await operator.tell(StreamActor.take, move(ours))
        await operator.stop(grace=0.05)
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await far.receive()
    await gate.ask(Gate.open)


@pytest.mark.parametrize("kind", KINDS)
async def test_one_that_cannot_leave_its_machine_goes_on_here(
    node: NodeUnderTest, kind: str
) -> None:
    if not node.far:
        return
    operator = await node.spawn(StreamActor)
    busy, gate = await _busy(node)
    async with _line(kind) as (ours, far):
        for verb in ("ask", "tell", "tell_nowait"):
            with pytest.raises(NotSendable, match=rf"args\[0\]\['line'\].*{CANNOT_LEAVE}"):
                await send(operator, verb, StreamActor.take, {"line": move(ours)})
        with pytest.raises(NotSendable, match=CANNOT_LEAVE):
            await busy.within(20).tell(StreamActor.take, move(ours))
        await far.send(b"still")
        assert await hear(ours, 5) == b"still"
    await gate.ask(Gate.open)
