"""Streams are the same on every kind of node."""

from __future__ import annotations

import anyio
import pytest

from actors.errors import ActorCrashed, ActorStopped, CallCycle, DeadlineExceeded, NotAMessage
from actors.testing import eventually
from tests.contracts.contract_actors import Counting, Gate, Worker
from tests.contracts.node_under_test import NodeUnderTest, drain, read


async def test_a_stream_gives_every_item_in_order_and_ends(node: NodeUnderTest) -> None:
    counting = await node.spawn(Counting)
    with anyio.fail_after(5):
        async with counting.stream(Counting.upto, 100) as items:
            assert [item async for item in items] == list(range(100))
        async with counting.stream(Counting.upto, n=0) as items:
            assert [item async for item in items] == []


async def test_an_unread_stream_runs_only_a_window_ahead(node: NodeUnderTest) -> None:
    counting = await node.spawn(Counting)
    with anyio.fail_after(5):
        async with counting.stream(Counting.upto, 1000) as items:
            assert await anext(items) == 0
            made = await counting.ask(Counting.how_many)
            assert 1 <= made <= 17
            assert [await anext(items) for _ in range(50)] == list(range(1, 51))


async def test_leaving_a_stream_early_ends_its_generator(node: NodeUnderTest) -> None:
    counting = await node.spawn(Counting, node.probe.ref)
    with anyio.fail_after(5):
        async with counting.stream(Counting.upto, 1000) as items:
            assert await anext(items) == 0
            assert node.probe.heard == []
        await node.probe.expect("generator closed")
        assert await counting.ask(Counting.how_many) <= 17


async def test_leaving_a_stream_cancels_the_item_that_its_generator_waits_for(
    node: NodeUnderTest,
) -> None:
    counting = await node.spawn(Counting, node.probe.ref)
    with anyio.fail_after(5):
        for _ in range(2):
            async with counting.stream(Counting.endless_wait) as items:
                assert await anext(items) == "first"
            await node.probe.expect("wait cancelled")
            assert await counting.ask(Counting.how_many) == 0


async def test_an_error_in_the_generator_comes_after_its_items_and_the_actor_lives(
    node: NodeUnderTest,
) -> None:
    counting = await node.spawn(Counting)
    got: list[int] = []
    with anyio.fail_after(5):
        with pytest.raises(LookupError, match="no more of these"):
            await read(counting, Counting.failing, 3, into=got)
        assert got == [0, 1, 2]
        assert await counting.ask(Counting.how_many) == 0


async def test_two_streams_of_an_actor_and_its_messages_take_turns(node: NodeUnderTest) -> None:
    counting = await node.spawn(Counting)
    with anyio.fail_after(5):
        async with (
            counting.stream(Counting.upto, 1000) as one,
            counting.stream(Counting.upto, 1000) as two,
        ):
            for expected in range(40):
                assert await anext(one) == expected
                assert await anext(two) == expected
                assert await counting.ask(Counting.how_many) > 0


async def test_a_crash_ends_the_streams_of_the_incarnation(node: NodeUnderTest) -> None:
    counting = await node.spawn(Counting)
    with anyio.fail_after(5):
        async with counting.stream(Counting.upto, 1000) as items:
            assert await anext(items) == 0
            await counting.tell(Counting.crash)
            with pytest.raises(ActorCrashed, match="boom"):
                await drain(items)
        async with counting.stream(Counting.upto, 2) as items:
            assert [item async for item in items] == [0, 1]


async def test_a_stop_ends_the_streams_of_the_actor(node: NodeUnderTest) -> None:
    counting = await node.spawn(Counting)
    with anyio.fail_after(5):
        async with counting.stream(Counting.upto, 1000) as items:
            assert await anext(items) == 0
            await counting.stop()
            with pytest.raises(ActorStopped, match="SHUTDOWN"):
                await drain(items)
        with pytest.raises(ActorStopped, match="it has ended: SHUTDOWN"):
            await read(counting, Counting.upto, 2)


async def test_a_stream_within_a_time_ends_by_it(node: NodeUnderTest) -> None:
    gate = await node.gate()
    counting = await node.spawn(Counting)
    got: list[str] = []
    with anyio.fail_after(5):
        with pytest.raises(DeadlineExceeded, match=r"the stream did not end in 0\.2 s"):
            await read(counting.within(0.2), Counting.waiting, gate, into=got)  # type: ignore[arg-type] # has the verb
        assert got == ["first"]
        await gate.ask(Gate.open)
        assert await counting.ask(Counting.how_many) == 0


async def test_a_stream_is_not_asked_and_a_call_is_not_streamed(node: NodeUnderTest) -> None:
    counting = await node.spawn(Counting)
    with pytest.raises(NotAMessage, match=r"Counting\.upto is an async generator: open it with"):
        await counting.ask(Counting.upto, 3)
    with pytest.raises(NotAMessage, match=r"Counting\.how_many is not an async generator: use ask"):
        async with counting.stream(Counting.how_many):  # type: ignore[arg-type] # that is the test
            pass
    with pytest.raises(NotAMessage, match=r"Worker\.add is not a method of Counting"):
        async with counting.stream(Worker.add, 1):  # type: ignore[arg-type] # that is the test
            pass


async def test_a_stream_of_itself_is_refused_and_named(node: NodeUnderTest) -> None:
    counting = await node.spawn(Counting)
    with anyio.fail_after(5):
        with pytest.raises(CallCycle, match="a stream would wait for the reading actor itself"):
            await counting.ask(Counting.read_itself)
        assert await counting.ask(Counting.read_itself_beside) == [0, 1, 2]


async def test_streams_left_early_leave_nothing_at_the_maker(node: NodeUnderTest) -> None:
    here = await node.spawn(Counting, node.probe.ref, on=node.system.node.name)
    there = await node.spawn(Counting)
    with anyio.fail_after(10):
        assert await there.ask(Counting.peek_at, here, 20) == 20
        for _ in range(20):
            await node.probe.expect("generator closed")
        links = [peer.link for peer in node.system.node.host.peers.values()]
        await eventually(lambda: not any(link and link.serving for link in links))
