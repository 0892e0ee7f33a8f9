"""Big messages let others pass, except those that go to the same receiver; nothing is lost or mixed up."""

import os
import random
from typing import Any

import pytest

from actors.transport import Lane, Limits, NoRoom
from actors.transport.testing import ManualLoop
from actors.transport.wire.frames import BULK_LANES, PIECE
from actors.transport.wire.outbox import Outbox
from tests.transport.recording_channel import RecordingChannel, Two
from tests.transport.sample_values import open_fds

BIG = 5_000_000
TELL = 7
"""A kind of message that may be refused."""


def send(end: RecordingChannel, receiver: int, *values: Any) -> None:
    end.channel.send([TELL, receiver, *values])


def stalled(loop: ManualLoop, two: Two) -> tuple[RecordingChannel, RecordingChannel]:
    """Two ends; the second does not read yet."""
    a, b = two()
    loop.unwatch_readable(b.channel._fd)
    return a, b


def read(loop: ManualLoop, end: RecordingChannel) -> None:
    loop.watch_readable(end.channel._fd, end.channel._read)
    loop.settle()


def short(got: list[Any]) -> list[tuple[int, Any]]:
    return [(receiver, len(v) if type(v) is bytes else v) for _, receiver, v in got]


def test_messages_to_others_pass_a_big_one_and_those_to_its_receiver_do_not(
    loop: ManualLoop, two: Two
) -> None:
    a, b = stalled(loop, two)
    send(a, 1, "before")
    send(a, 1, b"x" * BIG)
    send(a, 1, "behind")
    send(a, 2, "passes")
    loop.settle()
    send(a, 3, "passes, too")
    read(loop, b)
    assert short(b.got) == [
        (1, "before"),
        (2, "passes"),
        (3, "passes, too"),
        (1, BIG),
        (1, "behind"),
    ]
    send(a, 1, "later")
    loop.settle()
    assert b.batches[-1] == (1, Lane.DATA), "nothing big is on its way any more"


def test_a_small_one_among_the_big_ones_does_not_wait_for_the_biggest(
    loop: ManualLoop, two: Two
) -> None:
    a, b = stalled(loop, two)
    send(a, 1, b"x" * 4 * BIG)
    loop.settle()
    send(a, 2, b"y" * (PIECE + 1))
    send(a, 3, b"z" * BIG)
    read(loop, b)
    assert [receiver for receiver, _ in short(b.got)] == [2, 3, 1]


def test_a_big_message_does_not_pass_what_was_sent_before(loop: ManualLoop, two: Two) -> None:
    a, b = stalled(loop, two)
    for number in range(60):
        send(a, number, b"-" * 60_000)
    send(a, 59, b"x" * BIG)
    read(loop, b)
    assert [receiver for receiver, _ in short(b.got)] == [*range(60), 59]


def test_big_messages_go_on_however_much_passes_them() -> None:
    ended: list[int] = []
    outbox = Outbox(ended.append)
    outbox.add(2, bytes(3 * PIECE))
    rounds = 0
    while not ended and rounds < 12:
        rounds += 1
        for _ in range(8):
            outbox.add(Lane.DATA, bytes(PIECE))
        outbox.written(sum(map(len, outbox.gather().buffers)))
    assert ended == [2]
    assert outbox.bulk == 0
    assert outbox.size > 0


def test_senders_of_big_messages_are_refused_while_too_many_wait_and_others_are_not(
    loop: ManualLoop, two: Two
) -> None:
    a, b = stalled(loop, two)
    a.channel._batches.bulk._refusable = frozenset({TELL})
    for receiver in range(len(BULK_LANES)):
        send(a, receiver, bytes(BIG))
    loop.settle()
    with pytest.raises(NoRoom):
        send(a, 99, bytes(BIG))
    send(a, 0, "small, behind a big one")
    for _ in range(5):
        send(a, 0, bytes(256 * 1024 - 100))
    with pytest.raises(NoRoom):
        send(a, 0, "small, behind too many others")
    a.channel.send([TELL + 1, 98, bytes(BIG)])  # this kind is never refused
    send(a, 97, "small")
    assert not a.channel.congested
    assert a.rooms == 0
    read(loop, b)
    assert a.rooms > 0
    send(a, 99, bytes(BIG))
    loop.settle()
    receivers = sorted(receiver for _, receiver, _ in b.got)
    assert receivers == [*[0] * 6, *range(len(BULK_LANES)), 97, 98, 99]


def test_what_is_held_goes_behind_the_big_messages_that_were_sent_before(
    loop: ManualLoop, two: Two
) -> None:
    a, b = stalled(loop, two)
    bulk = a.channel._batches.bulk
    assert not bulk.hold([TELL, 9, "nothing to wait for"])
    send(a, 1, bytes(BIG))
    send(a, 2, bytes(2 * BIG))
    assert bulk.hold([TELL, 9, "last"])
    loop.settle()
    send(a, 3, bytes(4 * BIG))
    read(loop, b)
    order = [receiver for receiver, _ in short(b.got)]
    assert order.index(9) > max(order.index(1), order.index(2))
    assert order.index(9) < order.index(3)


def test_descriptors_go_in_the_lane_of_the_message_that_needs_them(
    loop: ManualLoop, two: Two
) -> None:
    a, b = stalled(loop, two)
    before = open_fds()
    order: list[Any] = []
    b.channel._receive = lambda messages, _: order.extend(m[1] for m in messages)

    def take(message: list[Any], fds: list[int]) -> None:
        order.append((message[1], len(fds)))
        os.close(fds[0])

    b.channel._receive_fds = take
    send(a, 1, bytes(BIG))
    a.channel.send_fds([TELL, "for 1"], [os.dup(0)], a.channel.encoder.lane_for([TELL, 1, "with"]))
    send(a, 1, "with")
    a.channel.send_fds([TELL, "for 2"], [os.dup(0)], Lane.DATA)
    send(a, 2, "with")
    read(loop, b)
    assert order == [("for 2", 1), 2, 1, ("for 1", 1), 1]
    assert open_fds() == before


def test_everything_arrives_once_and_in_order_per_receiver(loop: ManualLoop, two: Two) -> None:
    chance = random.Random(97)
    for _ in range(3):
        a, b = two(Limits(high_water=300_000, low_water=100_000))
        sent: dict[int, list[int]] = {}
        for number in range(300):
            receiver = chance.randrange(12)
            size = chance.choice((1, 10_000, PIECE, PIECE + 1, 700_000))
            sent.setdefault(receiver, []).append(number)
            send(a, receiver, number, bytes(size))
            if chance.random() < 0.1:
                loop.settle()
        loop.settle()
        got: dict[int, list[int]] = {}
        for _, receiver, number, _ in b.got:
            got.setdefault(receiver, []).append(number)
        assert got == sent
        assert a.channel.queued_bytes == 0
        bulk = a.channel._batches.bulk
        assert (bulk.size, bulk.behind, a.channel._outbox.bulk) == (0, {}, 0)
        for end in (a, b):
            end.channel.close()
