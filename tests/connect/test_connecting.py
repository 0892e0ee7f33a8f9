"""A program talks to a system that runs in another process: what it can do there, and what it cannot."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import actors
from actors import System
from actors.errors import ActorsError, ActorStopped, NotSendable, SystemStopped
from tests.cli.running_command import Running
from tests.connect.shop import Counter, Listener, Order, Room

PATIENCE = 15

pytestmark = pytest.mark.usefixtures("connected_folder")


@pytest.fixture
async def system() -> AsyncIterator[System]:
    connected = await actors.connect()
    yield connected
    await connected.aclose()


class Mine(Order):
    """Says that it is of `__main__`, as one of a script is."""


Mine.__module__ = "__main__"


async def _counter(system: System, name: str = "counter") -> actors.Ref[Counter]:
    counter = await system.lookup(name, Counter)
    assert counter is not None
    return counter


async def test_it_asks_tells_and_reads_streams() -> None:
    with anyio.fail_after(PATIENCE):
        async with actors.connect() as system:
            counter = await _counter(system)
            before = await counter.ask(Counter.add, 0)
            await counter.tell(Counter.add, 2)
            assert await counter.ask(Counter.add, by=1) == before + 3
            async with counter.stream(Counter.upto, 3) as items:
                assert [item async for item in items] == [0, 1, 2]
            assert await counter.ask(Counter.more, Order("tea", 1)) == Order("tea", 2)
            with pytest.raises(ValueError, match="as asked"):
                await counter.ask(Counter.fail)
            assert await system.lookup("nobody") is None
            with pytest.raises(TypeError, match=r"shop:Counter, not of .*shop:Room"):
                await system.lookup("counter", Room)


async def test_big_payloads_go_both_ways_and_no_memory_is_lent(system: System) -> None:
    with anyio.fail_after(PATIENCE):
        counter = await _counter(system)
        big = await counter.ask(Counter.bytes_of, 3_000_000)
        assert (len(big), await counter.ask(Counter.length, big)) == (3_000_000, 3_000_000)
        assert await counter.ask(Counter.lends_to_clients) == [False]


async def test_topics_go_both_ways(system: System) -> None:
    with anyio.fail_after(PATIENCE):
        counter, listener = await _counter(system), await system.lookup("listener", Listener)
        assert listener is not None
        async with system.topic("news").subscribe() as news:
            await counter.tell(Counter.publish, "news", "first")
            assert await anext(news) == "first"
        system.topic("from outside", keep_last=True).publish("hello")
        while "hello" not in await listener.ask(Listener.heard):
            await anyio.lowlevel.checkpoint()
        async with (
            actors.connect() as other,
            other.topic("from outside").subscribe(last=True) as values,
        ):
            assert await anext(values) == "hello"  # the parent keeps it
            system.topic("from outside").publish("among clients")
            assert await anext(values) == "among clients"


async def test_it_sees_members_events_nodes_and_the_tree(system: System) -> None:
    with anyio.fail_after(PATIENCE):
        counter = await _counter(system)
        events = system.events()
        async with system.watch_members("desk") as desk:
            await counter.ask(Counter.join, "desk")
            change = await anext(desk)
            assert (change.ref, change.joined) == (counter, True)
            assert await system.members("desk") == [counter]
            await counter.ask(Counter.leave, "desk")
            assert not (await anext(desk)).joined
        async with actors.connect():
            pass
        async for event in events:
            if event.kind == "client_gone":
                break
        events.close()
        assert {node.name: node.state.value for node in system.nodes} == {
            "web/0": "READY",
            "web/1": "READY",
        }
        assert (await system.tree())["children"]
        assert (await system.supervisor("").count()).workers >= 3


async def test_it_uses_pools_and_books_that_are_there(system: System) -> None:
    with anyio.fail_after(PATIENCE):
        rooms: Any = await system.keyed("rooms")
        assert await rooms["hall"].ask(Room.say, "hi") == "hall: hi"
        pool = await system.pool("pool", Counter)
        assert pool is not None
        assert await pool.ask(Counter.add, 0) == 0


async def test_it_hears_of_the_end_of_an_actor(system: System) -> None:
    with anyio.fail_after(PATIENCE):
        rooms: Any = await system.keyed("rooms")
        ref = await rooms["brief"].ref()
        await ref.stop()
        assert (await ref.wait()).kind.name == "SHUTDOWN"
        with pytest.raises(ActorStopped):
            await ref.ask(Room.say, "anybody?")


@pytest.mark.parametrize(
    "verb, named",
    [
        (lambda system: system.spawn(Counter, name="mine"), "spawn Counter"),
        (lambda system: system.start(actors.child(Counter, name="mine")), "start 'mine'"),
        (lambda system: system.start(actors.nodes("more")), "start nodes 'more'"),
        (lambda system: system.start(actors.pool(Counter, name="more")), "start pool 'more'"),
        (lambda system: system.scale("web", 3), "scale web=3"),
        (lambda system: system.reload("web"), "reload web"),
        (lambda system: system.offload(len, "x"), "offload"),
        (lambda system: system.stop(), "stop the system"),
        (lambda system: system.nodes[0].stop(), "stop node 'web/0'"),
        (lambda system: system.supervisor("").stop_child("counter"), "stop 'counter'"),
    ],
)
async def test_what_would_start_or_change_something_is_refused_by_name(
    system: System, verb: Any, named: str
) -> None:
    with pytest.raises(ActorsError, match=f"{named}: this program is connected from outside"):
        await verb(system)


async def test_it_is_on_no_node(system: System) -> None:
    with pytest.raises(ActorsError, match="this process runs no actors itself"):
        _ = system.node
    assert actors.current() is system


async def test_a_class_that_this_program_lacks_is_named(system: System) -> None:
    counter = await _counter(system)
    with pytest.raises(NotSendable, match=r"reply.*No module named 'only_in_the_shop'"):
        await counter.ask(Counter.of_a_module_that_is_only_here)
    assert await counter.ask(Counter.add, 0)


async def test_a_class_of_this_programs_main_is_not_sent(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "Mine", Mine, raising=False)
    counter = await _counter(system)
    with pytest.raises(NotSendable, match="connected from outside: put it in a module"):
        await counter.ask(Counter.more, Mine("tea", 1))


async def test_after_its_end_everything_says_so(connected_folder: Running) -> None:
    with anyio.fail_after(PATIENCE):
        async with actors.connect(connected_folder.pid) as system:
            counter = await _counter(system)
        why = f"the connection to system {connected_folder.pid} is closed"
        with pytest.raises(SystemStopped, match=why):
            await system.lookup("counter")
        with pytest.raises(ActorsError, match=why):
            await counter.ask(Counter.add)
        await system.aclose()


async def test_the_system_is_found_by_number_and_by_folder(connected_folder: Running) -> None:
    for which in (
        connected_folder.pid,
        str(connected_folder.pid),
        connected_folder.socket.parent,
        str(connected_folder.socket.parent),
    ):
        async with actors.connect(which) as system:
            assert system.nodes


def test_plain_code_is_connected_by_a_thread_of_its_own(connected_folder: Running) -> None:
    with actors.connect(connected_folder.pid) as system:
        counter = system.lookup("counter", Counter)
        assert counter is not None
        before = counter.ask(Counter.add, 0)
        assert counter.ask(Counter.add, 2) == before + 2
        with system.topic("plain").subscribe() as values:
            counter.tell(Counter.publish, "plain", 1)
            assert next(values) == 1
        with pytest.raises(ActorsError, match="connected from outside"):
            system.spawn(Counter)
    with pytest.raises(SystemStopped, match="has ended"):
        system.tree()


async def test_an_actor_of_another_system_may_ask_its_namesake(system: System) -> None:
    class Outside(actors.Actor):
        async def add(self, to: int) -> int:
            counter = await system.lookup("counter", Counter)
            assert counter is not None
            assert counter.uid == self.context.ref.uid
            return await counter.ask(Counter.add, to)

    with anyio.fail_after(PATIENCE):
        async with System() as own:
            outside = await own.spawn(Outside)  # the first of its system, as the counter is
            assert await outside.ask(Outside.add, 0) > 0
