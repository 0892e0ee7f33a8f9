"""Peeking: nothing is consumed, nobody waits for the slow, and waiting costs no CPU."""

import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from actors.routing import (
    NEED_MORE,
    Key,
    NeedMore,
    Peeked,
    PolicyFailed,
    Sticky,
    cookie,
    ip,
    key,
    listen,
    query,
)
from actors.routing.policy.rendezvous import owner
from actors.routing.sticky.http_head import HEAD_LIMIT
from tests.routing.conftest import Rig
from tests.routing.serving_nodes import FakeNode, reset

HEAD = b"GET /ws?room=lobby HTTP/1.1\r\nHost: x\r\nCookie: sid=abc\r\n\r\n"


def handed(rig: Rig, count: int) -> None:
    rig.loop.until(lambda: sum(len(p.got) for p in rig.nodes) >= count, f"{count} handed over")


def peeking(rig: Rig, count: int) -> None:
    rig.loop.until(lambda: rig.routers[0].snapshot().peeking == count, f"{count} peeking")


def only(node: FakeNode) -> socket.socket:
    (number,) = node.got
    return node.socks[number]


def test_a_head_in_three_segments_is_routed_once_whole_and_nothing_is_consumed(rig: Rig) -> None:
    router = rig.router(Sticky(cookie("sid")))
    (node,) = rig.join(router)
    client = rig.connect(router)[0]
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in (HEAD[:10], HEAD[10:40]):
        client.sendall(piece)
        rig.loop.until(lambda: router.snapshot().peeking == 1)
        rig.loop.settle()
        assert node.got == []
    client.sendall(HEAD[40:] + b"body \x00\xff")
    handed(rig, 1)
    sock = only(node)
    sock.settimeout(5)
    assert sock.recv(4096, socket.MSG_WAITALL | socket.MSG_DONTWAIT) == HEAD + b"body \x00\xff"
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1


def test_each_byte_of_a_slow_head_wakes_the_router_once_and_silence_never(rig: Rig) -> None:
    router = rig.router(Sticky(cookie("sid")))
    (node,) = rig.join(router)
    client = rig.connect(router)[0]
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peeking(rig, 1)
    for byte in HEAD[:30]:
        before = rig.loop.wakeups
        client.sendall(bytes([byte]))
        rig.loop.poll(10)
        for _ in range(20):
            rig.loop.poll()
        assert rig.loop.wakeups == before + 1
    assert node.got == []


def test_a_client_that_sends_byte_by_byte_is_looked_at_ever_more_rarely(rig: Rig) -> None:
    router = rig.router(Sticky(cookie("sid")))
    (node,) = rig.join(router)
    client = rig.connect(router)[0]
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peeking(rig, 1)
    head = HEAD[:-4] + b"; more=" + b"x" * 300 + b"\r\n\r\n"
    for at in range(300):
        client.sendall(head[at : at + 1])
        rig.loop.poll(10 if at < 32 else 0)
        rig.loop.advance(1.5 / 300)
    looks = rig.loop.wakeups
    assert 32 <= looks <= 45
    assert node.got == []
    client.sendall(head[300:])
    rig.loop.advance(0.25)  # the longest back-off
    handed(rig, 1)
    assert only(node).recv(4096) == head


def test_500_slow_clients_delay_nobody_and_burn_nothing(rig: Rig) -> None:
    router = rig.router(Sticky(cookie("sid")))
    rig.join(router)
    slow = rig.connect(router, 250)
    for client in slow:
        client.sendall(HEAD[:20])
    slow += rig.connect(router, 250)
    peeking(rig, 500)
    rig.loop.settle()
    wakeups = rig.loop.wakeups
    for _ in range(100):
        rig.loop.poll()
    assert rig.loop.wakeups == wakeups
    honest = rig.connect(router)[0]
    honest.sendall(HEAD)
    handed(rig, 1)
    assert rig.loop.wakeups - wakeups <= 3
    assert router.snapshot().peeking == 500


def test_past_the_deadline_a_client_goes_on_without_a_key(rig: Rig) -> None:
    router = rig.router(Sticky(cookie("sid")))
    nodes = rig.join(router, 2)
    slow = rig.connect(router, 4)
    for client in slow:
        client.sendall(HEAD[:20])
    peeking(rig, 4)
    rig.loop.advance(1.9)
    assert router.snapshot().peeking == 4
    rig.loop.advance(0.2)
    assert router.snapshot().peeking == 0
    assert [len(node.got) for node in nodes] == [2, 2]  # balanced, not sticky
    assert nodes[0].socks[nodes[0].got[0]].recv(100) == HEAD[:20]


def test_past_the_deadline_a_chain_takes_its_next_source(rig: Rig) -> None:
    router = rig.router(Sticky(cookie("sid") | ip()))
    nodes = rig.join(router, 3)
    rig.connect(router, 6)
    peeking(rig, 6)
    rig.loop.advance(2.1)
    assert sorted(len(node.got) for node in nodes) == [0, 0, 6]


def test_past_the_deadline_a_key_is_taken_from_what_has_come(rig: Rig) -> None:
    def first_word(head: bytes, _client: object) -> bytes | NeedMore:
        return head.split()[0] if b"end" in head or rig.loop.now() > began + 1.9 else NEED_MORE

    began = rig.loop.now()
    router = rig.router(Sticky(key(first_word)))
    nodes = rig.join(router, 3)
    for client in rig.connect(router, 6):
        client.sendall(b"lobby and more")
    peeking(rig, 6)
    rig.loop.settle()
    rig.loop.advance(2.1)
    assert sorted(len(node.got) for node in nodes) == [0, 0, 6]


def test_who_waits_is_bounded_and_the_oldest_gives_way(rig: Rig) -> None:
    router = rig.router(Sticky(cookie("sid")), max_peeking=3)
    (node,) = rig.join(router)
    clients = rig.connect(router, 5)
    handed(rig, 2)
    peeking(rig, 3)
    assert node.clients == [c.getsockname() for c in clients[:2]]


def test_a_head_longer_than_16_kib_is_handed_over_with_what_is_known(rig: Rig) -> None:
    router = rig.router(Sticky(cookie("sid")))
    (node,) = rig.join(router)
    client = rig.connect(router)[0]
    client.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * (HEAD_LIMIT + 100))
    handed(rig, 1)
    assert len(only(node).recv(HEAD_LIMIT * 2)) >= HEAD_LIMIT


@pytest.mark.parametrize("first", [b"", HEAD[:20]])
def test_a_client_that_ends_early_does_not_spin(rig: Rig, first: bytes) -> None:
    router = rig.router(Sticky(cookie("sid")))
    (node,) = rig.join(router)
    client = rig.connect(router)[0]
    client.sendall(first)
    peeking(rig, 1)
    rig.loop.settle()
    before = rig.loop.wakeups
    client.shutdown(socket.SHUT_WR)
    handed(rig, 1)
    assert rig.loop.wakeups - before <= 2
    assert only(node).recv(100) == first


def test_a_client_that_resets_is_forgotten(rig: Rig) -> None:
    router = rig.router(Sticky(cookie("sid")))
    (node,) = rig.join(router)
    reset(rig.connect(router)[0])
    rig.loop.until(lambda: router.snapshot().accepted == 1)
    client = rig.connect(router)[0]
    peeking(rig, 1)
    reset(client)
    peeking(rig, 0)
    rig.loop.settle()
    assert rig.loop.timers == 0
    assert len(node.got) <= 1


def test_what_is_no_http_goes_on_at_once(rig: Rig) -> None:
    router = rig.router(Sticky(cookie("sid")))
    (node,) = rig.join(router)
    rig.connect(router)[0].sendall(b"\x16\x03\x01\x02\x00")
    handed(rig, 1)
    assert only(node).recv(100) == b"\x16\x03\x01\x02\x00"


def test_closing_the_router_ends_all_waiting(rig: Rig) -> None:
    router = rig.router(Sticky(cookie("sid")))
    rig.join(router)
    client = rig.connect(router)[0]
    peeking(rig, 1)
    router.close()
    assert client.recv(1) == b""
    assert (rig.loop.watched, rig.loop.timers) == (0, 0)


@pytest.fixture
def unix_client(rig: Rig, tmp_path: Path) -> Iterator[socket.socket]:
    router = rig.router(
        spec=listen("a:b", f"unix:{tmp_path}/s", policy=Sticky(query("room") | ip()))
    )
    rig.join(router)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{tmp_path}/s")
        yield client


def test_a_slow_head_on_a_unix_socket_is_looked_at_now_and_then(
    rig: Rig, unix_client: socket.socket
) -> None:
    unix_client.sendall(HEAD[:10])
    peeking(rig, 1)
    for _ in range(20):
        rig.loop.poll()
    assert rig.loop.wakeups <= 3
    unix_client.sendall(HEAD[10:])
    rig.loop.advance(0.02)
    handed(rig, 1)
    assert only(rig.nodes[0]).recv(4096) == HEAD


def test_a_unix_client_that_is_slow_for_too_long_goes_on(
    rig: Rig, unix_client: socket.socket
) -> None:
    unix_client.sendall(HEAD[:10])
    peeking(rig, 1)
    rig.loop.poll()
    rig.loop.advance(2.1)
    assert len(rig.nodes[0].got) == 1
    assert (rig.loop.watched, rig.loop.timers) == (1, 0)


def test_behind_a_proxy_the_key_is_in_what_follows_its_header(rig: Rig) -> None:
    seen: list[tuple[bytes, object]] = []

    def note(data: bytes, peer: object) -> bytes | NeedMore | None:
        seen.append((data, peer))
        return b"known" if data else NEED_MORE

    spec = listen("a:b", "127.0.0.1:0", policy=Sticky(key(note)), proxy_protocol=True)
    router = rig.router(spec=spec)
    (node,) = rig.join(router)
    client = rig.connect(router)[0]
    whole = b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n" + HEAD
    for piece in (whole[:20], whole[20:43], whole[43:]):
        client.sendall(piece)
        peeking(rig, 1)
        rig.loop.settle()
    handed(rig, 1)
    assert seen == [(b"", ("203.0.113.7", 56324)), (HEAD, ("203.0.113.7", 56324))]
    assert only(node).recv(4096) == whole  # the node removes the PROXY header


def test_behind_a_proxy_a_client_is_known_by_its_own_address(rig: Rig) -> None:
    spec = listen("a:b", "127.0.0.1:0", policy=Sticky(ip()), proxy_protocol=True)
    router = rig.router(spec=spec)
    nodes = rig.join(router, 4)
    hosts = [b"203.0.113.%d" % number for number in range(20)]
    for host, client in zip(hosts, rig.connect(router, 20), strict=True):
        client.sendall(b"PROXY TCP4 %s 10.0.0.1 1 443\r\n" % host)
    handed(rig, 20)
    owned = Counter(owner(host, range(4)) for host in hosts)
    assert len(owned) == 4
    assert {node.slot: len(node.got) for node in nodes} == owned


def test_a_client_without_the_expected_proxy_header_is_for_the_node_to_refuse(rig: Rig) -> None:
    spec = listen("a:b", "127.0.0.1:0", policy=Sticky(ip()), proxy_protocol=True)
    router = rig.router(spec=spec)
    nodes = rig.join(router, 2)
    for client in rig.connect(router, 4):
        client.sendall(HEAD)
    handed(rig, 4)
    assert [len(node.got) for node in nodes] == [2, 2]


@dataclass(frozen=True)
class Buggy(Key):
    """A user's key with a bug."""

    def extract(self, peeked: Peeked) -> bytes | None:
        raise ZeroDivisionError(len(peeked.head))


def test_a_key_that_raises_is_told_once_and_connections_are_shared_out(rig: Rig) -> None:
    router = rig.router(Sticky(Buggy()))
    nodes = rig.join(router, 2)
    rig.connect(router, 4)
    handed(rig, 4)
    assert [len(node.got) for node in nodes] == [2, 2]
    (fact,) = rig.reported(PolicyFailed)
    assert isinstance(fact, PolicyFailed)
    assert isinstance(fact.error, ZeroDivisionError)
