"""Strangers at an entrance: whatever they send, or do not send, they come in never and cost little."""

from __future__ import annotations

import json
import os
import random
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import given, strategies as st

from actors._base.run_loop import open_loop
from actors.machines import entrance as entrances
from actors.machines.authority import Authority
from actors.machines.dial import dial
from actors.machines.entrance import Entrance
from actors.machines.hello import HelloReader, pack_hello
from actors.testing import eventually
from actors.transport.testing import mutations
from tests.machines.conftest import Guests, material

UVLOOP = pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop")]
)
"""For what takes long."""
pytestmark = pytest.mark.within(50)


class Door:
    """An entrance, and what it told of strangers."""

    def __init__(self, loop: Any) -> None:
        self.told: list[tuple[int, str, str]] = []
        self.guests = Guests()
        self.entrance = Entrance(
            loop, material("run 1"), turned_away=lambda *news: self.told.append(news)
        )
        self.ticket = self.entrance.expect("node", self.guests.came)

    @property
    def strangers(self) -> int:
        return len(self.entrance._strangers)

    async def refuses(self, count: int = 1) -> None:
        """Wait until so many were turned away, and see that nobody came in."""
        await eventually(lambda: self.entrance.refused >= count)
        assert not self.guests.sessions

    async def lets_in_who_has_a_ticket(self) -> None:
        session = await dial(self.entrance.address, material("run 2"), self.ticket, {}, within=30)
        session.close()
        assert len(self.guests.sessions) == 1


@pytest.fixture
async def door(anyio_backend: Any) -> AsyncIterator[Door]:
    async with open_loop() as loop:
        made = Door(loop)
        yield made
        made.entrance.close()
        made.guests.close()


def connect(door: Door) -> socket.socket:
    sock = socket.create_connection(door.entrance.address)
    sock.settimeout(20)
    return sock


@contextmanager
def shaken(door: Door) -> Iterator[ssl.SSLSocket]:
    """A connection of somebody who has a certificate of this system."""
    run = material("run 2")
    with (
        connect(door) as sock,
        run.context(server=False).wrap_socket(sock, server_hostname=run.server) as secure,
    ):
        yield secure


async def in_thread(work: Callable[[], Any]) -> Any:
    return await anyio.to_thread.run_sync(work)


# ------------------------------------------------------------ before TLS


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\xff\xff" + bytes(70_000),
        b"\x00" * 100_000,
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
        os.urandom(3000),
    ],
    ids=["HTTP", "a record too long", "zeros", "half a client hello", "chance"],
)
async def test_bytes_that_are_no_handshake_are_turned_away(door: Door, said: bytes) -> None:
    with connect(door) as sock:
        try:
            sock.sendall(said)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has turned us away already
        await door.refuses()
    await door.lets_in_who_has_a_ticket()


async def test_damaged_client_hellos_are_turned_away(door: Door) -> None:
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    run = material("run 2")
    client = run.context(server=False).wrap_bio(into, out, server_hostname=run.server)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    count = 0
    for damaged in mutations(out.read(), seed=5, count=60):
        with connect(door) as sock:
            sock.sendall(damaged)
            sock.shutdown(socket.SHUT_WR)
            count += 1
            await door.refuses(count)
    await door.lets_in_who_has_a_ticket()


async def test_silence_and_half_a_handshake_end_in_time(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrances, "_SECONDS", 0.2)
    with connect(door), connect(door) as half:
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
        await door.refuses(2)
        assert await in_thread(lambda: half.recv(100)) == b""
    assert "it took too long" in door.told[0][2]
    await door.lets_in_who_has_a_ticket()


async def test_one_byte_after_another_does_not_stretch_the_time(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entrances, "_SECONDS", 0.3)
    with connect(door) as sock:
        for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(2000):
            try:
                sock.send(bytes([byte]))
            except OSError:
                break
            await anyio.sleep(0.005)
        else:
            pytest.fail("two thousand bytes took their time")
    await door.refuses()


async def test_a_handshake_without_end_is_cut(door: Door) -> None:
    """Records that hold no handshake are free for whoever sends them."""
    with connect(door) as sock:
        record = b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\xf0" + bytes(16_380)
        try:
            for _ in range(1000):
                await in_thread(lambda: sock.sendall(record))
        except OSError:
            pass
        else:
            pytest.fail("it took 16 MB of a handshake")
    await door.refuses()


async def test_who_shows_no_certificate_or_a_foreign_one_does_not_come_in(door: Door) -> None:
    run, other = material("run 1"), Authority.new().issue("run 1")
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.load_verify_locations(cadata=run.ca)
    foreign = other.context(server=False)
    foreign.load_verify_locations(cadata=run.ca)
    hello = pack_hello(door.ticket, {})

    def try_with(context: ssl.SSLContext) -> None:
        with connect(door) as sock, pytest.raises((ssl.SSLError, OSError)):  # noqa: PT012, SIM117 - the failure may come at any step
            with context.wrap_socket(sock, server_hostname=run.server) as secure:
                secure.sendall(hello)
                if secure.recv(10) == b"":
                    raise ConnectionResetError

    for count, context in enumerate((bare, foreign), 1):
        await in_thread(lambda context=context: try_with(context))  # type: ignore[misc]
        await door.refuses(count)
    await door.lets_in_who_has_a_ticket()


async def test_an_older_tls_is_refused(door: Door) -> None:
    context = material("run 2").context(server=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def attempt() -> None:
        with connect(door) as sock, pytest.raises(ssl.SSLError):
            context.wrap_socket(sock, server_hostname=material("run 1").server)

    await in_thread(attempt)
    await door.refuses()


# ------------------------------------------------------------ the hello


def _sized(body: bytes) -> bytes:
    return len(body).to_bytes(4, "little") + body


@pytest.mark.parametrize(
    "said",
    [
        (5000).to_bytes(4, "little"),
        b"\xff\xff\xff\xff" + b"[" * 4000,
        _sized(b"[" * 4000),
        _sized(b"{" + b'"a":[' * 700),
        _sized(b"not json"),
        _sized(b"[]"),
        _sized(b'"text"'),
        _sized(b"{}"),
        _sized(b'{"ticket": 7}'),
        _sized(b'{"ticket": null}'),
        _sized(b'{"ticket": ["a"]}'),
        _sized(b'{"ticket": "\\ud800"}'),
        _sized(b"\xff\xfe\xff"),
        _sized(b""),
        b"\x05\x00",
    ],
)
async def test_a_hello_that_is_none_is_turned_away(door: Door, said: bytes) -> None:
    def say() -> bytes:
        with shaken(door) as secure:
            secure.sendall(said)
            if len(said) < 4:
                return b""
            assert secure.recv(10) == b"\x00no\n"
            return secure.recv(10)

    assert await in_thread(say) == b""
    await door.refuses()
    await door.lets_in_who_has_a_ticket()


async def test_a_replayed_ticket_is_refused_however_often(door: Door) -> None:
    await door.lets_in_who_has_a_ticket()
    for count in range(1, 20):
        with pytest.raises(ConnectionError):
            await dial(door.entrance.address, material("run 2"), door.ticket, {})
        assert door.entrance.refused == count
    assert len(door.guests.sessions) == 1


async def test_what_is_sent_behind_the_hello_stays_unread(door: Door) -> None:
    """It is for whoever the connection is for; the entrance decodes none of it."""
    behind = bytes(100_000)

    def say() -> None:
        with shaken(door) as secure:
            secure.sendall(pack_hello(door.ticket, {}) + behind)
            assert secure.recv(10) == b"\x01in\n"
            secure.recv(1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(in_thread, say)
        await door.guests.wait()
        session = door.guests.sessions[0]
        assert await in_thread(lambda: session.receive_waiting(len(behind), 20)) == behind
        session.close()


HELLO = pack_hello("node.0123", {"pid": 1, "purpose": "node"})


class Pieces:
    """A session that has come in pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [bytearray(piece) for piece in pieces if piece]
        self.taken = 0

    def recv_into(self, buffer: memoryview) -> int:
        if not self._pieces:
            raise BlockingIOError
        piece = self._pieces[0]
        count = min(len(buffer), len(piece))
        buffer[:count] = piece[:count]
        del piece[:count]
        if not piece:
            self._pieces.pop(0)
        self.taken += count
        return count


@given(st.lists(st.integers(0, len(HELLO) + 50), max_size=8), st.integers(0, 2**32))
def test_a_hello_is_read_in_any_pieces_and_no_byte_more(cuts: list[int], seed: int) -> None:
    stream = HELLO + random.Random(seed).randbytes(50)
    at = [0, *sorted(cuts), len(stream)]
    session: Any = Pieces([stream[a:b] for a, b in pairwise(at)])
    assert HelloReader().read(session) == {"ticket": "node.0123", "pid": 1, "purpose": "node"}
    assert session.taken == len(HELLO)


@given(st.binary(max_size=6000) | st.builds(_sized, st.binary(max_size=200)))
def test_any_bytes_are_a_hello_or_an_error_and_never_more_than_4096(said: bytes) -> None:
    session: Any = Pieces([said])
    try:
        hello = HelloReader().read(session)
    except ValueError:
        hello = {}
    assert session.taken <= 4 + 4096
    assert hello is None or type(hello) is dict


def test_damaged_hellos_are_hellos_or_errors() -> None:
    for damaged in mutations(HELLO, seed=11, count=3000):
        session: Any = Pieces([damaged])
        try:
            hello = HelloReader().read(session)
        except ValueError:
            continue
        assert hello is None or json.dumps(hello)


# ------------------------------------------------------------ many


async def test_64_silent_strangers_make_room_for_one_who_has_a_ticket(door: Door) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connect(door))
        await door.lets_in_who_has_a_ticket()
        assert door.strangers <= 64


FLOOD = """
import socket, sys, threading

def flood():
    count = 0
    while count < 1000:
        try:
            with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=1) as sock:
                sock.send(b"\\x16")
            count += 1
        except OSError:
            continue

threads = [threading.Thread(target=flood) for _ in range(10)]
for thread in threads: thread.start()
sys.stdout.write("begun" + chr(10))
sys.stdout.flush()
for thread in threads: thread.join()
"""


@UVLOOP
@pytest.mark.within(170)
@pytest.mark.timeout(180)
async def test_10000_connections_leave_one_who_has_a_ticket_a_way_in(door: Door) -> None:
    """They come from ten threads at once, and each one that is turned away comes again."""
    most = 0
    command = [sys.executable, "-c", FLOOD, str(door.entrance.address[1])]
    async with await anyio.open_process(command) as flood:
        assert flood.stdout is not None
        assert await flood.stdout.receive() == b"begun\n"
        await door.lets_in_who_has_a_ticket()
        while flood.returncode is None:
            most = max(most, door.strangers)
            await anyio.sleep(0.01)
    assert flood.returncode == 0
    assert most <= 64
    await eventually(lambda: door.strangers == 0)


async def test_many_are_told_of_together_and_counted(door: Door) -> None:
    for count in range(1, 31):
        with connect(door) as sock:
            sock.sendall(b"no handshake at all")
            await door.refuses(count)
    assert door.told[0][0] == 1
    assert len(door.told) <= 3
    await eventually(lambda: sum(count for count, *_ in door.told) == 30)
    assert "WRONG_VERSION_NUMBER" in door.told[-1][2]


@UVLOOP
async def test_a_burst_of_those_who_have_tickets_all_come_in(door: Door) -> None:
    tickets = [door.entrance.expect("node", door.guests.came) for _ in range(150)]
    async with anyio.create_task_group() as tasks:
        for ticket in tickets:

            async def come(ticket: str = ticket) -> None:
                session = await dial(
                    door.entrance.address, material("run 2"), ticket, {}, within=30
                )
                session.close()

            tasks.start_soon(come)
    assert len(door.guests.sessions) == 150


async def test_a_stranger_who_goes_is_forgotten_at_once(door: Door) -> None:
    connect(door).close()
    await door.refuses()
    assert door.strangers == 0


async def test_closing_turns_strangers_away_and_frees_the_port(door: Door) -> None:
    with connect(door) as sock:
        await eventually(lambda: door.strangers)
        door.entrance.close()
        door.entrance.close()
        assert await in_thread(lambda: sock.recv(10)) == b""
    with socket.create_server(door.entrance.address):
        pass
