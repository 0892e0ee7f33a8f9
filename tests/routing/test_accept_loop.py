"""Nodes that accept in turn from one socket: shares, nodes that do not react, deaths, rest; on every loop."""

import os
import socket
import time
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketStream

from actors._base.loop import Loop
from actors.routing import AcceptRouter, LeastConnections, Policy, RoundRobin, listen
from actors.routing.policy.turn import STALE
from actors.routing.scoreboard import WATCHING, OwnSeat, Seat
from tests.routing.serving_nodes import LOOPS, eventually, run
from tests.routing.socket_nodes import SocketCluster

LOOP = pytest.mark.parametrize("kind", LOOPS)
POLICY = pytest.mark.parametrize("policy", [LeastConnections(), RoundRobin()], ids=str)


async def echo(stream: ByteStream) -> None:
    async for data in stream:
        await stream.send(data)


def cluster(loop: Loop, policy: Policy | None = None, **more: Any) -> SocketCluster:
    return SocketCluster(listen(echo, "127.0.0.1:0", policy=policy, **more), loop)


async def connected(system: SocketCluster) -> SocketStream:
    return await anyio.connect_tcp("127.0.0.1", system.router.port)


async def said(stream: SocketStream) -> None:
    await stream.send(b"x")
    assert await stream.receive() == b"x"


class Statue:
    """A node that shows what it is told to, and does nothing else."""

    def __init__(self, slot: int = 9) -> None:
        self.name = f"statue-{slot}"
        self.slot = slot
        self.rung = 0

    def attach_socket(
        self, _listener: str, _limit: int | None, fds: tuple[int, ...], seat: int | None = None
    ) -> None:
        assert seat is not None
        listening, self.bell, writable, readable = fds
        self.listening = socket.socket(fileno=listening)
        self.own = OwnSeat(writable, seat)
        os.close(writable)
        os.close(readable)

    def add_bells(self, _listener: str, _seats: list[int], fds: tuple[int, ...]) -> None:
        for fd in fds:
            os.close(fd)

    def send_connection(self, fd: int, _listener: str) -> None:
        os.close(fd)

    def detach_socket(self, _listener: str) -> None:
        """Do nothing."""

    def show(self, **marks: int) -> None:
        self.own.show(Seat(**{"mark": WATCHING, "stamp": time.monotonic_ns(), **marks}))

    def heard(self) -> int:
        """Return how often it was rung since the last time."""
        try:
            return os.eventfd_read(self.bell)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        self.listening.close()
        os.close(self.bell)
        self.own.close()


@POLICY
@LOOP
def test_120_held_connections_over_four_nodes_are_30_each(kind: str, policy: Policy) -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, policy) as system, AsyncExitStack() as stack:
            await system.join(4)
            for _ in range(120):
                await stack.enter_async_context(await connected(system))
            await eventually(lambda: sum(system.opens) == 120)
            assert system.opens == [30] * 4

    run(kind, test)


def test_a_burst_of_120_is_30_each() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop) as system:
            await system.join(4)
            port = system.router.port
            # No turn of the loop passes: all of them wait when the nodes look.
            clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(120)]
            await eventually(lambda: sum(system.opens) == 120)
            assert system.opens == [30] * 4
            for client in clients:
                client.close()

    run("uvloop", test)


@POLICY
def test_short_connections_are_shared_evenly(policy: Policy) -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, policy) as system:
            await system.join(4)
            for _ in range(200):
                async with await connected(system) as stream:
                    await said(stream)
            await eventually(lambda: sum(system.opens) == 0)
            assert max(system.totals) <= min(system.totals) + 1

    run("asyncio", test)


@POLICY
def test_a_node_that_joins_does_not_get_all_that_comes(policy: Policy) -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, policy) as system:
            await system.join(2)
            for count in (40, 30):
                for _ in range(count):
                    async with await connected(system) as stream:
                        await said(stream)
                    await eventually(lambda: sum(system.opens) == 0)
                if count == 40:
                    await system.join(1)
            assert [
                abs(total - want) <= 1
                for total, want in zip(system.totals, [30, 30, 10], strict=True)
            ]

    run("uvloop", test)


def test_a_node_that_was_passed_over_for_long_makes_up_for_few_turns() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, RoundRobin()) as system:
            passed_over, _ = await system.join(2)
            server: Any = passed_over.server
            server._source._score -= 1000
            before = server._source._score
            await eventually(lambda: server._source._score > before)  # it has looked
            for _ in range(40):
                async with await connected(system) as stream:
                    await said(stream)
                await eventually(lambda: sum(system.opens) == 0)
            first, second = system.totals
            assert 15 <= first - second <= 17

    run("uvloop", test)


@LOOP
def test_a_node_that_does_not_react_is_passed_over_by_all(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop) as system:
            await system.join(2)
            statue: Any = Statue()
            system.router.add_node(statue)
            statue.show(resting=1)  # as one that has fallen asleep in its turn
            for _ in range(6):
                async with await connected(system) as first, await connected(system) as second:
                    await said(first)
                    await said(second)
            await eventually(lambda: sum(system.opens) == 0)
            assert system.totals == [6, 6, 0]
            system.router.remove_node(statue, dead=True)
            statue.close()

    run(kind, test)


def test_a_node_that_has_been_kept_from_its_loop_looks_before_it_accepts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ages: list[int] = []

    async def test(loop: Loop) -> None:
        async with cluster(loop) as system:
            await system.join(2)
            router = system.router
            assert isinstance(router, AcceptRouter)
            for node in system.nodes:
                server: Any = node.server
                serve = server._inner.take

                def take(
                    number: int, sock: Any, first: bytes, node: Any = node, serve: Any = serve
                ) -> None:
                    member = next(m for m in router._chairs if m.node is node)
                    ages.append(time.monotonic_ns() - router._seat_of(member).stamp)
                    serve(number, sock, first)

                monkeypatch.setattr(server._inner, "take", take)
            for _ in range(5):
                client = socket.create_connection(("127.0.0.1", router.port))
                time.sleep(2 * STALE / 1e9)  # noqa: ASYNC251 - this is what keeps the loop
                client.sendall(b"x")
                client.setblocking(False)
                await anyio.wait_readable(client)
                client.close()

    run("asyncio", test)
    assert len(ages) == 5
    assert max(ages) < STALE


def test_a_connection_that_a_node_may_not_have_read_is_counted_at_its_death() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop) as system:
            statue: Any = Statue()
            system.router.add_node(statue)
            statue.show(accepted=7, open=3, unread=1)
            now = system.router.snapshot()
            assert (now.accepted, now.nodes[0].open, now.lost_unread) == (7, 3, 0)
            system.router.remove_node(statue, dead=True)
            statue.close()
            now = system.router.snapshot()
            assert (now.accepted, now.nodes, now.lost_unread) == (7, (), 1)

    run("asyncio", test)


def test_a_node_that_ends_in_order_has_lost_nothing() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop) as system:
            (node,) = await system.join(1)
            async with await connected(system) as stream:
                await said(stream)
            await system.kill(node)
            assert (system.router.snapshot().accepted, system.router.snapshot().lost_unread) == (
                1,
                0,
            )

    run("asyncio", test)


def test_the_parent_rings_while_clients_wait_and_nobody_watches() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop) as system:
            statue: Any = Statue()
            system.router.add_node(statue)
            statue.show(mark=1)
            with socket.create_connection(("127.0.0.1", system.router.port)):
                await eventually(statue.heard)
            system.router.remove_node(statue, dead=True)
            statue.close()

    run("asyncio", test)


def test_the_parent_does_not_ring_while_a_node_watches_or_nobody_waits() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop) as system:
            statue: Any = Statue()
            system.router.add_node(statue)
            statue.show(mark=1)
            await anyio.sleep(0.25)  # two checks of the parent: real time, as its clock is
            with socket.create_connection(("127.0.0.1", system.router.port)):
                for _ in range(25):
                    statue.show()
                    await anyio.sleep(0.01)
            assert statue.heard() == 0
            system.router.remove_node(statue, dead=True)
            statue.close()

    run("asyncio", test)


@LOOP
def test_nodes_without_anything_to_do_rest(kind: str) -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop) as system:
            await system.join(3)
            router: Any = system.router

            def seats() -> list[Seat]:
                return [router._seat_of(member) for member in router._chairs]

            async with await connected(system) as stream:
                await said(stream)
                await eventually(lambda: all(seat.resting for seat in seats()))
                before = seats()
                await anyio.sleep(0.2)  # ten looks of a node that does not rest
                assert seats() == before
                assert {seat.mark for seat in before} == {WATCHING}
                async with await connected(system) as another:  # wakes them
                    await said(another)
            assert seats() != before

    run(kind, test)


def test_clients_that_wait_when_the_listener_ends_are_served() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop) as system:
            await system.join(2)
            port = system.router.port
            clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(9)]
            system.router.stop_listening()  # no turn of the loop has passed
            for client in clients:
                client.sendall(b"x")
                client.setblocking(False)
                await anyio.wait_readable(client)
                assert client.recv(100) == b"x"
                client.close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
            await eventually(lambda: sum(system.totals) == 9)

    run("asyncio", test)


def test_many_nodes_have_no_bells_and_serve_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.routing.balancer.accept_router._MOST_BELLS", 0)

    async def test(loop: Loop) -> None:
        async with cluster(loop) as system:
            await system.join(3)
            async with AsyncExitStack() as stack:
                for _ in range(60):
                    held = await stack.enter_async_context(await connected(system))
                    await said(held)
                await eventually(lambda: sum(system.opens) == 60)

    run("uvloop", test)


def test_a_node_that_is_about_to_join_is_counted_with() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop) as system, AsyncExitStack() as stack:
            await system.join(1)
            late: Any = Statue()
            system.router.add_node(late)
            for _ in range(2):
                held = await stack.enter_async_context(await connected(system))
            await eventually(late.heard)  # the second is for it
            late.show(mark=0)  # it cannot take it after all
            await said(held)
            system.router.remove_node(late, dead=True)
            late.close()

    run("asyncio", test)


def test_seats_are_given_out_again() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop) as system:
            router: Any = system.router
            for _ in range(25):
                (node,) = await system.join(1)
                async with await connected(system) as stream:
                    await said(stream)
                await system.kill(node)
            # Each seat that has been used is a page of memory.
            assert max(router._free) <= 17
            router._unused.clear()
            router._free = type(router._free)([1, 2])
            for _ in range(5):
                (node,) = await system.join(1)
                await system.kill(node)
            assert sorted(router._free) == [1, 2]
            assert router.snapshot().accepted == 25

    run("asyncio", test)
