"""Descriptors arrive with their message, once, in order; whatever goes wrong, none is leaked."""

import os
import resource
import socket
from pathlib import Path
from typing import Any

import pytest

from actors.transport import FrameError, Lane, Unsendable
from actors.transport.testing import ManualLoop
from tests.scripts import run
from tests.transport.recording_channel import RecordingChannel, Two, frame
from tests.transport.sample_values import open_fds


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


def test_no_descriptor_that_arrives_takes_the_place_of_a_closed_standard_stream(
    loop: ManualLoop, two: Two
) -> None:
    a, b = two()
    before = open_fds()
    pipe = os.pipe()
    standard_input = os.dup(0)
    os.close(0)
    try:
        a.channel.send_fds([1], pipe)
        loop.settle()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(0)
    finally:
        os.dup2(standard_input, 0)
        os.close(standard_input)
    ((_, (reader, writer)),) = b.fds
    assert min(reader, writer) > 2
    assert not os.get_inheritable(reader)
    os.write(writer, b"whole")
    assert os.read(reader, 9) == b"whole"
    assert open_fds() == before + 2


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


def test_a_lent_descriptor_stays_open_here_and_arrives(loop: ManualLoop, two: Two) -> None:
    a, b = two()
    reader, writer = os.pipe()
    a.channel.send_fds([1], [writer], keep_open=True)
    os.write(writer, b"ours")
    os.close(writer)
    loop.settle()
    ((_, (theirs,)),) = b.fds
    os.write(theirs, b" and theirs")
    assert os.read(reader, 99) == b"ours and theirs"
    os.close(reader)


def test_a_lent_descriptor_that_has_to_wait_may_be_closed_meanwhile(
    loop: ManualLoop, two: Two
) -> None:
    a, b = two()
    reader, writer = os.pipe()
    before = open_fds()
    a.tell(b"x" * (8 << 20), lane=Lane.CONTROL)
    a.channel.send_fds([1], [writer], keep_open=True)
    os.close(writer)
    loop.settle()
    ((_, (theirs,)),) = b.fds
    os.write(theirs, b"late")
    assert os.read(reader, 99) == b"late"
    assert open_fds() == before
    os.close(reader)


def test_a_lent_descriptor_is_not_closed_by_a_message_that_cannot_be_sent(two: Two) -> None:
    a, b = two()
    reader, writer = os.pipe()
    with pytest.raises(Unsendable):
        a.channel.send_fds([1, object()], [writer], keep_open=True)
    b.channel.close()
    a.channel.send_fds([1], [writer], keep_open=True)
    for fd in (reader, writer):
        os.close(fd)


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
    loop: ManualLoop, raw: tuple[socket.socket, RecordingChannel]
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
        (frame(b"\x91\x01"), 40, "the kernel dropped descriptors"),
        (b"hello world", 0, "expected magic 0xac"),
        (frame(b"\xc1"), 0, "bytes that are not messages"),
        (frame(b"\xc1", 2), 1, "bytes that are not messages"),
    ],
)
def test_a_peer_that_breaks_the_protocol_ends_the_link_and_leaks_nothing(
    loop: ManualLoop,
    raw: tuple[socket.socket, RecordingChannel],
    data: bytes,
    fds: int,
    message: str,
) -> None:
    ours, end = raw
    ours.send(frame(b"\x92\x01\x05"))
    socket.send_fds(ours, [data], [0] * fds)
    loop.settle()
    (error,) = end.ends
    assert isinstance(error, FrameError)
    assert message in str(error)
    assert [1, 5] in end.got


@pytest.mark.parametrize("free", [0, 1])
def test_a_message_whose_descriptors_found_no_room_comes_without_any_and_the_others_come_whole(
    loop: ManualLoop, two: Two, free: int
) -> None:
    a, b = two()
    before = open_fds()
    ends = os.pipe()
    a.tell("before")
    a.channel.send_fds([2], [*ends], Lane.DATA)
    a.tell("behind")
    a.channel.flush()
    room = [os.dup(0) for _ in range(2)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(room) + 1, hard))
    try:
        for fd in room[:free]:
            os.close(fd)
        loop.settle()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert b.fds == [([2], [])]
    assert [args for _, args in b.got] == [["before"], ["behind"]]
    for fd in room[free:]:
        os.close(fd)
    assert open_fds() == before
    a.channel.send_fds([3], [os.dup(0)])
    loop.settle()
    message, fds = b.fds[1]
    assert (message, len(fds), b.ends) == ([3], 1, [])


UNDER_WAY = """
    import os, resource
    from actors.transport import pair
    from actors.transport.testing import ManualLoop
    from tests.transport.recording_channel import RecordingChannel

    if os.getuid() == 0:  # root may have any number of descriptors under way
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    loop = ManualLoop()
    a, b = (RecordingChannel(loop, end) for end in pair())
    loop.unwatch_readable(b.channel._fd)  # it does not read now
    sent = 0
    while not a.channel.queued_bytes:
        a.channel.send_fds([1, sent], [os.open("/dev/null", os.O_RDONLY)])
        sent += 1
    a.tell("behind", lane=1)
    for _ in range(100):
        loop.turn()
    print("queued", a.channel.queued_bytes > 0, "ended", a.ends, "writable", bool(loop.watched[1]))
    loop.watch_readable(b.channel._fd, b.channel._read)
    for _ in range(10):
        loop.settle()
        loop.let_time_pass()
    print([message for message, _ in b.fds] == [[1, n] for n in range(sent)], len(b.got), sent > 64)
"""


def test_a_link_with_too_many_descriptors_under_way_waits_until_some_were_taken(
    tmp_path: Path,
) -> None:
    code, out, err = run(tmp_path / "under_way.py", UNDER_WAY)
    assert (code, err) == (0, "")
    assert out == "queued True ended [] writable False\nTrue 1 True\n"


def test_without_room_for_duplicates_none_is_left_open(loop: ManualLoop, two: Two) -> None:
    a, _ = two()
    fill(a)
    before, pipe = open_fds(), os.pipe()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(pipe) + 2, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            a.channel.send_fds([1], [*pipe, *pipe], keep_open=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_fds() == before + 2
    for fd in pipe:
        os.close(fd)


def fill(a: RecordingChannel) -> None:
    """Have its outbox hold what the socket does not take."""
    while not a.channel.queued_bytes:
        a.tell(b"x" * 200_000)
        a.channel.flush()
