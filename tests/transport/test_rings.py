"""A channel with rings: what goes through them and what over the socket, in one order, to the same ends."""

from __future__ import annotations

import mmap
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from actors._extensions import not_loaded
from actors.transport import ChannelBroken, FrameError, Lane
from actors.transport.channels import ring_extension, spin
from actors.transport.channels.ring_extension import RING
from actors.transport.channels.rings import IDLE_AFTER
from actors.transport.channels.spin import Spin
from actors.transport.memory import memfd
from actors.transport.testing import ManualLoop
from actors.transport.wire.outbox import close_all
from tests.transport.recording_channel import RecordingChannel, Two

pytestmark = pytest.mark.skipif(RING is None, reason=not_loaded())


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTORS_RING_AT", "10")


class Cpus:
    """Whether this process has a second CPU."""

    def __init__(self) -> None:
        self.second = True

    def __call__(self) -> bool:
        return self.second


@pytest.fixture
def cpus() -> Cpus:
    return Cpus()


@pytest.fixture
def allowed(loop: ManualLoop, two: Two, cpus: Cpus) -> tuple[RecordingChannel, RecordingChannel]:
    a, b = two()
    for end in (a, b):
        end.channel.rings.allow(cpus)
    return a, b


def talk(loop: ManualLoop, a: RecordingChannel, b: RecordingChannel, asks: int) -> None:
    for n in range(asks):
        a.tell(n)
        loop.settle()
        b.tell(n)
        loop.settle()


class AlwaysPays(Spin):
    """What the machine does besides is no part of these tests."""

    @property
    def pays(self) -> bool:
        return True


@pytest.fixture
def ringed(
    loop: ManualLoop, allowed: tuple[RecordingChannel, RecordingChannel]
) -> tuple[RecordingChannel, RecordingChannel]:
    """Two ends that go on over their rings, and whose peers look into them."""
    a, b = allowed
    talk(loop, a, b, 6)
    for end in (a, b):
        reader = end.channel.rings.inbound
        assert reader is not None
        reader.spin = AlwaysPays(lambda: 0)
        reader.woken()
    talk(loop, a, b, 20)
    for end in (a, b):
        assert end.channel.rings.outbound is not None
        assert end.channel.rings.outbound.current
        end.got.clear()
        end.batches.clear()
    return a, b


def through_ring(end: RecordingChannel) -> int:
    return end.channel.stats().ring_frames_sent


def over_socket(end: RecordingChannel) -> int:
    stats = end.channel.stats()
    return stats.frames_sent - stats.ring_frames_sent


def order_of(end: RecordingChannel) -> list[Any]:
    """The first value of every message that it gets from now on, with descriptors or without."""
    order: list[Any] = []

    def take_fds(message: list[Any], fds: list[int]) -> None:
        order.append(message[1])
        close_all(fds)

    end.channel._receive = lambda messages, _lane: order.extend(m[1][0] for m in messages)
    end.channel._receive_fds = take_fds
    return order


def look_on(loop: ManualLoop, *ends: RecordingChannel) -> None:
    """Have the readers look by themselves, without an end."""
    for end in ends:
        reader = end.channel.rings.inbound
        assert reader is not None
        reader._reader.watch(3600 * 10**9)
        reader._reader.wake()
        if not reader._looking:
            reader._look_again()


def test_a_ring_is_made_at_the_tenth_message_and_not_before(
    loop: ManualLoop, allowed: tuple[RecordingChannel, RecordingChannel]
) -> None:
    a, b = allowed
    talk(loop, a, b, 4)
    a.tell("ninth")
    loop.settle()
    assert (a.channel.rings.outbound, b.channel.rings.outbound) == (None, None)
    b.tell("tenth")
    loop.settle()
    assert a.channel.rings.outbound is not None
    assert b.channel.rings.outbound is not None
    assert a.channel.rings.inbound is not None
    assert b.channel.rings.inbound is not None


def test_what_is_sent_while_the_peer_looks_goes_through_the_ring(
    loop: ManualLoop,
    ringed: tuple[RecordingChannel, RecordingChannel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = ringed
    for length in ("WINDOW", "TRIAL"):
        monkeypatch.setattr(spin, length, 3600 * 10**9)
    look_on(loop, a, b)
    before = over_socket(a), over_socket(b)
    for n in range(50):
        a.tell("ask", n)
        a.tell("control", n, lane=Lane.CONTROL)
        loop.run_until(lambda: len(b.got) == 2 * len(a.got) + 2)
        b.tell("reply", n)
        loop.run_until(lambda: len(b.got) == 2 * len(a.got))
    assert (over_socket(a), over_socket(b)) == before
    assert sorted(b.got) == sorted([1, [kind, n]] for n in range(50) for kind in ("ask", "control"))
    assert a.got == [[1, ["reply", n]] for n in range(50)]


def test_control_overtakes_data_of_the_same_turn_in_the_ring(
    loop: ManualLoop, ringed: tuple[RecordingChannel, RecordingChannel]
) -> None:
    a, b = ringed
    look_on(loop, b)
    a.tell("written at once, as an answer is")
    b.got.clear()
    before = over_socket(a)
    a.tell("data")
    a.tell("control", lane=Lane.CONTROL)
    loop.settle()
    assert b.got[-2:] == [[1, ["control"]], [1, ["data"]]]
    assert over_socket(a) == before


def test_a_peer_that_sleeps_is_woken_by_the_socket_and_goes_on_with_the_ring(
    loop: ManualLoop, ringed: tuple[RecordingChannel, RecordingChannel]
) -> None:
    a, b = ringed
    for n in range(30):
        loop.settle()  # the window passes
        a.tell(n)
        a.channel.flush()
        a.tell(n, "again")
        a.channel.flush()
        loop.settle()
    assert b.got == [[1, rest] for n in range(30) for rest in ([n], [n, "again"])]


def test_a_reader_that_fell_asleep_while_a_record_was_written_is_woken(
    loop: ManualLoop, ringed: tuple[RecordingChannel, RecordingChannel]
) -> None:
    a, b = ringed
    ring = a.channel.rings.outbound
    assert ring is not None
    look_on(loop, b)
    ring._writer = FallsAsleep(ring._writer, b)
    a.tell("found on waking")
    a.channel.flush()
    loop._ready.clear()  # it does not look
    loop.settle()
    assert b.got == [[1, ["found on waking"]]]


class FallsAsleep:
    """A writer whose reader says that it sleeps just before the record is there."""

    def __init__(self, writer: Any, reader: RecordingChannel) -> None:
        self._writer = writer
        self._reader = reader.channel.rings.inbound

    def put(self, lane: int, body: bytes, number: int) -> int:
        assert self._writer.put(lane, body, number) == RING.WRITTEN
        assert self._reader is not None
        self._reader._looking = False
        return int(RING.BELL)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


def test_nothing_is_lost_or_overtaken_between_ring_and_socket(
    loop: ManualLoop, ringed: tuple[RecordingChannel, RecordingChannel]
) -> None:
    a, b = ringed
    chance = random.Random(5)
    order = order_of(b)
    for n in range(2000):
        size = chance.choice([0, 0, 0, 100, 3000, 40_000, 70_000])
        if chance.random() < 0.1:
            a.channel.send_fds([1, n], [os.dup(0)], Lane.DATA)
        else:
            a.tell(n, b"x" * size)
        if chance.random() < 0.3:
            a.channel.flush()
        if chance.random() < 0.2:
            look_on(loop, b)
            loop.turn()
    loop.run_until(lambda: len(order) == 2000)
    assert order == list(range(2000))
    assert a.ends == b.ends == []
    assert 100 < through_ring(a) < a.channel.stats().frames_sent - 100


def test_a_message_with_descriptors_comes_between_those_of_the_ring(
    loop: ManualLoop, ringed: tuple[RecordingChannel, RecordingChannel]
) -> None:
    a, b = ringed
    order = order_of(b)
    look_on(loop, b)
    a.tell("first")
    a.channel.flush()
    a.channel.send_fds([1, "with one"], [os.dup(0)], Lane.DATA)
    a.tell("second")
    a.channel.flush()
    a.channel.send_fds([1, "with another"], [os.dup(0)], Lane.DATA)
    a.tell("third")
    loop.settle()
    assert order == ["first", "with one", "second", "with another", "third"]


def test_a_full_ring_goes_on_over_the_socket_and_comes_back(
    loop: ManualLoop, ringed: tuple[RecordingChannel, RecordingChannel]
) -> None:
    a, b = ringed
    look_on(loop, b)
    ring, socket_before = through_ring(a), over_socket(a)
    for n in range(20):
        a.tell(n, b"x" * 30_000)
        a.channel.flush()
    assert through_ring(a) - ring == 4
    assert over_socket(a) - socket_before == 16
    loop.run_until(lambda: len(b.got) == 20)
    assert [message[1][0] for message in b.got] == list(range(20))
    ring = through_ring(a)
    look_on(loop, b)
    for n in range(40):
        a.tell(n)
        loop.turn()
    assert through_ring(a) > ring


def test_a_peer_that_does_not_read_congests_as_without_a_ring(
    loop: ManualLoop, ringed: tuple[RecordingChannel, RecordingChannel]
) -> None:
    a, b = ringed
    assert b.channel.rings.inbound is not None
    b.channel.rings.inbound._looking = True  # it never looks
    loop.unwatch_readable(b.channel._fd)
    sent = 0
    while not a.channel.congested:
        a.tell(sent, b"x" * 50_000)
        a.channel.flush()
        sent += 1
        assert sent < 1000
    a.tell("control", lane=Lane.CONTROL)
    b.channel.rings.inbound._looking = False
    loop.watch_readable(b.channel._fd, b.channel._read)
    loop.run_until(lambda: len(b.got) == sent + 1)
    assert a.rooms == 1
    data = [message[1][0] for message in b.got if message != [1, ["control"]]]
    assert data == list(range(sent))
    assert b.got.index([1, ["control"]]) < sent, "control overtakes what is not written yet"


def test_what_was_written_to_the_ring_is_read_before_the_end_counts(
    loop: ManualLoop, ringed: tuple[RecordingChannel, RecordingChannel]
) -> None:
    a, b = ringed
    look_on(loop, b)
    loop._ready.clear()  # it would look before it reads the end
    for n in range(100):
        a.tell(n)
        a.channel.flush()
    assert through_ring(a) >= 100
    a.channel.close()
    assert b.got == []
    loop.settle()
    assert [message[1][0] for message in b.got] == list(range(100))
    assert [str(end) for end in b.ends] == ["the peer closed the channel"]
    assert isinstance(b.ends[0], ChannelBroken)
    assert (a.ends, a.channel.rings.outbound, b.channel.rings.inbound) == ([None], None, None)


def test_the_end_of_a_peer_that_has_read_nothing_comes_after_what_it_wrote(
    loop: ManualLoop, ringed: tuple[RecordingChannel, RecordingChannel]
) -> None:
    a, b = ringed
    look_on(loop, a, b)
    a.tell("unread")
    a.channel.flush()
    a.channel.send_fds([1, 1], [os.dup(0)])  # unread in the socket: its end resets the connection
    loop._ready.clear()  # `a` would look before it reads the end
    b.tell("last words")
    b.channel.flush()
    b.channel.close()
    loop.settle()
    assert a.got == [[1, ["last words"]]]
    assert len(a.ends) == 1
    assert isinstance(a.ends[0], ChannelBroken)


def test_a_mark_without_its_frame_is_no_more_than_the_end(
    loop: ManualLoop, ringed: tuple[RecordingChannel, RecordingChannel]
) -> None:
    a, b = ringed
    look_on(loop, b)
    a.tell("before")
    a.channel.flush()
    ring = a.channel.rings.outbound
    assert ring is not None
    ring.leave()  # killed between the mark and the frame
    a.channel._sock.close()
    a.channel._ended = True
    loop.unwatch_readable(a.channel._fd)
    loop.settle()
    assert b.got == [[1, ["before"]]]
    assert [str(end) for end in b.ends] == ["the peer closed the channel"]


def test_a_ring_without_traffic_is_given_back_and_another_one_is_made(
    loop: ManualLoop, ringed: tuple[RecordingChannel, RecordingChannel]
) -> None:
    a, b = ringed
    assert {call.seconds for call in loop.later} == {IDLE_AFTER}
    talk(loop, a, b, 60)
    loop.let_time_pass()
    loop.settle()
    assert a.channel.rings.outbound is not None, "there was traffic"
    talk(loop, a, b, 4)  # as much as heartbeats are
    loop.let_time_pass()
    loop.settle()
    for end in (a, b):
        assert (end.channel.rings.outbound, end.channel.rings.inbound) == (None, None)
    assert not loop.later, "nothing runs any more"
    talk(loop, a, b, 12)
    for end in (a, b):
        assert end.channel.rings.outbound is not None
        assert end.channel.rings.inbound is not None
    assert len(a.got) == len(b.got) == 76


def test_a_ring_is_given_back_when_there_is_no_second_cpu_any_more(
    loop: ManualLoop, ringed: tuple[RecordingChannel, RecordingChannel], cpus: Cpus
) -> None:
    a, b = ringed
    talk(loop, a, b, 60)
    cpus.second = False
    loop.let_time_pass()
    loop.settle()
    talk(loop, a, b, 60)
    for end in (a, b):
        assert (end.channel.rings.outbound, end.channel.rings.inbound) == (None, None)


def test_without_a_second_cpu_there_is_no_ring(
    loop: ManualLoop, allowed: tuple[RecordingChannel, RecordingChannel], cpus: Cpus
) -> None:
    cpus.second = False
    a, b = allowed
    talk(loop, a, b, 60)
    assert (a.channel.rings.outbound, b.channel.rings.outbound) == (None, None)


def test_a_peer_that_may_have_no_ring_refuses_it_once(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    a.channel.rings.allow(Cpus())
    talk(loop, a, b, 60)
    assert (a.channel.rings.outbound, b.channel.rings.inbound) == (None, None)
    assert (a.ends, b.ends) == ([], [])
    assert a.channel.stats().fds_sent == 1


def test_without_the_extension_there_is_no_ring(
    loop: ManualLoop,
    allowed: tuple[RecordingChannel, RecordingChannel],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.transport.channels.rings.RING", None)
    a, b = allowed
    for end in allowed:
        end.channel.rings.counting = False
        end.channel.rings.allow(Cpus())
    talk(loop, a, b, 60)
    assert (a.channel.rings.outbound, b.channel.rings.outbound) == (None, None)


def test_the_number_of_messages_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTORS_RING_AT", "soon")
    with pytest.raises(ValueError, match="ACTORS_RING_AT must be 0 or more messages, got 'soon'"):
        ring_extension.messages_before_ring()
    monkeypatch.delenv("ACTORS_RING_AT")
    assert ring_extension.messages_before_ring() == 1000


def test_zero_messages_are_never(
    loop: ManualLoop, two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTORS_RING_AT", "0")
    a, b = two()
    for end in (a, b):
        end.channel.rings.allow(Cpus())
    talk(loop, a, b, 60)
    assert a.channel.rings.outbound is None


def test_a_receiver_that_fails_on_a_record_ends_the_channel(
    loop: ManualLoop, ringed: tuple[RecordingChannel, RecordingChannel]
) -> None:
    a, b = ringed

    def fail(_messages: list[Any], _lane: Lane) -> None:
        raise KeyError("no such actor")

    b.channel._receive = fail
    look_on(loop, b)
    a.tell("x")
    loop.settle()
    assert [str(end) for end in b.ends] == [
        "the receiver failed on a message: KeyError: 'no such actor'"
    ]


@pytest.fixture
def memories(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[mmap.mmap]]:
    """The memory of every ring that is made in the test."""
    made: list[mmap.mmap] = []
    create = memfd.create

    def create_and_map(size: int) -> int:
        fd = create(size)
        made.append(memfd.map_whole(fd, size))
        return fd

    monkeypatch.setattr(memfd, "create", create_and_map)
    yield made
    for memory in made:
        memory.close()


@pytest.mark.parametrize("seed", range(60))
def test_random_bytes_in_a_ring_in_use_are_one_error_or_none(
    loop: ManualLoop,
    memories: list[mmap.mmap],
    ringed: tuple[RecordingChannel, RecordingChannel],
    seed: int,
) -> None:
    a, b = ringed
    chance = random.Random(seed)
    for n in range(20):
        memory = chance.choice(memories)
        look_on(loop, *(end for end in ringed if end.channel.rings.inbound is not None))
        if not a.channel._ended:
            a.tell(n, "x" * 500)
            a.channel.flush()
        at = chance.choice([0, 64, 128, chance.randrange(192, 20_000)])
        memory[at : at + 4] = chance.randbytes(4) if chance.random() < 0.8 else bytes(4)
        loop.turn()
        if not b.channel._ended:
            b.tell(n)
        loop.turn()
    loop.settle()
    assert len(a.ends) <= 1
    assert len(b.ends) <= 1
    for end in (*a.ends, *b.ends):
        assert isinstance(end, (FrameError, ChannelBroken))
