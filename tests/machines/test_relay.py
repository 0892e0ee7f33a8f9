"""A connection that goes through two agents ends as it would if the node had its socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from actors.machines.relay import Relay
from actors.routing import passed_pair
from actors.transport.testing import ManualLoop
from tests.transport.tls_pair import tcp_pair, tls_pair

pytestmark = pytest.mark.usefixtures("no_leaks")
_PATIENCE = 0.05
_MUCH = b"x" * 20_000_000


class Way:
    """A client, the relays of the machine where it came and of the one that serves it, and its node."""

    def __init__(self) -> None:
        self.loop = ManualLoop(_PATIENCE)
        self.client, came = tcp_pair()
        ours, self.node = passed_pair()
        came.setblocking(False)
        self.client.setblocking(False)
        self.sessions = tls_pair(lease=1.0)
        self.ended: list[Relay] = []
        here, there = self.sessions
        self.relays = [
            Relay(self.loop, came, here, b"", "there", self.ended.append),
            Relay(self.loop, ours, there, b"", "here", self.ended.append),
        ]

    @property
    def over(self) -> bool:
        return len(self.ended) == len(self.relays)

    def settle(self, *, seconds: int = 0) -> None:
        self.loop.settle()
        for _ in range(seconds):
            self.loop.let_time_pass()
            self.loop.settle()

    def close(self) -> None:
        for end in (self.client, self.node):
            end.close()
        for relay in self.relays:
            relay.close()
        assert self.over
        assert len(self.ended) == len(set(self.ended)), "each is told once"
        assert self.loop.watched == (frozenset(), frozenset())
        assert not self.loop.later


@pytest.fixture
def way() -> Iterator[Way]:
    made = Way()
    yield made
    made.close()


def _read_all(way: Way, end: socket.socket) -> bytes:
    """Read to the end of a connection."""
    found = bytearray()
    while True:
        try:
            part = end.recv(1_000_000)
        except BlockingIOError:
            assert way.loop.turn(), "nothing more comes, and no end"
            continue
        if not part:
            return bytes(found)
        found += part


def _write_and_close(way: Way, end: socket.socket, data: bytes) -> None:
    """Have the loop turn between what is written and what somebody else reads."""
    rest = memoryview(data)

    def write() -> None:
        nonlocal rest
        rest = rest[end.send(rest) :]
        if not rest:
            way.loop.unwatch_writable(end.fileno())
            end.close()

    way.loop.watch_writable(end.fileno(), write)


def test_when_the_node_closes_it_is_over_for_a_client_that_never_closes(way: Way) -> None:
    way.client.send(b"hello")
    way.settle()
    assert way.node.recv(100) == b"hello"
    way.node.send(b"bye")
    way.node.close()
    way.settle()
    assert way.over
    assert _read_all(way, way.client) == b"bye"
    way.client.send(b"more")
    with pytest.raises(ConnectionError):
        way.client.send(b"and more")


def test_a_node_that_stops_writing_reads_on_and_its_close_is_seen_a_second_later(way: Way) -> None:
    way.node.shutdown(socket.SHUT_WR)
    way.settle(seconds=3)
    assert _read_all(way, way.client) == b""
    way.client.send(b"hello")
    way.settle()
    assert way.node.recv(100) == b"hello"
    assert not way.ended
    way.node.close()
    way.settle(seconds=1)
    assert way.over


def test_a_client_that_stops_writing_is_answered(way: Way) -> None:
    way.client.shutdown(socket.SHUT_WR)
    way.settle(seconds=3)
    assert _read_all(way, way.node) == b""
    _write_and_close(way, way.node, _MUCH)
    assert _read_all(way, way.client) == _MUCH
    way.settle(seconds=1)
    assert way.over


def test_what_a_node_wrote_arrives_though_it_left_unread_what_the_client_sends(way: Way) -> None:
    way.client.send(b"hello")
    way.settle()
    way.node.send(b"no")
    way.node.close()
    way.client.send(b"much more")
    assert _read_all(way, way.client) == b"no"
    way.settle(seconds=1)
    assert way.over


def test_a_client_that_is_reset_ends_the_connection_of_its_node(way: Way) -> None:
    way.client.shutdown(socket.SHUT_WR)
    way.settle()
    assert _read_all(way, way.node) == b""
    way.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    way.client.close()
    way.settle(seconds=1)
    assert way.over
    with pytest.raises(BrokenPipeError):
        way.node.send(b"anybody?")


def test_a_client_may_read_nothing_for_longer_than_a_lease(way: Way) -> None:
    """The kernel would end a connection whose peer leaves something unread for so long."""
    for session in way.sessions:
        with socket.socket(fileno=os.dup(session.fileno())) as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0


def test_a_node_that_closes_over_what_nobody_takes_is_not_waited_for_for_ever(way: Way) -> None:
    """The kernel ends the rest, as it does where the node has the socket."""
    way.node.setblocking(False)
    while True:
        try:
            way.node.send(_MUCH)
        except BlockingIOError:
            if not way.loop.turn():
                break
    way.node.close()
    way.settle(seconds=4)
    assert way.ended == [way.relays[1]]


def test_closing_a_relay_ends_both_connections(way: Way) -> None:
    way.relays[0].close()
    way.settle()
    assert way.over
    assert _read_all(way, way.client) == b""
    assert _read_all(way, way.node) == b""
