"""A channel delivers all of it in order, once, and ends exactly once with a reason."""

import asyncio
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.transport.kinds import Box, open_fds
from transport import (
    Channel,
    ChannelBroken,
    ChannelClosed,
    Decoder,
    Encoder,
    FrameError,
    Lane,
    Limits,
    TooBig,
    TransportError,
    Unsendable,
    encode_header,
    pair,
)
from transport.testing import ManualLoop


class End:
    """A channel and what came out of it."""

    def __init__(self, loop: Any, sock: socket.socket, limits: Limits | None = None) -> None:
        self.got: list[Any] = []
        self.batches: list[tuple[int, Lane]] = []
        self.fds: list[tuple[Any, list[int]]] = []
        self.ends: list[TransportError | None] = []
        self.rooms = 0
        size = limits.frame if limits else 64 << 20
        self.channel = Channel(
            sock,
            loop,
            encoder=Encoder(limit=size),
            decoder=Decoder(limit=size),
            receive=self.receive,
            receive_fds=lambda message, fds: self.fds.append((message, fds)),
            closed=self.ends.append,
            on_room=self.room,
            limits=limits,
        )

    def receive(self, messages: list[Any], lane: Lane) -> None:
        assert not self.ends
        self.batches.append((len(messages), lane))
        self.got += messages

    def room(self) -> None:
        self.rooms += 1

    def tell(self, *values: Any, lane: Lane = Lane.DATA) -> int:
        args, _ = self.channel.encoder.encode_args(values, {})
        return self.channel.send([1, args], lane)


@pytest.fixture
def loop() -> ManualLoop:
    return ManualLoop()


Two = Callable[..., tuple[End, End]]


@pytest.fixture
def two(loop: ManualLoop) -> Iterator[Two]:
    ends: list[End] = []

    def make(limits: Limits | None = None) -> tuple[End, End]:
        a, b = pair()
        ends[:] = End(loop, a, limits), End(loop, b, limits)
        return ends[0], ends[1]

    yield make
    for end in ends:
        end.channel.close()
        for _, fds in end.fds:
            for fd in fds:
                os.close(fd)
    assert loop.watched == (frozenset(), frozenset())


@pytest.fixture
def raw(loop: ManualLoop) -> Iterator[tuple[socket.socket, End]]:
    ours, theirs = pair()
    end = End(loop, theirs)
    with ours:
        yield ours, end
        end.channel.close()


def frame(body: bytes, fds: int = 0, lane: Lane = Lane.DATA) -> bytes:
    return encode_header(lane, fds, len(body)) + body


def test_messages_of_one_turn_arrive_as_one_batch_in_order(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    for n in range(100):
        a.tell(n)
    loop.settle()
    assert b.got == [[1, [n]] for n in range(100)]
    assert b.batches == [(100, Lane.DATA)]
    assert a.channel.stats().frames_sent == b.channel.stats().frames_received == 1


def test_control_overtakes_data_of_the_same_turn(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    a.tell("data")
    a.tell("control", lane=Lane.CONTROL)
    loop.settle()
    assert b.got == [[1, ["control"]], [1, ["data"]]]


def test_control_overtakes_data_that_waits_for_a_slow_reader(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    loop.unwatch_readable(b.channel._fd)
    for _ in range(100):
        a.tell(b"x" * 60_000)
    loop.settle()
    a.tell("control", lane=Lane.CONTROL)
    loop.settle()
    loop.watch_readable(b.channel._fd, b.channel._on_readable)
    loop.settle()
    place = b.got.index([1, ["control"]])
    assert len(b.got) == 101
    assert 0 < place < 60
    assert a.rooms == 0, "nobody asked whether it was congested"


def test_a_class_is_known_before_the_message_that_needs_it(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    a.tell(Box([1]))
    loop.settle()
    assert b.got == [[1, [Box([1])]]]
    assert b.batches == [(1, Lane.DATA)]


def test_a_batch_over_64_kib_is_written_before_the_turn_ends(two: Two) -> None:
    a, _ = two()
    for _ in range(7):
        a.tell(b"x" * 10_000)
    assert a.channel.stats().bytes_sent > 60_000
    assert a.channel.queued_bytes == 0 or a.channel.queued_bytes < 20_000


def test_messages_bigger_than_every_buffer_arrive_whole_and_in_order(
    loop: ManualLoop, two: Two
) -> None:
    a, b = two()
    bodies = [bytes([n]) * (8 << 20 if n < 2 else 65_521) for n in range(8)]
    for body in bodies:
        a.tell(body)
    loop.run_until(lambda: len(b.got) == len(bodies))
    assert [message[1][0] for message in b.got] == bodies


def test_a_peer_that_does_not_read_congests_and_makes_room_once(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    loop.unwatch_readable(b.channel._fd)
    sent = 0
    while not a.channel.congested:
        a.tell(b"x" * 50_000)
        sent += 1
        assert sent < 1000
    loop.settle()
    assert a.channel.queued_bytes >= 1024 * 1024
    assert a.rooms == 0
    loop.watch_readable(b.channel._fd, b.channel._on_readable)
    loop.settle()
    assert (len(b.got), a.rooms) == (sent, 1)
    assert (a.channel.queued_bytes, a.channel.congested) == (0, False)


def test_everything_received_is_delivered_before_the_end(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    for n in range(1000):
        a.tell(n, b"x" * 500)
    a.channel.close()
    loop.settle()
    assert len(b.got) == 1000
    assert [str(end) for end in b.ends] == ["the peer closed the channel"]
    assert isinstance(b.ends[0], ChannelBroken)
    assert a.ends == [None]


def test_a_peer_gone_while_we_write_is_read_to_its_end_first(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    b.tell("last words")
    b.channel.close()
    a.tell("too late")
    a.channel.flush()
    assert a.got == []
    with pytest.raises(ChannelBroken, match="the peer of this channel is gone"):
        a.tell("more")
    loop.settle()
    assert a.got == [[1, ["last words"]]]
    assert len(a.ends) == 1
    assert isinstance(a.ends[0], ChannelBroken)


def test_closing_twice_ends_once_and_refuses_what_follows(loop: ManualLoop, two: Two) -> None:
    a, _ = two()
    a.channel.close()
    a.channel.close()
    loop.settle()
    assert a.ends == [None]
    with pytest.raises(ChannelClosed, match="closed here"):
        a.tell(1)
    with pytest.raises(ChannelClosed):
        a.channel.send_fds([1], [os.dup(0)])


def test_closing_inside_a_delivery_stops_it(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    b.channel._receive = lambda _messages, _lane: b.channel.close()
    for _ in range(5):
        a.tell(1)
        a.channel.flush()
    loop.settle()
    assert b.ends == [None]
    assert b.channel.stats().frames_received == 1


def test_a_message_refused_leaves_the_channel_usable(loop: ManualLoop, two: Two) -> None:
    a, b = two(Limits(frame=1000))
    a.tell("before")
    with pytest.raises(TooBig):
        a.tell(b"x" * 1001)
    with pytest.raises(Unsendable, match=r"args\[0\]"):
        a.tell(print)
    a.tell("after")
    loop.settle()
    assert b.got == [[1, ["before"]], [1, ["after"]]]


def test_a_receiver_that_fails_ends_the_channel_with_its_error(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    b.channel._receive = lambda messages, _lane: messages[0][9]
    a.tell(1)
    loop.settle()
    (end,) = b.ends
    assert isinstance(end, FrameError)
    assert isinstance(end.__cause__, IndexError)
    assert str(end) == "the receiver failed on a message: IndexError: list index out of range"


def test_descriptors_arrive_with_their_message_and_in_order(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    before = open_fds()
    pipes = [os.pipe() for _ in range(5)]
    a.tell("first", lane=Lane.CONTROL)
    for n, ends in enumerate(pipes):
        a.channel.send_fds([2, n], ends)
        a.tell("between", lane=Lane.CONTROL)
    loop.settle()
    assert [message for message, _ in b.fds] == [[2, n] for n in range(5)]
    assert [len(fds) for _, fds in b.fds] == [2] * 5
    assert len(b.got) == 6
    assert open_fds() == before + 10
    for n, (_, (reader, writer)) in enumerate(b.fds):
        os.write(writer, b"%d" % n)
        assert os.read(reader, 9) == b"%d" % n
        assert not os.get_inheritable(reader)


def test_descriptors_sent_on_the_data_lane_keep_their_place(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    order: list[Any] = []
    b.channel._receive = lambda messages, _: order.extend(message[1][0] for message in messages)

    def take(message: list[Any], fds: list[int]) -> None:
        order.append(message[1])
        os.close(fds[0])

    b.channel._receive_fds = take
    a.tell(1)
    a.channel.send_fds([1, 2], [os.dup(0)], Lane.DATA)
    a.tell(3)
    a.channel.send_fds([1, 4], [os.dup(0)], Lane.DATA)
    loop.settle()
    assert order == [1, 2, 3, 4]


def test_descriptors_of_a_message_that_cannot_be_sent_are_closed(two: Two) -> None:
    a, _ = two()
    before = open_fds()
    with pytest.raises(Unsendable):
        a.channel.send_fds([1, object()], [os.dup(0)])
    with pytest.raises(FrameError, match="1 to 16 descriptors, got 17"):
        a.channel.send_fds([1], [os.dup(0) for _ in range(17)])
    assert open_fds() == before


def test_descriptors_nobody_took_are_closed_at_the_end(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    loop.unwatch_readable(b.channel._fd)
    a.tell(b"x" * (8 << 20), lane=Lane.CONTROL)
    before = open_fds()
    a.channel.send_fds([1], [os.dup(0)])
    loop.settle()
    assert open_fds() == before + 1
    a.channel.close()
    b.channel.close()
    assert open_fds() == before - 2


def test_descriptors_merged_with_earlier_bytes_find_their_frame(
    loop: ManualLoop, raw: tuple[socket.socket, End]
) -> None:
    ours, end = raw
    ours.send(frame(b"\x92\x01\x01") + frame(b"\x92\x02\x02", 1)[:5])
    loop.settle()
    socket.send_fds(ours, [frame(b"\x92\x02\x02", 1)[5:]], [0])
    loop.settle()
    assert end.got == [[1, 1]]
    assert [message for message, _ in end.fds] == [[2, 2]]
    os.close(end.fds[0][1][0])


@pytest.mark.parametrize(
    "data, fds, message",
    [
        (frame(b"\x91\x01", 2), 1, "claims 2 descriptors, 1 came"),
        (frame(b"\x91\x01", 1), 0, "claims 1 descriptors, 0 came"),
        (frame(b"\x91\x01"), 1, "1 descriptors came that no frame claims"),
        (frame(b"\x91\x01\x91\x01", 1), 1, "exactly one message"),
        (frame(b"\x91\x01"), 40, "descriptors were lost on the way"),
        (b"hello world", 0, "expected magic 0xac"),
        (frame(b"\xc1"), 0, "bytes that are not messages"),
    ],
)
def test_a_peer_that_breaks_the_protocol_ends_the_link_and_leaks_nothing(
    loop: ManualLoop, raw: tuple[socket.socket, End], data: bytes, fds: int, message: str
) -> None:
    ours, end = raw
    ours.send(frame(b"\x92\x01\x05"))
    socket.send_fds(ours, [data], [0] * fds)
    loop.settle()
    (error,) = end.ends
    assert isinstance(error, FrameError)
    assert message in str(error)
    assert [1, 5] in end.got


def test_descriptors_the_kernel_dropped_for_want_of_room_end_the_link(
    loop: ManualLoop, two: Two
) -> None:
    a, b = two()
    pipes = [os.pipe() for _ in range(2)]
    for ends in pipes:
        a.channel.send_fds([1], [*ends])
    a.channel.flush()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(highest, *sum(pipes, ())) + 1, hard))
    try:
        loop.settle()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "descriptors were lost on the way" in str(b.ends[0])


CHILD = """
import os, signal, socket, sys
from transport import Channel, Decoder, Encoder
from transport.testing import ManualLoop
sock = socket.socket(fileno=int(sys.argv[1]))
end = Channel(sock, ManualLoop(), encoder=Encoder(), decoder=Decoder(), receive=print)
for n in range(1000):
    end.send([1, n])
end.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_is_heard_to_its_last_message(loop: ManualLoop) -> None:
    ours, theirs = pair()
    end = End(loop, ours)
    number = theirs.fileno()
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(number)], pass_fds=[number])
    theirs.close()
    child.wait(20)
    loop.settle()
    assert [message[1] for message in end.got] == list(range(1000))
    assert [type(error) for error in end.ends] == [ChannelBroken]


def test_an_end_inside_a_frame_says_so(loop: ManualLoop, raw: tuple[socket.socket, End]) -> None:
    ours, end = raw
    ours.send(frame(b"\x91\x01") + frame(b"\x91\x01")[:9])
    ours.close()
    loop.settle()
    assert end.got == [[1]]
    assert str(end.ends[0]) == "the peer closed inside a frame, 9 bytes into it"


def test_one_turn_reads_a_bounded_amount(loop: ManualLoop, two: Two) -> None:
    a, b = two(Limits(per_turn=10_000))
    for _ in range(60):
        a.tell(b"x" * 60_000)
    a.channel.flush()
    loop.turn()
    assert 0 < b.channel.stats().bytes_received < 600_000
    loop.settle()
    assert len(b.got) == 60


def test_stats_count_both_ways(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    a.tell(1)
    a.channel.send_fds([1], [os.dup(0)])
    b.tell("back")
    loop.settle()
    sent, got = a.channel.stats(), b.channel.stats()
    assert (sent.messages_sent, got.messages_received) == (2, 2)
    assert (sent.bytes_sent, sent.frames_sent) == (got.bytes_received, got.frames_received)
    assert (sent.fds_sent, got.fds_received, sent.messages_received) == (1, 1, 1)


@pytest.mark.parametrize(
    "bad", [{"low_water": 0}, {"high_water": 5}, {"frame": 0}, {"per_turn": 0}]
)
def test_limits_are_checked_at_the_door(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="got"):
        Limits(**bad)


class AsyncioLoop:
    """The channel's five functions over asyncio."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.call_soon: Any = loop.call_soon
        self.watch_readable: Any = loop.add_reader
        self.unwatch_readable: Any = loop.remove_reader
        self.watch_writable: Any = loop.add_writer
        self.unwatch_writable: Any = loop.remove_writer


@pytest.mark.parametrize("run", ["asyncio", "uvloop"])
def test_ten_thousand_messages_cross_a_real_loop(run: str) -> None:
    async def main() -> None:
        one, other = pair()
        a, b = End(AsyncioLoop(), one), End(AsyncioLoop(), other)
        done = asyncio.Event()
        b.channel._on_closed = lambda _error: done.set()
        for n in range(10_000):
            a.tell(n, "x" * 100)
            if n % 500 == 0:
                await asyncio.sleep(0)
        a.channel.close()
        async with asyncio.timeout(10):
            await done.wait()
        assert [message[1][0] for message in b.got] == list(range(10_000))

    if run == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        uvloop.run(main())
    else:
        asyncio.run(main())
