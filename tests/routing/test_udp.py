"""UDP listeners: whose datagram goes where, what is dropped, and how it is answered."""

import errno
import socket
from collections import Counter

import anyio
import pytest

from actors._base.loop import Loop
from actors.routing import (
    BadListener,
    HandlerFailed,
    HandlerUnfit,
    Key,
    Peeked,
    Policy,
    ReusePort,
    RoundRobin,
    Sticky,
    asgi,
    ip,
    listen,
    new_router,
)
from actors.routing.balancer.udp_router import DatagramRouter
from actors.routing.listen.pktinfo import send
from actors.routing.sticky.datagram_source import pack, unpack
from tests.routing.conftest import Rig
from tests.routing.serving_nodes import LOOPS, eventually, run
from tests.routing.socket_nodes import SocketCluster
from tests.routing.udp_handlers import client, echo, handled, hold, later, not_async

UDP = "udp://127.0.0.1:0"


class Inbox:
    """A node that only keeps the sockets attached to it."""

    def __init__(self, name: str, slot: int) -> None:
        self.name = name
        self.slot = slot
        self.socks: list[socket.socket] = []

    def attach_socket(
        self, listener: str, limit: int | None, fds: tuple[int, ...], _seat: int | None = None
    ) -> None:
        assert (listener, limit) == (UDP, None)
        self.socks = [socket.socket(fileno=fd) for fd in fds]
        self.socks[0].setblocking(False)

    def add_bells(self, listener: str, seats: list[int], fds: tuple[int, ...]) -> None:
        raise AssertionError(f"{listener} has no bells, got {fds} of {seats}")

    def send_connection(self, fd: int, listener: str) -> None:
        raise AssertionError(f"{listener} has no connections, got {fd}")

    def detach_socket(self, listener: str) -> None:
        assert listener == UDP

    def got(self) -> list[tuple[bytes, int]]:
        """Return the datagrams received, and their senders' ports."""
        found: list[tuple[bytes, int]] = []
        while True:
            try:
                data, sender, _ = unpack(self.socks[0].recv(70_000))
            except OSError:
                return found
            found.append((data, sender[1]))

    def close(self) -> None:
        for sock in self.socks:
            sock.close()


class Setup:
    """A datagram router on the virtual loop, its nodes, and senders."""

    def __init__(self, rig: Rig, policy: Policy | None = None) -> None:
        self.rig = rig
        router = new_router(
            listen("app:handle", UDP, policy=policy), rig.loop.as_loop(), rig.facts.append
        )
        assert isinstance(router, DatagramRouter)
        self.router = router
        self.router.open()
        rig.routers.append(router)  # type: ignore[arg-type]
        self.senders: list[socket.socket] = []

    def join(self, *slots: int) -> list[Inbox]:
        made = [Inbox(f"dns-{slot}", slot) for slot in slots]
        self.rig.nodes += made  # type: ignore[arg-type]
        for inbox in made:
            self.router.add_node(inbox)
        return made

    def sender(self) -> socket.socket:
        made = socket.socket(type=socket.SOCK_DGRAM)
        made.settimeout(10)
        made.connect(("127.0.0.1", self.router.port))
        self.rig.clients.append(made)
        return made

    def settle(self, count: int) -> None:
        self.rig.loop.until(lambda: self.router.snapshot().accepted >= count)


def test_40_datagrams_reach_4_nodes_and_each_sender_has_one(rig: Rig) -> None:
    setup = Setup(rig)
    inboxes = setup.join(0, 1, 2, 3)
    senders = [setup.sender() for _ in range(40)]
    for sender in senders:
        sender.send(b"one")
    setup.settle(40)
    homes = {port: inbox.slot for inbox in inboxes for _, port in inbox.got()}
    assert len(homes) == 40
    assert set(homes.values()) == {0, 1, 2, 3}
    for number in range(3):
        for sender in senders:
            sender.send(b"%d" % number)
    setup.settle(160)
    for inbox in inboxes:
        for _, port in inbox.got():
            assert homes[port] == inbox.slot


def test_a_sender_comes_back_to_the_slot_of_a_node_that_restarted(rig: Rig) -> None:
    setup = Setup(rig)
    inboxes = setup.join(0, 1, 2)
    senders = [setup.sender() for _ in range(30)]

    def round_(*there: Inbox) -> dict[int, int]:
        before = setup.router.snapshot().accepted
        for sender in senders:
            sender.send(b"x")
        setup.settle(before + 30)
        return {port: inbox.slot for inbox in there for _, port in inbox.got()}

    homes = round_(*inboxes)
    setup.router.remove_node(inboxes[1], dead=True)
    meanwhile = round_(inboxes[0], inboxes[2])
    assert meanwhile == {
        port: meanwhile[port] if slot == 1 else slot for port, slot in homes.items()
    }
    (again,) = setup.join(1)
    assert round_(inboxes[0], again, inboxes[2]) == homes
    assert setup.router.snapshot().dropped == 0


def test_what_a_stopped_node_has_no_room_for_is_dropped_and_counted(rig: Rig) -> None:
    setup = Setup(rig)
    (stopped,) = setup.join(0)
    sender = setup.sender()
    for number in range(4000):
        sender.send(b"x" * 500)
        if number % 50 == 49:
            setup.settle(number + 1)
    dropped = setup.router.snapshot().dropped
    assert 0 < dropped < 4000
    assert len(stopped.got()) == 4000 - dropped
    sender.send(b"there is room again")
    setup.settle(4001)
    assert stopped.got()[0][0] == b"there is room again"


def test_without_a_node_datagrams_wait_in_the_kernel(rig: Rig) -> None:
    setup = Setup(rig)
    sender = setup.sender()
    sender.send(b"early")
    rig.loop.settle()
    assert (setup.router.snapshot().accepted, rig.loop.watched) == (0, 0)
    (inbox,) = setup.join(0)
    setup.settle(1)
    assert [data for data, _ in inbox.got()] == [b"early"]
    setup.router.remove_node(inbox, dead=False)
    assert rig.loop.watched == 0


def test_a_node_that_just_died_costs_its_datagrams_and_nothing_else(rig: Rig) -> None:
    setup = Setup(rig)
    (dying,) = setup.join(0)
    dying.close()
    sender = setup.sender()
    sender.send(b"x")
    setup.settle(1)
    assert setup.router.snapshot().dropped == 1
    setup.router.remove_node(dying, dead=True)
    sender.send(b"y")
    (inbox,) = setup.join(0)
    setup.settle(2)
    assert [data for data, _ in inbox.got()] == [b"y"]


class Room(Key):
    """The first word of a datagram."""

    def extract(self, peeked: Peeked) -> bytes:
        if peeked.head.startswith(b"?"):
            raise ValueError("no room")
        return peeked.head.split()[0]


def test_a_key_of_ones_own_reads_each_datagram(rig: Rig) -> None:
    setup = Setup(rig, Sticky(Room()))
    inboxes = setup.join(0, 1, 2, 3)
    sender = setup.sender()
    for number in range(64):
        sender.send(b"room%d %d" % (number % 16, number))
    setup.settle(64)
    found = [{data.split()[0] for data, _ in inbox.got()} for inbox in inboxes]
    assert sum(map(len, found)) == len(set.union(*found)) == 16
    assert min(map(len, found)) > 0
    sender.send(b"?")
    sender.send(b"?")
    setup.settle(66)
    assert len(rig.facts) == 2  # `Listening`, and one `PolicyFailed`
    assert setup.router.snapshot().dropped == 0


def test_one_host_has_one_node_if_it_is_asked_for(rig: Rig) -> None:
    setup = Setup(rig, Sticky(ip()))
    inboxes = setup.join(0, 1, 2, 3)
    for _ in range(12):
        setup.sender().send(b"x")
    setup.settle(12)
    assert sorted(Counter({i.slot: len(i.got()) for i in inboxes}).values()) == [0, 0, 0, 12]


@pytest.mark.parametrize("local", [b"", b"\x7f\0\0\2", b"\xff\x02" + bytes(14)])
@pytest.mark.parametrize("sender", [("127.0.0.1", 5353), ("fe80::1", 53, 7, 3), ("::1", 1, 0, 0)])
def test_addresses_survive_the_way_to_the_node(sender: tuple[str, int], local: bytes) -> None:
    assert unpack(pack(sender, local) + b"data") == (b"data", sender, local)
    assert unpack(pack(sender, local)) == (b"", sender, local)


async def asked(
    port: int, *datagrams: bytes, host: str = "127.0.0.1", own: str = ""
) -> list[bytes]:
    """Send datagrams from a socket of our own, bound to *own*, and return as many answers."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.bind((own, 0))
        sender.connect((host, port))
        answers = []
        for datagram in datagrams:
            sender.send(datagram)
        for _ in datagrams:
            await anyio.wait_readable(sender)
            answers.append(sender.recv(70_000))
        return answers


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_datagrams_are_answered_by_the_port_that_was_asked(kind: str, host: str) -> None:
    async def test(loop: Loop) -> None:
        address = f"udp://[{host}]:0" if ":" in host else f"udp://{host}:0"
        async with SocketCluster(listen(echo, address), loop) as system:
            await system.join(2)
            port = system.router.port
            sent = [b"x", b"y" * 60_000]
            for _ in range(4):  # handlers run side by side: answers come in any order
                assert sorted(await asked(port, *sent, host=host)) == sent
            await eventually(lambda: sum(system.totals) == 8)
            assert sum(system.opens) == 0
            assert system.router.snapshot().accepted == 8

    run(kind, test)


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize(
    "bound, asked_at",
    [("0.0.0.0", "127.0.0.2"), ("[::]", "127.0.0.2"), ("[::]", "::1")],  # noqa: S104 - what is tested
)
def test_bound_to_every_address_the_one_that_was_asked_answers(
    kind: str, bound: str, asked_at: str
) -> None:
    # A connected socket hears that address only, and left to itself the kernel takes 127.0.0.1.
    own = "::1" if ":" in asked_at else "127.0.0.1"

    async def test(loop: Loop) -> None:
        async with SocketCluster(listen(echo, f"udp://{bound}:0"), loop) as system:
            await system.join(1)
            port = system.router.port
            sent = [b"x", b"y" * 60_000]
            assert sorted(await asked(port, *sent, host=asked_at, own=own)) == sent

    run(kind, test)


def test_what_cannot_be_answered_from_where_it_was_sent_to_is_answered_all_the_same() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock, socket.socket(type=socket.SOCK_DGRAM) as to:
        to.settimeout(10)
        to.bind(("127.0.0.1", 0))
        for local in (b"\x08\x08\x08\x08", bytes([224, 0, 0, 251]), b""):
            send(sock, b"answer", to.getsockname(), local)
            assert to.recv(100) == b"answer"


def test_a_handler_knows_its_sender_and_may_answer_more_than_once() -> None:
    async def test(loop: Loop) -> None:
        async with SocketCluster(listen(client, UDP), loop) as system:
            await system.join(1)
            with socket.socket(type=socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.connect(("127.0.0.1", system.router.port))
                sender.send(b"who am I?")
                for answer in (repr(sender.getsockname()).encode(), b"and that is all"):
                    await anyio.wait_readable(sender)
                    assert sender.recv(100) == answer

    run("asyncio", test)


def test_what_a_handler_raises_ends_its_own_datagram_only() -> None:
    async def test(loop: Loop) -> None:
        async with SocketCluster(listen(echo, UDP), loop) as system:
            await system.join(1)
            with socket.socket(type=socket.SOCK_DGRAM) as sender:
                sender.sendto(b"", ("127.0.0.1", system.router.port))
            await eventually(lambda: system.reported(HandlerFailed))
            (failed,) = system.reported(HandlerFailed)
            assert isinstance(failed, HandlerFailed)
            assert (failed.connection, str(failed.error)) == (1, "an empty datagram")
            assert await asked(system.router.port, b"go on") == [b"go on"]

    run("asyncio", test)


def test_handlers_are_bounded_and_what_waits_is_read_when_there_is_room() -> None:
    async def test(loop: Loop) -> None:
        handled.clear()
        async with SocketCluster(listen(hold, UDP, max_pending=3), loop) as system:
            (node,) = await system.join(1)
            with socket.socket(type=socket.SOCK_DGRAM) as sender:
                sender.connect(("127.0.0.1", system.router.port))
                for number in range(9):
                    sender.send(b"%d" % number)
            await eventually(lambda: system.router.snapshot().accepted == 9)
            await eventually(lambda: handled == [b"0", b"1", b"2"])
            assert node.server is not None
            assert node.server.open == 3

    run("asyncio", test)


def test_draining_answers_what_was_passed_on_and_takes_nothing_new() -> None:
    async def test(loop: Loop) -> None:
        async with SocketCluster(listen(later, UDP), loop) as system:
            (node,) = await system.join(1)
            assert node.server is not None
            with socket.socket(type=socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.connect(("127.0.0.1", system.router.port))
                for number in range(5):
                    sender.send(b"%d" % number)
                await eventually(lambda: system.router.snapshot().accepted == 5)
                system.router.stop_listening()
                await node.server.drain(10)
                assert sorted(sender.recv(10) for _ in range(5)) == [b"%d" % n for n in range(5)]
                sender.send(b"too late")
                with pytest.raises(ConnectionRefusedError):
                    await eventually(lambda: sender.send(b"too late") and False)
            assert node.server.open == 0

    run("asyncio", test)


def test_handlers_that_do_not_end_in_time_are_cancelled() -> None:
    async def test(loop: Loop) -> None:
        handled.clear()
        async with SocketCluster(listen(hold, UDP), loop) as system:
            (node,) = await system.join(1)
            with socket.socket(type=socket.SOCK_DGRAM) as sender:
                sender.sendto(b"x", ("127.0.0.1", system.router.port))
            await eventually(lambda: handled)
            assert node.server is not None
            await node.server.drain(0.01)
            assert node.server.open == 0
            assert system.reported(HandlerFailed) == []

    run("asyncio", test)


def test_a_port_in_use_is_one_clear_error_and_can_be_tried_again(rig: Rig) -> None:
    setup = Setup(rig)
    second = new_router(
        listen("app:handle", f"udp://127.0.0.1:{setup.router.port}"),
        rig.loop.as_loop(),
        rig.facts.append,
    )
    with pytest.raises(OSError, match=r"cannot listen on udp://127.0.0.1:.*EADDRINUSE") as caught:
        second.open()
    assert caught.value.errno == errno.EADDRINUSE
    setup.router.close()
    second.open()
    second.close()


def test_a_handler_of_datagrams_must_be_async() -> None:
    async def test(loop: Loop) -> None:
        spec = listen(f"{not_async.__module__}:not_async", UDP)
        async with SocketCluster(spec, loop) as system:
            with pytest.raises(
                HandlerUnfit, match=r"it must be async def handle\(datagram, reply\)"
            ):
                await system.join(1)

    run("asyncio", test)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"policy": RoundRobin()}, "the policy round-robin is for connections, and"),
        ({"policy": ReusePort()}, "the policy reuse-port is for connections, and"),
        ({"max_connections": 3}, "max_connections is for connections, and"),
        ({"proxy_protocol": True}, "proxy_protocol is for connections, and"),
        ({"handler": asgi("pkg:app")}, "asgi() is for connections, and"),
    ],
)
def test_what_is_for_connections_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(BadListener) as caught:
        listen(**{"handler": "app:handle", "address": UDP} | options)  # type: ignore[arg-type]
    assert str(caught.value) == f"{message} {UDP!r} has datagrams"
