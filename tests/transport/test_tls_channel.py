"""A channel over TLS carries all that one over a socket pair does, in the same order, but descriptors."""

import os
import random
import socket
from collections.abc import Callable, Iterator
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
from actors.transport.channels.tls_channel import TlsChannel
from actors.transport.channels.tls_session import TlsSession
from actors.transport.testing import ManualLoop
from actors.transport.wire.frames import PIECE, RING_LANE
from tests.transport.recording_channel import RecordingChannel, frame
from tests.transport.tls_pair import tls_pair

PATIENCE = 0.05
Ends = tuple[RecordingChannel, RecordingChannel]
MakeEnds = Callable[..., Ends]


@pytest.fixture
def loop() -> ManualLoop:
    return ManualLoop(PATIENCE)


@pytest.fixture(params=["TLS", "plain TCP"])
def ends(request: pytest.FixtureRequest, loop: ManualLoop) -> Iterator[MakeEnds]:
    made: list[RecordingChannel] = []

    def make(limits: Limits | None = None, lease: float = 10.0) -> Ends:
        sessions = tls_pair(plain=request.param != "TLS", lease=lease)
        a, b = (RecordingChannel(loop, session, limits) for session in sessions)
        made.extend((a, b))
        return a, b

    yield make
    for end in made:
        end.channel.close()
    loop.settle()
    assert loop.watched == (frozenset(), frozenset())
    assert not loop.later


def test_messages_of_one_turn_arrive_as_one_batch_in_order(
    loop: ManualLoop, ends: MakeEnds
) -> None:
    a, b = ends()
    for n in range(100):
        a.tell(n)
    loop.settle()
    assert b.got == [[1, [n]] for n in range(100)]
    assert b.batches == [(100, Lane.DATA)]


def test_control_overtakes_a_big_message_by_all_but_what_is_on_its_way(
    loop: ManualLoop, ends: MakeEnds
) -> None:
    a, b = ends()
    loop.unwatch_readable(b.channel._fd)
    a.tell(b"x" * 50_000_000)
    a.tell("behind")
    loop.settle()
    a.tell("control", lane=Lane.CONTROL)
    loop.watch_readable(b.channel._fd, b.channel._read)
    loop.settle()
    assert [message[1][0][:7] for message in b.got] == ["control", b"x" * 7, "behind"]
    assert a.channel.stats().frames_sent == 1 + 1 + -(-50_000_000 // PIECE)


def test_the_first_answer_is_written_at_once(loop: ManualLoop, ends: MakeEnds) -> None:
    a, b = ends()
    a.tell("ask")
    loop.run_until(lambda: b.got)
    b.tell("answer")
    a.channel._read()
    assert a.got == [[1, ["answer"]]]


def test_whatever_is_sent_arrives_as_over_a_socket_pair(ends: MakeEnds) -> None:
    chance = random.Random(20)
    for _ in range(20):
        script = _script(chance)
        local_loop = ManualLoop()
        local = [RecordingChannel(local_loop, end) for end in pair()]
        expected = _play(script, local_loop, local)
        for end in local:
            end.channel.close()
        loop = ManualLoop(PATIENCE)
        sessions = tls_pair()
        far = [RecordingChannel(loop, session) for session in sessions]
        assert _play(script, loop, far) == expected
        for end in far:
            end.channel.close()
        loop.settle()


def _script(chance: random.Random) -> list[tuple[int, str, int, int]]:
    """What two ends do: which one, what (a turn of the loop, or a message in a lane), its key and size."""
    steps = []
    for _ in range(chance.randrange(1, 60)):
        what = chance.choice(["turn", "data", "data", "control"])
        size = chance.choice([0, 10, 1000, 70_000, 300_000, 1_500_000])
        steps.append((chance.randrange(2), what, chance.randrange(3), size))
    return steps


def _play(
    script: list[tuple[int, str, int, int]], loop: ManualLoop, ends: list[RecordingChannel]
) -> list[dict[Any, list[int]]]:
    """Returns what each end got: by lane and key, the numbers of the messages in order."""
    for number, (who, what, key, size) in enumerate(script):
        if what == "turn":
            loop.turn()
            continue
        lane = Lane.CONTROL if what == "control" else Lane.DATA
        ends[who].channel.send([7, key, number, int(lane), b"y" * size], lane)
    loop.settle()
    found = []
    for end in ends:
        got: dict[Any, list[int]] = {}
        for _, key, number, lane, data in end.got:
            assert data == b"y" * len(data)
            got.setdefault((lane, key if lane else None), []).append((number, len(data)))  # type: ignore[arg-type]
        found.append(got)
    return found


# ------------------------------------------------------------ descriptors


def test_descriptors_are_refused_and_closed(loop: ManualLoop, ends: MakeEnds) -> None:
    a, _ = ends()
    reading, writing = os.pipe()
    os.close(writing)
    with pytest.raises(Unsendable, match="cannot leave this machine"):
        a.channel.send_fds([1, []], [reading])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reading)


@pytest.mark.parametrize("lane, fds", [(RING_LANE, 0), (Lane.DATA, 1)])
def test_a_frame_that_leads_to_descriptors_or_rings_ends_the_channel(
    loop: ManualLoop, lane: int, fds: int
) -> None:
    session, theirs = tls_pair()
    end = RecordingChannel(loop, session)
    theirs.send(frame(b"\x01", fds, lane))  # type: ignore[arg-type]
    loop.settle()
    theirs.close()
    assert isinstance(end.ends[0], FrameError)


def test_rings_are_never_offered(loop: ManualLoop, ends: MakeEnds) -> None:
    a, b = ends()
    for _ in range(2000):
        a.tell(1)
        b.tell(2)
        loop.turn()
    loop.settle()
    assert a.channel.stats().ring_frames_sent == 0
    assert len(b.got) == len(a.got) == 2000


# ------------------------------------------------------------ what has arrived


def test_control_is_told_of_when_the_other_machine_has_it(loop: ManualLoop, ends: MakeEnds) -> None:
    a, b = ends()
    told: list[str] = []
    a.tell("control", lane=Lane.CONTROL)
    a.channel.when_written(lambda: told.append("arrived"))
    assert not told
    _let_time_pass_until(loop, lambda: told)
    assert told == ["arrived"]
    loop.settle()
    assert b.got == [[1, ["control"]]]


def test_control_that_waits_in_our_socket_has_not_arrived(loop: ManualLoop, ends: MakeEnds) -> None:
    a, b = ends()
    loop.unwatch_readable(b.channel._fd)
    session: Any = a.channel._sock
    before = -1
    while session.acknowledged == session.written or session.acknowledged > before:
        before = session.acknowledged  # until the other one's buffers are full
        a.tell(b"z" * 10_000)
        loop.settle()
    told: list[str] = []
    a.tell("control", lane=Lane.CONTROL)
    a.channel.when_written(lambda: told.append("arrived"))
    for _ in range(5):
        loop.settle()
        loop.let_time_pass()
    assert not told
    loop.watch_readable(b.channel._fd, b.channel._read)
    _let_time_pass_until(loop, lambda: told)
    assert b.got[-1][1] == ["control"]


def test_whoever_waits_for_arrival_is_told_of_the_end_as_well(
    loop: ManualLoop, ends: MakeEnds
) -> None:
    a, b = ends()
    told: list[str] = []
    a.tell("control", lane=Lane.CONTROL)
    a.channel.when_written(lambda: told.append("ended"))
    b.channel.close()
    a.channel.close()
    assert told == ["ended"]


def _let_time_pass_until(loop: ManualLoop, done: Callable[[], object]) -> None:
    for _ in range(1000):
        if done():
            return
        loop.let_time_pass()
        loop.turn()
    raise AssertionError("it never was")


# ------------------------------------------------------------ the end


def _gone(end: RecordingChannel) -> bool:
    assert isinstance(end.channel, TlsChannel)
    return end.channel.gone


def test_all_that_was_sent_arrives_though_the_channel_was_closed_at_once(
    loop: ManualLoop, ends: MakeEnds
) -> None:
    a, b = ends()
    b.tell("unread, so that a close would be a reset")
    a.tell("one")
    a.tell(b"z" * 8_000_000)
    a.tell("control", lane=Lane.CONTROL)
    a.channel.close()
    assert a.ends == [None]
    loop.settle()
    assert [message[1][0][:7] for message in b.got] == ["one", "control", b"z" * 7]
    assert str(b.ends[0]) == "the peer closed the channel"
    assert _gone(a)


def test_a_peer_that_takes_nothing_is_given_up_after_a_lease(
    loop: ManualLoop, ends: MakeEnds
) -> None:
    a, b = ends()
    loop.unwatch_readable(b.channel._fd)
    a.tell(b"z" * 30_000_000)
    loop.settle()
    a.channel.close()
    loop.settle()
    assert not _gone(a)
    for _ in range(2):  # in the first lease it took something
        loop.let_time_pass()
        loop.turn()
    assert _gone(a)
    loop.watch_readable(b.channel._fd, b.channel._read)
    loop.settle()
    assert isinstance(b.ends[0], ChannelBroken)


def test_a_peer_that_reads_nothing_is_waited_for_while_its_machine_answers(
    loop: ManualLoop, ends: MakeEnds
) -> None:
    """TCP_USER_TIMEOUT would end the connection after a lease, as if the network had parted it."""
    a, b = ends(lease=1.0)
    loop.unwatch_readable(b.channel._fd)
    a.tell(b"z" * 30_000_000)
    loop.settle()
    with socket.socket(fileno=os.dup(a.channel._fd)) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
    for _ in range(10):
        loop.let_time_pass()
        loop.turn()
    assert not a.ends
    loop.watch_readable(b.channel._fd, b.channel._read)
    loop.settle()
    assert [len(message[1][0]) for message in b.got] == [30_000_000]


def test_a_machine_that_answers_nothing_for_a_lease_is_gone(
    loop: ManualLoop, ends: MakeEnds, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = ends()
    silence = 9.9
    monkeypatch.setattr(TlsSession, "silent_for", property(lambda _: silence))
    loop.let_time_pass()
    loop.settle()
    assert not a.ends
    silence = 10.0
    loop.let_time_pass()
    loop.settle()
    assert str(a.ends[0]) == "the peer is gone: [Errno 110] Connection timed out"


def test_a_peer_that_ends_inside_a_frame_is_told_apart_from_one_that_closes(
    loop: ManualLoop,
) -> None:
    session, theirs = tls_pair()
    end = RecordingChannel(loop, session)
    theirs.send(frame(b"\x93\x01\x02\x03")[:-1])
    theirs.shut()
    loop.settle()
    theirs.close()
    assert "inside a frame" in str(end.ends[0])


def test_bytes_that_are_no_tls_end_the_channel_behind_what_came_before(loop: ManualLoop) -> None:
    session, theirs = tls_pair()
    end = RecordingChannel(loop, session)
    theirs.send(frame(b"\x92\x01\x90"))
    theirs._sock.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    loop.settle()
    theirs.close()
    assert end.got == [[1, []]]
    assert isinstance(end.ends[0], ChannelBroken)


def test_what_came_with_the_last_bytes_of_the_handshake_is_read(loop: ManualLoop) -> None:
    session, theirs = tls_pair()
    theirs.send(frame(b"\x92\x01\x90") * 2)
    first = memoryview(bytearray(11))
    assert session.recv_into(first) == 11
    end = RecordingChannel(loop, session)
    loop.settle()
    assert end.got == [[1, []]]
    end.channel.close()
    theirs.close()
    loop.settle()


def test_sending_over_an_ended_channel_raises(loop: ManualLoop, ends: MakeEnds) -> None:
    a, b = ends()
    b.channel.close()
    loop.settle()
    with pytest.raises(ChannelBroken):
        a.tell(1)
    with pytest.raises(ChannelClosed):
        b.tell(1)


def test_a_message_over_the_limit_is_refused_and_the_next_one_arrives(
    loop: ManualLoop, ends: MakeEnds
) -> None:
    a, b = ends(Limits(message=1_000_000))
    with pytest.raises(TooBig):
        a.tell(b"x" * 1_100_000)
    a.tell("small")
    loop.settle()
    assert b.got == [[1, ["small"]]]
