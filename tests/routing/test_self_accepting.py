"""Nodes that accept for themselves: from sockets of their own, or in turn; on every loop."""

import errno
import resource
import socket
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream

from actors._base.loop import Loop
from actors.routing import (
    AcceptPaused,
    AcceptResumed,
    HandOverFailed,
    LeastConnections,
    ListenFailed,
    Listening,
    Policy,
    ReusePort,
    RoundRobin,
    listen,
)
from tests.routing.serving_nodes import LOOPS, eventually, run
from tests.routing.socket_nodes import SocketCluster

LOOP = pytest.mark.parametrize("kind", LOOPS)
POLICY = pytest.mark.parametrize("policy", [ReusePort(), LeastConnections(), RoundRobin()], ids=str)


async def echo(stream: ByteStream) -> None:
    async for data in stream:
        await stream.send(data)


def cluster(loop: Loop, policy: Policy, address: str = "127.0.0.1:0", **more: int) -> SocketCluster:
    return SocketCluster(listen(echo, address, policy=policy, **more), loop)  # type: ignore[arg-type]


async def said(stream: ByteStream, word: bytes = b"hello") -> bytes:
    await stream.send(word)
    return await stream.receive()


@POLICY
@LOOP
def test_every_client_is_served_and_counted_by_the_nodes(kind: str, policy: Policy) -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, policy) as system:
            await system.join(3)
            (listening,) = system.reported(Listening)
            assert isinstance(listening, Listening)
            assert (str(listening.policy), listening.address) == (
                str(policy),
                f"127.0.0.1:{system.router.port}",
            )
            streams = [await anyio.connect_tcp("127.0.0.1", system.router.port) for _ in range(12)]
            for stream in streams:
                assert await said(stream) == b"hello"
            await eventually(lambda: sum(system.opens) == 12)
            for stream in streams:
                await stream.aclose()
            await eventually(lambda: sum(system.opens) == 0)
            assert sum(system.totals) == system.router.snapshot().accepted == 12
            assert system.router.snapshot().accepting

    run(kind, test)


@POLICY
def test_the_port_is_kept_while_every_node_restarts(policy: Policy) -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, policy) as system:
            for node in await system.join(2):
                await system.kill(node)
            for option in (0, socket.SO_REUSEADDR):
                with socket.socket() as stranger:
                    if option:
                        stranger.setsockopt(socket.SOL_SOCKET, option, 1)
                    with pytest.raises(OSError, match="in use"):
                        stranger.bind(("127.0.0.1", system.router.port))
            for slot in range(2):
                system.router.add_node(await system.ready(f"web-{slot}", slot))  # type: ignore[arg-type]
            async with await anyio.connect_tcp("127.0.0.1", system.router.port) as stream:
                assert await said(stream) == b"hello"

    run("asyncio", test)


@POLICY
def test_a_second_system_cannot_share_the_port_by_accident(policy: Policy) -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, policy) as system:
            await system.join(1)
            second = cluster(loop, policy, f"127.0.0.1:{system.router.port}").router
            with pytest.raises(OSError, match="EADDRINUSE") as caught:
                second.open()
            assert isinstance(caught.value, ListenFailed)
            assert caught.value.errno == errno.EADDRINUSE
        second.open()  # the port is free again: trying once more is enough
        second.close()

    run("asyncio", test)


class Idler:
    """A node that accepts nothing."""

    name = "web-0"
    slot = 0

    def attach_socket(
        self, _listener: str, _limit: int | None, fds: tuple[int, ...], _seat: int | None = None
    ) -> None:
        (self.listening,) = (socket.socket(fileno=fd) for fd in fds)

    def detach_socket(self, _listener: str) -> None:
        raise AssertionError("it is dead")


def test_who_waits_at_a_node_of_its_own_socket_that_dies_is_served_by_the_next_run() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, ReusePort()) as system:
            idler = Idler()
            system.router.add_node(idler)  # type: ignore[arg-type]
            async with await anyio.connect_tcp("127.0.0.1", system.router.port) as stream:
                idler.listening.close()
                system.router.remove_node(idler, dead=True)  # type: ignore[arg-type]
                await system.join(1)
                assert await said(stream) == b"hello"

    run("asyncio", test)


@LOOP
def test_who_waits_at_a_node_of_its_own_socket_that_dies_is_served_by_the_others(
    kind: str,
) -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, ReusePort()) as system:
            idler = Idler()
            system.router.add_node(idler)  # type: ignore[arg-type]
            waiting = [await anyio.connect_tcp("127.0.0.1", system.router.port) for _ in range(9)]
            for slot in (1, 2):
                system.router.add_node(await system.ready(f"web-{slot}", slot))  # type: ignore[arg-type]
            idler.listening.close()
            system.router.remove_node(idler, dead=True)  # type: ignore[arg-type]
            waiting += [await anyio.connect_tcp("127.0.0.1", system.router.port) for _ in range(9)]
            for stream in waiting:
                assert await said(stream) == b"hello"
            await eventually(lambda: sum(system.opens) == 18)
            assert min(system.opens) >= 4
            for stream in waiting:
                await stream.aclose()

    run(kind, test)


def test_where_nobody_comes_back_who_waits_is_let_go_and_others_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.routing.balancer.reuse_port_router._HELD", 0.05)

    async def test(loop: Loop) -> None:
        async with cluster(loop, ReusePort()) as system:
            idler = Idler()
            system.router.add_node(idler)  # type: ignore[arg-type]
            async with await anyio.connect_tcp("127.0.0.1", system.router.port) as stream:
                idler.listening.close()
                system.router.remove_node(idler, dead=True)  # type: ignore[arg-type]
                with pytest.raises(anyio.BrokenResourceError):
                    await stream.receive()
            system.router.add_node(await system.ready("web-1", 1))  # type: ignore[arg-type]
            for _ in range(20):
                async with await anyio.connect_tcp("127.0.0.1", system.router.port) as stream:
                    assert await said(stream) == b"hello"

    run("asyncio", test)


def test_clients_of_a_shared_socket_wait_while_every_node_restarts() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, LeastConnections()) as system:
            (first,) = await system.join(1)
            await system.kill(first)
            async with await anyio.connect_tcp("127.0.0.1", system.router.port) as stream:
                await system.join(1)
                assert await said(stream) == b"hello"

    run("asyncio", test)


def test_while_a_node_reopens_its_socket_the_other_one_serves() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, ReusePort()) as system:
            served = 0
            await system.join(1)
            port = system.router.port

            async def go_on(done: anyio.Event) -> None:
                nonlocal served
                while not done.is_set():
                    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                        assert await said(stream) == b"hello"
                        served += 1

            done = anyio.Event()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(go_on, done)
                for round_ in range(5):
                    second = await system.ready("web-1", 1)
                    system.router.add_node(second)  # type: ignore[arg-type]
                    begin = served
                    await eventually(lambda begin=begin: served > begin + 10)  # type: ignore[misc]
                    assert second.server is not None
                    system.router.remove_node(second, dead=False)  # type: ignore[arg-type]
                    await second.server.drain(10)
                    system.router.remove_node(second, dead=True)  # type: ignore[arg-type]
                    assert len(system.router.snapshot().nodes) == 1, round_
                done.set()
            assert served > 50

    run("asyncio", test)


def test_what_waits_at_a_node_that_begins_to_leave_is_still_served() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, ReusePort()) as system:
            (node,) = await system.join(1)
            clients = [
                socket.create_connection(("127.0.0.1", system.router.port)) for _ in range(9)
            ]
            # No turn of the loop has passed: all nine are in the kernel's queue.
            system.router.remove_node(node, dead=False)  # type: ignore[arg-type]
            for number, client in enumerate(clients):
                client.sendall(b"%d" % number)
                client.setblocking(False)
                assert await _received(client) == b"%d" % number
                client.close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", system.router.port))
            await eventually(lambda: system.totals == [9])

    run("asyncio", test)


def test_clients_of_a_node_that_leaves_a_shared_socket_find_the_others() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, LeastConnections()) as system:
            leaving, staying = await system.join(2)
            clients = [
                socket.create_connection(("127.0.0.1", system.router.port)) for _ in range(9)
            ]
            system.router.remove_node(leaving, dead=False)  # type: ignore[arg-type]
            for client in clients:
                client.sendall(b"x")
                client.setblocking(False)
                assert await _received(client) == b"x"
                client.close()
            await eventually(lambda: system.totals == [0, 9])
            assert staying.slot == 1

    run("asyncio", test)


async def _received(client: socket.socket) -> bytes:
    await anyio.wait_readable(client)
    return client.recv(100)


@POLICY
@LOOP
def test_a_full_node_stops_accepting_and_goes_on_when_one_client_leaves(
    kind: str, policy: Policy
) -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, policy, max_connections=2) as system:
            await system.join(1)
            connect = partial(anyio.connect_tcp, "127.0.0.1", system.router.port)
            first, second, third = await connect(), await connect(), await connect()
            assert await said(first) == await said(second) == b"hello"
            await third.send(b"me too")
            await eventually(lambda: system.opens == [2])
            with anyio.move_on_after(0.05):
                raise AssertionError(f"there was no room for {await third.receive()!r}")
            await first.aclose()
            assert await third.receive() == b"me too"
            await eventually(lambda: system.totals == [3])
            await second.aclose()
            await third.aclose()

    run(kind, test)


def test_each_slot_may_have_a_limit_of_its_own() -> None:
    async def test(loop: Loop) -> None:
        spec = listen(echo, "127.0.0.1:0", policy=LeastConnections(), max_connections=(1, 3))
        async with SocketCluster(spec, loop) as system:
            await system.join(2)
            connect = partial(anyio.connect_tcp, "127.0.0.1", system.router.port)
            streams = [await connect() for _ in range(5)]
            await eventually(lambda: system.opens == [1, 3])
            for stream in streams:
                await stream.send(b"x")
            await streams[0].receive()
            await streams[0].aclose()
            await eventually(lambda: sum(system.totals) == 5)
            for stream in streams:
                await stream.aclose()

    run("asyncio", test)


def test_a_node_that_runs_out_of_descriptors_pauses_and_tells_it_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.routing.balancer.acceptor._RECOVERED_AFTER", 0.05)

    async def test(loop: Loop) -> None:
        async with cluster(loop, ReusePort()) as system:
            await system.join(1)
            client = socket.create_connection(("127.0.0.1", system.router.port))
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            try:
                await eventually(lambda: system.reported(AcceptPaused))
                await anyio.sleep(0.6)  # one more try: real time, as the node's clock is
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert system.reported(AcceptPaused) == [
                AcceptPaused("127.0.0.1:0", errno.EMFILE, 0.5),
            ]
            client.setblocking(False)
            client.sendall(b"still there")
            assert await _received(client) == b"still there"
            await eventually(lambda: system.reported(AcceptResumed))
            client.close()

    run("asyncio", test)


def test_a_node_that_cannot_be_reached_is_asked_again() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, ReusePort()) as system:
            node = await system.ready()
            node.broken = OSError(errno.EMFILE, "no descriptor")
            system.router.add_node(node)  # type: ignore[arg-type]
            assert [type(fact) for fact in system.facts[1:]] == [HandOverFailed]
            node.broken = None
            async with await _connected(system.router.port) as stream:
                assert await said(stream) == b"hello"
            assert node.asked == 2

    run("asyncio", test)


def test_a_node_that_lost_its_socket_for_want_of_a_descriptor_gets_it_again() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, ReusePort()) as system:
            node = await system.ready()
            system.router.add_node(node)  # type: ignore[arg-type]
            router: Any = system.router
            router.on_socket_lost(node.name)
            (lost,) = system.reported(HandOverFailed)
            assert "no descriptor free for the listener's socket" in str(lost)
            await eventually(lambda: node.asked == 2)
            async with await _connected(system.router.port) as stream:
                assert await said(stream) == b"hello"

    run("asyncio", test)


async def _connected(port: int) -> ByteStream:
    while True:
        try:
            return await anyio.connect_tcp("127.0.0.1", port)
        except OSError:
            await anyio.sleep(0.01)


def test_a_node_of_the_same_slot_takes_over() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, ReusePort()) as system:
            (old,) = await system.join(1)
            new = await system.ready("web-0 again", 0)
            system.router.add_node(new)  # type: ignore[arg-type]
            assert [node.ready for node in system.router.snapshot().nodes] == [False, True]
            async with await anyio.connect_tcp("127.0.0.1", system.router.port) as stream:
                await said(stream)
                await eventually(lambda: system.opens == [0, 1])
            system.router.remove_node(old, dead=True)  # type: ignore[arg-type]
            assert [node.name for node in system.router.snapshot().nodes] == ["web-0 again"]

    run("asyncio", test)


def test_unix_clients_are_served_from_a_shared_path(tmp_path: Path) -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, LeastConnections(), f"unix:{tmp_path}/s") as system:
            await system.join(2)
            async with await anyio.connect_unix(f"{tmp_path}/s") as stream:
                assert await said(stream) == b"hello"

    run("asyncio", test)
    assert list(tmp_path.iterdir()) == []


def test_clients_of_both_families_reach_a_dual_port_of_many_sockets() -> None:
    async def test(loop: Loop) -> None:
        async with cluster(loop, ReusePort(), "[::]:0") as system:
            await system.join(2)
            for host in ("127.0.0.1", "::1"):
                async with await anyio.connect_tcp(host, system.router.port) as stream:
                    assert await said(stream) == b"hello"

    run("asyncio", test)
