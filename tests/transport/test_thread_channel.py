"""A channel delivers all of it in order, once, with one ring for many, and ends exactly once."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from actors._base.run_loop import open_loop, run_on
from actors.transport import (
    ByReference,
    ChannelBroken,
    ChannelClosed,
    Decoder,
    Encoder,
    Endpoint,
    FrameError,
    Lane,
    Limits,
    ThreadChannel,
    TooBig,
    TransportError,
    Unsendable,
    endpoint_pair,
)
from actors.transport.testing import ManualLoop
from tests.transport.sample_values import SAMPLES, Box, Point, types, values


class Side:
    """A channel and what came out of it."""

    def __init__(self, endpoint: Endpoint, loop: Any, limits: Limits | None = None) -> None:
        self.loop = loop
        self.got: list[Any] = []
        self.batches: list[tuple[int, Lane]] = []
        self.fds: list[tuple[Any, list[int]]] = []
        self.ends: list[TransportError | None] = []
        self.rooms = 0
        self.on_message: Callable[[Any], object] = lambda _message: None
        size = limits.message if limits else 64 << 20
        self.channel = ThreadChannel(
            endpoint,
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
        for message in messages:
            self.got.append(message[1][0])
            self.on_message(message)

    def room(self) -> None:
        self.rooms += 1

    def tell(self, value: Any, lane: Lane = Lane.DATA) -> int:
        args, _ = self.channel.encoder.encode_args((value,), {})
        return self.channel.send([1, args], lane)

    def die(self) -> None:
        """Its loop is gone without a word."""
        self.endpoint().close()

    def endpoint(self) -> Endpoint:
        endpoint: Endpoint = self.channel._endpoint
        return endpoint


Pair = Callable[..., tuple[Side, Side]]


@pytest.fixture
def pair_of_sides() -> Iterator[Pair]:
    """Two sides, each with a loop of its own."""
    sides: list[Side] = []

    def make(limits: Limits | None = None) -> tuple[Side, Side]:
        one, other = endpoint_pair()
        sides[:] = Side(one, ManualLoop(), limits), Side(other, ManualLoop(), limits)
        for side in sides:
            side.loop.settle()
        return sides[0], sides[1]

    yield make
    for side in sides:
        side.channel.close()
        for _, fds in side.fds:
            for fd in fds:
                os.close(fd)
        assert side.loop.watched == (frozenset(), frozenset())


def settle(*sides: Side) -> None:
    """Take turns until nothing happens on any side."""
    for _ in range(10_000):
        if not sum(side.loop.turn() for side in sides):
            return
    pytest.fail("not settled after 10,000 turns")


# -- order and rings -----------------------------------------------------------------------


def test_many_messages_take_one_ring_and_arrive_in_order(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    for n in range(50):
        a.tell(n)
    assert a.channel.stats().frames_sent == 1
    settle(b)
    assert b.got == list(range(50))
    assert b.batches == [(50, Lane.DATA)]


def test_after_a_look_the_next_message_rings_again(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    for n in range(3):
        a.tell(n)
        settle(b)
    assert a.channel.stats().frames_sent == 3
    assert b.got == [0, 1, 2]


def test_what_is_sent_while_the_other_looks_is_not_missed(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    b.on_message = lambda message: message[1][0] < 5 and a.tell(message[1][0] + 1)
    a.tell(0)
    settle(b)
    assert b.got == [0, 1, 2, 3, 4, 5]


def test_control_overtakes_data(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    a.tell("data")
    a.tell("control", Lane.CONTROL)
    settle(b)
    assert b.got == ["control", "data"]


def test_control_sent_while_data_is_delivered_overtakes_the_rest(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    for n in range(100):
        a.tell(n)
    b.on_message = lambda message: message[1][0] == 0 and a.tell("stop", Lane.CONTROL)
    settle(b)
    assert b.got.index("stop") == 64
    assert [value for value in b.got if value != "stop"] == list(range(100))


def test_what_was_sent_in_control_before_data_is_never_behind_it(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()

    def send_more(message: Any) -> None:
        if message[1][0] == "first":
            # By now the lane of control has been looked at.
            a.tell("second", Lane.CONTROL)
            a.tell("data")

    b.on_message = send_more
    a.tell("first", Lane.CONTROL)
    settle(b)
    assert b.got == ["first", "second", "data"]


def test_one_turn_delivers_a_bounded_number(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    for n in range(200):
        a.tell(n)
    for most in (64, 128):
        b.loop.turn()
        assert len(b.got) == most
    settle(b)
    assert b.got == list(range(200))
    assert a.channel.stats().frames_sent == 1


def test_a_class_is_known_before_the_message_that_needs_it(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    # A view makes each a message for the codec, which then introduces the class.
    a.tell(1)
    a.tell(Box(memoryview(b"x")))
    b.on_message = lambda message: message[1][0] == 1 and a.tell(Point(memoryview(b"y"), 2))
    settle(b)
    assert [type(value) for value in b.got] == [int, Box, Point]
    assert bytes(b.got[2].x) == b"y"


def test_what_was_packed_before_there_was_a_passage_goes_first() -> None:
    one, other = endpoint_pair()
    encoder = Encoder()
    encoder.pack([1, ["early"]])
    loop = ManualLoop()
    channel = ThreadChannel(
        one,
        loop,
        encoder=encoder,
        decoder=Decoder(),
        receive=lambda *_: None,
        closed=lambda _: None,
    )
    channel.flush()
    channel.send([1, ("late",)])
    late = Side(other, ManualLoop())
    settle(late)
    assert late.got == ["early", "late"]
    channel.close()
    late.channel.close()


def test_where_there_is_no_eventfd_a_pipe_rings(
    monkeypatch: pytest.MonkeyPatch, pair_of_sides: Pair
) -> None:
    monkeypatch.delattr(os, "eventfd")
    a, b = pair_of_sides()
    for n in range(3):
        a.tell(n)
        settle(b)
    for _ in range(20_000):  # more than a pipe holds
        b.endpoint().inbound.wakeup.wake()
    settle(b)
    a.tell(3)
    settle(b)
    assert b.got == [0, 1, 2, 3]
    assert not b.loop.turn()


# -- values --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_every_known_type_arrives_as_it_was_sent(name: str, pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    a.tell(SAMPLES[name])
    settle(b)
    assert b.got == [SAMPLES[name]]
    assert types(b.got[0]) == types(SAMPLES[name])


@given(values)
@settings(max_examples=50, deadline=None)
def test_any_nesting_arrives_as_it_was_sent(value: Any) -> None:
    one, other = endpoint_pair()
    a, b = Side(one, ManualLoop()), Side(other, ManualLoop())
    a.tell(value)
    settle(b)
    a.channel.close()
    b.channel.close()
    assert b.got == [value]
    assert types(b.got[0]) == types(value)


@pytest.mark.parametrize(
    "make",
    [
        lambda inner: inner,
        lambda inner: (1, inner),
        lambda inner: {"x": inner},
        lambda inner: [[inner]],
        Box,
        lambda inner: Point(1, inner),
    ],
    ids=["itself", "in a tuple", "in a dict", "in lists", "in an object", "in a named tuple"],
)
def test_what_is_changed_after_it_was_sent_arrives_as_it_was(
    make: Callable[[list[int]], Any], pair_of_sides: Pair
) -> None:
    a, b = pair_of_sides()
    inner = [1]
    a.tell(make(inner))
    inner.append(2)
    settle(b)
    assert b.got == [make([1])]


def test_bytes_of_any_size_go_by_reference(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    data = bytes(5_000_000)
    a.tell(data)
    assert not a.channel.congested
    settle(b)
    assert b.got[0] is data


def test_keywords_and_single_values_arrive_too(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    encoder = a.channel.encoder
    args, kwargs = encoder.encode_args((), {"x": (1, [2])})
    whole: list[Any] = []
    b.channel._receive = lambda messages, _lane: whole.extend(messages)
    a.channel.send([1, args, kwargs, encoder.encode_value({"y": (3,)})])
    settle(b)
    assert whole == [[1, (), {"x": (1, [2])}, {"y": (3,)}]]


def test_a_message_refused_leaves_the_passage_usable(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides(Limits(message=1000))
    with pytest.raises(Unsendable, match=r"args\[0\]\[1\]"):
        a.tell([1, threading.Lock()])
    with pytest.raises(TooBig, match="a message may have 1000"):
        a.tell("x" * 2000)
    with pytest.raises(TooBig, match="a message may have 1000"):
        a.tell([bytearray(2000)])
    a.tell("fits")
    settle(b)
    assert b.got == ["fits"]


def test_a_bytearray_is_copied_once_whatever_comes_with_it(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    encoder, big = a.channel.encoder, bytearray(b"x" * 100_000)
    args, kwargs = encoder.encode_args(([1], big), {"other": big})
    assert isinstance(args, ByReference)
    assert isinstance(kwargs, ByReference)
    copy = args[0][1]
    big[0] = 0
    whole: list[Any] = []
    b.channel._receive = lambda messages, _lane: whole.extend(messages)
    a.channel.send([1, args, kwargs])
    settle(b)
    ((_, got, keywords),) = whole
    assert got[1] is copy
    assert [type(got[1]), bytes(got[1]), bytes(keywords["other"])] == [
        bytearray,
        b"x" * 100_000,
        b"x" * 100_000,
    ]
    assert keywords["other"] is not got[1]


def test_bytearrays_that_are_too_big_together_are_refused_before_they_are_copied(
    pair_of_sides: Pair,
) -> None:
    a, _ = pair_of_sides()
    attachments: Any = a.channel.encoder._attachments
    attachments.largest = 1000
    with pytest.raises(TooBig, match="a message may have 1000"):
        a.channel.encoder.encode_args((bytearray(600),), {"more": bytearray(600)})


def test_what_contains_itself_is_refused_at_the_sender(pair_of_sides: Pair) -> None:
    a, _ = pair_of_sides()
    value: list[Any] = []
    value.append(value)
    with pytest.raises(Unsendable, match="contains itself"):
        a.tell(value)


# -- room ----------------------------------------------------------------------------------


def test_a_side_that_does_not_take_congests_and_makes_room_once(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides(Limits(high_water=10_000, low_water=2_000))
    sent = 0
    while not a.channel.congested:
        sent += a.tell("x" * 1000)
    assert a.channel.queued_bytes == sent >= 10_000
    settle(a)
    assert a.rooms == 0
    settle(b)
    assert a.channel.congested
    settle(a)
    assert (a.channel.congested, a.rooms, a.channel.queued_bytes) == (False, 1, 0)


def test_many_small_messages_congest_too(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides(Limits(high_water=10_000, low_water=2_000))
    for _ in range(200):
        a.tell(1)
    assert a.channel.congested
    settle(a, b)
    assert (len(b.got), a.rooms) == (200, 1)


def test_many_descriptors_congest_too(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides(Limits(fds=4))
    for _ in range(4):
        a.channel.send_fds([1, []], [os.open("/dev/null", os.O_RDONLY)])
    assert a.channel.congested
    settle(a, b)
    assert (len(b.fds), a.rooms, a.channel.congested) == (4, 1, False)


# -- descriptors ---------------------------------------------------------------------------


def null() -> int:
    return os.open("/dev/null", os.O_RDONLY)


def test_descriptors_keep_their_place_and_their_numbers(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    fds = [null(), null()]
    a.tell(1)
    a.channel.send_fds([2, "fds"], fds, Lane.DATA)
    a.tell(3)
    b.on_message = lambda message: b.fds or message[1][0] == 1 or pytest.fail("overtaken")
    settle(b)
    assert b.fds == [([2, "fds"], fds)]
    assert b.got == [1, 3]


def test_descriptors_that_are_lent_stay_the_callers(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    mine = null()
    a.channel.send_fds([2], [mine], keep_open=True)
    os.close(mine)
    settle(b)
    (_, (theirs,)) = b.fds[0]
    os.fstat(theirs)


def test_descriptors_that_were_to_be_lent_stay_open_when_nothing_is_sent(
    pair_of_sides: Pair,
) -> None:
    a, _ = pair_of_sides()
    mine = null()
    with pytest.raises(Unsendable):
        a.channel.send_fds([2, object()], [mine], keep_open=True)
    a.channel.close()
    with pytest.raises(ChannelClosed):
        a.channel.send_fds([2], [mine], keep_open=True)
    os.fstat(mine)
    os.close(mine)


def test_descriptors_of_a_message_that_cannot_be_sent_are_closed(pair_of_sides: Pair) -> None:
    a, _ = pair_of_sides()
    fd = null()
    with pytest.raises(Unsendable):
        a.channel.send_fds([2, object()], [fd])
    with pytest.raises(FrameError, match="1 to 16 descriptors, got 0"):
        a.channel.send_fds([2], [])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    a.channel.close()
    fd = null()
    with pytest.raises(ChannelClosed):
        a.channel.send_fds([2], [fd])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@pytest.mark.parametrize("closer", ["sender", "receiver", "sender, nobody came", "both at once"])
def test_descriptors_nobody_took_are_closed_at_the_end(closer: str, pair_of_sides: Pair) -> None:
    if closer == "sender, nobody came":
        endpoint, far = endpoint_pair()
        a = Side(endpoint, ManualLoop())
        end: Callable[[], object] = far.close
    else:
        a, b = pair_of_sides()
        end = b.channel.close
    fd = null()
    if closer == "receiver":
        end()
    a.channel.send_fds([2], [fd])
    a.channel.close()
    end()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_side_that_ends_drops_at_once_what_it_has_not_taken(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    fd = null()
    a.channel.send_fds([2], [fd])
    b.channel.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


# -- the end -------------------------------------------------------------------------------


def test_everything_sent_is_delivered_before_the_end(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    for n in range(100):
        a.tell(n)
    a.tell("control", Lane.CONTROL)
    a.channel.close()
    assert a.ends == [None]
    settle(b)
    assert b.got == ["control", *range(100)]
    (end,) = b.ends
    assert isinstance(end, ChannelBroken)
    assert str(end) == "the peer closed the channel"
    with pytest.raises(ChannelBroken, match="the peer closed the channel"):
        b.tell(1)


def test_closing_twice_ends_once_and_refuses_what_follows(pair_of_sides: Pair) -> None:
    a, _ = pair_of_sides()
    a.channel.close()
    a.channel.close()
    assert a.ends == [None]
    with pytest.raises(ChannelClosed, match="closed here"):
        a.tell(1)


def test_what_was_packed_before_the_end_is_not_sent_after_it(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    a.channel._batches.pack([1, ["late"]], Lane.DATA)
    a.channel.close()
    sent = a.channel.stats()
    a.channel.flush()
    assert a.channel.stats() == sent
    settle(b)
    assert (b.got, len(b.ends)) == ([], 1)


def test_both_may_close_at_once(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    a.tell(1)
    b.tell(2)
    a.channel.close()
    b.channel.close()
    settle(a, b)
    assert (a.ends, b.ends, a.got, b.got) == ([None], [None], [], [])


def test_closing_inside_a_delivery_stops_it(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    b.on_message = lambda _message: b.channel.close()
    for n in range(65):
        a.tell(n)
    settle(b)
    assert b.got == list(range(64))
    assert b.ends == [None]


def test_a_receiver_that_fails_ends_the_passage_with_its_error(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    b.on_message = lambda message: {}[message[1][0]]
    a.tell("x")
    settle(b, a)
    (end,) = b.ends
    assert isinstance(end, FrameError)
    assert str(end) == "the receiver failed on a message: KeyError: 'x'"
    assert isinstance(end.__cause__, KeyError)
    assert isinstance(a.ends[0], ChannelBroken)


def test_a_loop_that_is_gone_is_a_lost_peer(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    b.tell("last words")
    b.loop.unwatch_readable(b.endpoint().inbound.wakeup.fd)
    b.die()
    settle(a)
    assert a.got == ["last words"]
    assert isinstance(a.ends[0], ChannelBroken)
    b.ends.append(None)


def test_a_door_nobody_came_to_is_closed_by_who_made_it() -> None:
    one, other = endpoint_pair()
    side = Side(one, ManualLoop())
    side.tell(1)
    other.close()
    settle(side)
    assert isinstance(side.ends[0], ChannelBroken)


def test_a_door_that_was_dropped_is_a_lost_peer(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    one, other = endpoint_pair()
    side = Side(one, ManualLoop())
    a.channel.send([1, ByReference((other,))])
    del other
    b.channel.close()
    settle(side)
    assert isinstance(side.ends[0], ChannelBroken)


def test_stats_count_both_ways(pair_of_sides: Pair) -> None:
    a, b = pair_of_sides()
    a.tell("x" * 100)
    a.tell(memoryview(b"y" * 100))
    a.channel.send_fds([1, []], [null()])
    settle(b)
    sent, received = a.channel.stats(), b.channel.stats()
    assert (sent.messages_sent, sent.fds_sent, sent.queued_bytes) == (3, 1, 0)
    assert (received.messages_received, received.fds_received) == (3, 1)
    assert sent.bytes_sent == received.bytes_received > 200


# -- threads -------------------------------------------------------------------------------


class Echo:
    """A thread with a loop, which sends back what it gets until the other side closes."""

    def __init__(self, endpoint: Endpoint, kind: str) -> None:
        self._door = endpoint
        self._kind = kind
        self.side: Side | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        run_on(
            self._serve,
            backend="trio" if self._kind == "trio" else "asyncio",
            uvloop=self._kind == "uvloop",
        )

    async def _serve(self) -> None:
        async with open_loop() as loop:
            over = loop.waiter()
            side = self.side = Side(self._door, loop)
            side.on_message = lambda message: side.tell(message[1][0])
            side.channel._on_closed = over.set_result
            side.ends.append(await over)

    def join(self) -> list[TransportError | None]:
        self._thread.join()
        assert self.side is not None
        return self.side.ends


@pytest.mark.parametrize("kind", ["asyncio", "uvloop", "trio"])
def test_thousands_of_messages_go_to_a_thread_and_back(kind: str) -> None:
    near, far = endpoint_pair()
    echo = Echo(far, kind)
    sent = [n if n % 7 else {"n": [n], "view": memoryview(b"x")} for n in range(3000)]

    async def main() -> None:
        side = Side(near, asyncio_loop())
        back = asyncio.Event()
        side.on_message = lambda _message: back.set() if len(side.got) == len(sent) else None
        for n, value in enumerate(sent):
            side.tell(value)
            if n % 100 == 0:
                await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await back.wait()
        assert side.got == sent
        side.channel.close()

    try:
        asyncio.run(main())
    finally:
        near.close()
        (end,) = echo.join()
    assert isinstance(end, ChannelBroken)


def asyncio_loop() -> Any:
    """The five functions of the running loop."""

    class Five:
        loop = asyncio.get_running_loop()
        call_soon: Any = loop.call_soon
        watch_readable: Any = loop.add_reader
        unwatch_readable: Any = loop.remove_reader

    return Five
