"""A channel delivers all of it in order, once, and ends exactly once with a reason."""

import asyncio
import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from actors.transport import (
    ChannelBroken,
    ChannelClosed,
    FrameError,
    Lane,
    Limits,
    TooBig,
    Unsendable,
    pair,
)
from actors.transport.testing import ManualLoop
from actors.transport.wire.frames import HEADER_SIZE, PIECE
from actors.transport.wire.outbox import Outbox
from tests.transport.recording_channel import RecordingChannel, Two, frame
from tests.transport.sample_values import Box


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


def test_control_overtakes_a_big_message_that_is_being_written(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    loop.unwatch_readable(b.channel._fd)
    a.tell(b"x" * 50_000_000)
    a.tell("behind")
    loop.settle()
    a.tell("control", lane=Lane.CONTROL)
    loop.watch_readable(b.channel._fd, b.channel._read)
    loop.settle()
    assert [message[1][0][:7] for message in b.got] == ["control", b"x" * 7, "behind"]
    assert a.channel.stats().frames_sent == 1 + 1 + -(-50_000_000 // PIECE)


def test_control_overtakes_data_that_waits_for_a_slow_reader(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    loop.unwatch_readable(b.channel._fd)
    for _ in range(100):
        a.tell(b"x" * 60_000)
    loop.settle()
    a.tell("control", lane=Lane.CONTROL)
    loop.settle()
    loop.watch_readable(b.channel._fd, b.channel._read)
    loop.settle()
    place = b.got.index([1, ["control"]])
    assert len(b.got) == 101
    assert 0 < place < 60
    assert a.rooms == 1, "it was congested until the reader came"


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
    loop.watch_readable(b.channel._fd, b.channel._read)
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


def test_a_peer_that_ends_without_having_read_is_gone(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    loop.unwatch_readable(b.channel._fd)
    a.tell("unread")
    a.channel.flush()
    b.channel._sock.close()
    loop.settle()
    (end,) = a.ends
    assert isinstance(end, ChannelBroken)
    assert "the peer is gone: [Errno 104] Connection reset by peer" in str(end)


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
    a, b = two(Limits(message=1000))
    a.tell("before")
    with pytest.raises(TooBig):
        a.tell(b"x" * 1001)
    with pytest.raises(Unsendable, match=r"args\[0\]"):
        a.tell(object())
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


CHILD = """
import os, signal, socket, sys
from actors.transport import Channel, Decoder, Encoder
from actors.transport.testing import ManualLoop
sock = socket.socket(fileno=int(sys.argv[1]))
end = Channel(sock, ManualLoop(), encoder=Encoder(), decoder=Decoder(), receive=print)
for n in range(1000):
    end.send([1, n])
end.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_is_heard_to_its_last_message(loop: ManualLoop) -> None:
    ours, theirs = pair()
    end = RecordingChannel(loop, ours)
    number = theirs.fileno()
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(number)], pass_fds=[number])
    theirs.close()
    child.wait(20)
    loop.settle()
    assert [message[1] for message in end.got] == list(range(1000))
    assert [type(error) for error in end.ends] == [ChannelBroken]


def test_an_end_inside_a_frame_says_so(
    loop: ManualLoop, raw: tuple[socket.socket, RecordingChannel]
) -> None:
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


def test_what_waits_to_be_written_is_counted_until_it_is() -> None:
    outbox = Outbox()
    for body in (b"abc", b"de"):
        outbox.add(Lane.DATA, body, (os.dup(0),))
    assert (outbox.size, outbox.fds) == (2 * HEADER_SIZE + 5, 2)
    assert outbox.written(HEADER_SIZE + 3) == 1
    assert (outbox.size, outbox.fds) == (HEADER_SIZE + 2, 1)
    outbox.clear()
    assert (outbox.size, outbox.fds) == (0, 0)


def test_descriptors_that_are_sent_are_closed_here_at_once_or_when_they_are_written(
    loop: ManualLoop, two: Two
) -> None:
    a, b = two()
    at_once, later = os.dup(0), os.dup(0)
    a.channel.send_fds([1], [at_once])
    loop.unwatch_readable(b.channel._fd)
    a.tell(b"x" * 30_000_000)
    a.channel.flush()
    a.channel.send_fds([2], [later])
    os.fstat(later)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(at_once)
    loop.watch_readable(b.channel._fd, b.channel._read)
    loop.settle()
    assert [message for message, _ in b.fds] == [[1], [2]]
    for _, fds in b.fds:
        os.close(fds.pop())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(later)


def test_what_a_message_weighs_is_told_and_waits_until_it_is_written(
    loop: ManualLoop, two: Two
) -> None:
    a, b = two()
    sizes = [a.tell("x" * 1000), a.tell("y")]
    assert 1000 < sizes[0] < 1050
    assert a.channel.queued_bytes == sum(sizes)
    loop.settle()
    loop.unwatch_readable(b.channel._fd)
    a.tell(b"x" * 30_000_000)
    a.channel.flush()
    before = a.channel.queued_bytes
    assert before > 0
    size = a.tell("z")
    # It has to stay behind the big one, and is therefore a frame already.
    assert a.channel.queued_bytes == before + HEADER_SIZE + size
    with pytest.raises(Unsendable):
        a.channel.send_fds([1, object()], [os.dup(0)])


def test_a_message_with_descriptors_holds_numbers_of_any_size(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    a.channel.send_fds([1, [1 << 100]], [os.dup(0)])
    loop.settle()
    ((message, fds),) = b.fds
    assert message == [1, [1 << 100]]
    os.close(fds.pop())


def test_a_frame_that_is_written_in_parts_counts_once(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    loop.unwatch_readable(b.channel._fd)
    count = 0
    while not a.channel.queued_bytes:
        a.tell(b"%c" % count * 60_000)
        a.channel.flush()
        count += 1
    a.tell("behind")
    loop.watch_readable(b.channel._fd, b.channel._read)
    loop.settle()
    whole = [[1, [b"%c" % number * 60_000]] for number in range(count)]
    assert b.got == [*whole, [1, ["behind"]]]
    assert a.channel.stats().messages_sent == count + 1
    assert a.channel.stats().frames_sent == b.channel.stats().frames_received


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
    "bad", [{"low_water": 0}, {"high_water": 5}, {"message": 0}, {"per_turn": 0}]
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
        a, b = RecordingChannel(AsyncioLoop(), one), RecordingChannel(AsyncioLoop(), other)
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
