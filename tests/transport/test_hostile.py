"""Whatever bytes arrive, they give messages or one error: no crash, import or big allocation."""

import contextlib
import gc
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors.transport import (
    Attachments,
    Buffer,
    Decoder,
    Encoder,
    FrameDecoder,
    FrameError,
    Lane,
    SegmentMappings,
    SegmentPool,
    TransportError,
    Undecodable,
    Undecoded,
    encode_header,
    set_thread_pool,
)
from actors.transport.testing import mutations
from actors.transport.wire.outbox import close_all
from tests.transport.attachment_link import AttachmentLink
from tests.transport.sample_values import SAMPLES, Odd, Point, carry

ATTACHMENT: dict[str, Callable[[], Any]] = {
    "leased bytes": lambda: bytes(560_000),
    "leased bytearray": lambda: bytearray(560_000),
    "leased view": lambda: memoryview(bytes(640_000)).cast("i", (2, 80_000)),
    "copied buffer": lambda: Buffer(100),
    "leased buffer": lambda: Buffer(560_000),
    "nested": lambda: {"deep": [(bytes(560_000), Buffer(560_000))]},
}


class Seaport:
    """A sender with attachments, and what came ahead of its messages, for any number of readers."""

    def __init__(self) -> None:
        self.link = AttachmentLink()
        self.link.warm(640_000, 8)
        self.ahead: list[tuple[str, list[int], list[int]]] = []

    def encode(self, value: Any) -> Any:
        packed = self.link.encoder.encode_value(value)
        self.ahead += self.link.here.transaction.prerequisites
        self.link.here.transaction.prerequisites.clear()
        self.link.here.transaction.commit()
        return packed

    def reader(self) -> Attachments:
        attachments = Attachments(SegmentPool(), SegmentMappings())
        for op, numbers, fds in self.ahead:
            attachments.receive_prerequisite(op, numbers, [os.dup(fd) for fd in fds])
        return attachments

    def close(self) -> None:
        for _, _, fds in self.ahead:
            close_all(fds)
        self.link.close()


@pytest.fixture
def seaport() -> Iterator[Seaport]:
    port = Seaport()
    set_thread_pool(port.link.pool)
    yield port
    set_thread_pool(None)
    port.close()


@pytest.fixture
def laden(seaport: Seaport) -> bytes:
    """A conversation with attachments beside it."""
    encoder = seaport.link.encoder
    for name, make in ATTACHMENT.items():
        encoder.pack([1, name, seaport.encode(make())])
    (body,) = encoder.take(Lane.DATA)
    return encode_header(Lane.DATA, 0, len(body)) + body


def test_a_thousand_damaged_messages_with_attachments_give_messages_or_one_error(
    seaport: Seaport, laden: bytes
) -> None:
    attachments = seaport.reader()
    whole = list(read(laden, attachments))
    assert [message[1] for message in whole] == list(ATTACHMENT)
    assert whole[2][2].shape == (2, 80_000)
    attachments.close()
    modules = set(sys.modules)
    outcomes = {"whole": 0, "undecoded": 0, "ended": 0}
    for seed in range(4):
        for damaged in mutations(laden, seed, 250):
            attachments = seaport.reader()
            try:
                for message in read(damaged, attachments):
                    bad = [part for part in message if type(part) is Undecoded]
                    outcomes["undecoded" if bad else "whole"] += 1
            except TransportError as error:
                assert isinstance(error, FrameError)  # noqa: PT017
                outcomes["ended"] += 1
            attachments.close()
    gc.collect()  # a decoder is a cycle
    assert min(outcomes.values()) > 20
    assert set(sys.modules) == modules


def conversation() -> bytes:
    """A stream that holds every kind of value, introductions included."""
    encoder = Encoder()
    for name, value in SAMPLES.items():
        encoder.pack([1, name, encoder.encode_value(value)])
    encoder.pack([2, encoder.encode_error(Odd(1, hint="x"))])
    stream = b""
    for lane in Lane:
        for body in encoder.take(lane):
            stream += encode_header(lane, 0, len(body)) + body
    return stream


def read(stream: bytes, attachments: Attachments | None = None) -> Iterator[Any]:
    frames, decoder = FrameDecoder(), Decoder(attachments=attachments)
    for frame in frames.feed(stream):
        yield from decoder.feed(frame.body)


# Whole conversations; damaged messages one by one, attachments included, are in `test_fuzz.py`.
@pytest.mark.parametrize("seed", range(3))
def test_damaged_streams_give_messages_or_one_error(seed: int) -> None:
    stream = conversation()
    assert len(list(read(stream))) == len(SAMPLES) + 1
    modules = set(sys.modules)
    outcomes = {"whole": 0, "undecoded": 0, "ended": 0}
    for damaged in mutations(stream, seed, 1000):
        try:
            for message in read(damaged):
                assert type(message) is list
                assert type(message[0]) is int
                bad = [part for part in message if type(part) is Undecoded]
                assert all(isinstance(part.error, Undecodable) for part in bad)
                outcomes["undecoded" if bad else "whole"] += 1
        except TransportError as error:
            assert isinstance(error, FrameError)  # noqa: PT017
            outcomes["ended"] += 1
    assert min(outcomes.values()) > 50
    assert set(sys.modules) == modules


def test_damaged_streams_allocate_no_more_than_they_are_long() -> None:
    stream = conversation()
    tracemalloc.start()
    try:
        for damaged in mutations(stream, 99, 200):
            tracemalloc.reset_peak()
            start = tracemalloc.get_traced_memory()[0]
            with contextlib.suppress(FrameError):
                list(read(damaged))
            assert tracemalloc.get_traced_memory()[1] - start < 2_000_000
    finally:
        tracemalloc.stop()


def ext(tag: int, data: bytes) -> bytes:
    return b"\xc9" + len(data).to_bytes(4, "big") + bytes([tag]) + data


def test_extensions_nested_without_end_are_refused_not_followed() -> None:
    data = b"\x90"
    for _ in range(5000):
        data = ext(1, data)
    (message,) = Decoder().feed(b"\x92\x01" + data)
    assert "nested deeper than 200 levels" in str(message[1].error)


def test_lists_nested_without_end_are_a_frame_error() -> None:
    with pytest.raises(FrameError):
        Decoder().feed(b"\x91" * 5000 + b"\x01")


def test_claims_of_length_are_not_believed() -> None:
    tracemalloc.start()
    try:
        for claim in (b"\xdd\x03\xff\xff\xff", b"\xdf\x01\xff\xff\xff", b"\xc6\x03\xff\xff\xff"):
            with pytest.raises(FrameError):
                Decoder().feed(b"\x92\x01" + claim)
            nested = Decoder().feed(b"\x92\x01" + ext(1, claim))
            assert isinstance(nested[0][1], Undecoded)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_frame_over_64_kib_holds_one_message() -> None:
    with pytest.raises(FrameError, match="not messages: ExtraData"):
        Decoder().feed(b"\x91\x01" * 560_000)
    (message,) = Decoder().feed(b"\x92\x01\xc6\0\1\0\0" + bytes(65_536))
    assert message == [1, bytes(65_536)]


@pytest.mark.parametrize(
    "introduction",
    [
        [0],
        [0, 1, 2, "m", "C", b"", []],
        [0, 0, 2, "m", "C", b"", [1]],
        [0, 0, "2", "m", "C", b"", []],
        [0, -1, 2, "m", "C", b"", []],
    ],
)
def test_an_introduction_out_of_order_or_shape_ends_the_link(introduction: list[Any]) -> None:
    encoder = Encoder()
    encoder.pack(introduction)
    (body,) = encoder.take(Lane.DATA)
    with pytest.raises(FrameError, match="introduc"):
        Decoder().feed(body)


@pytest.mark.parametrize(
    "tag, data",
    [
        (1, b"\x01"),
        (2, b"\x91\x90"),
        (6, b"\x91\xa1x"),
        (7, b"\x90"),
        (8, b"\xce\x7f\xff\xff\xff"),
        (11, b"\xabEurope/Oslo" + b"\x01"),
        (11, b"\xae../etc/passwd\0"),
        (11, b"\xa8No/Where"),
        (12, b"\xc4\x01x"),
        (13, b"\xa3abc"),
        (14, b"\x92\x01\x01"),
        (15, b"\x93\x01\x01\x00"),
        (16, b"\x92\x91\x01\x90"),
        (16, b"\x92\x91\x90\x91\x01"),
        (18, b""),
        (18, b"\x93\xa1Z\x91\x01\xc4\x01x"),
        (18, b"\x93\xa1B\x91\x7f\xc4\x01x"),
        (19, b"\x93\x00\xa1x\xc0"),
        (20, b"\x93\x00\xc0\xc0"),
        (22, b"\xc0"),
        (23, b"\x92\x00\x00"),
        (24, b"\xc0"),
        (99, b""),
    ],
)
def test_a_value_that_makes_no_sense_is_undecoded_and_the_next_is_fine(
    tag: int, data: bytes
) -> None:
    bad, good = Decoder().feed(b"\x92\x01" + ext(tag, data) + b"\x92\x02\x05")
    assert isinstance(bad[1], Undecoded)
    assert str(bad[1].error)
    assert good == [2, 5]


def test_what_is_left_of_a_value_that_was_cut_is_no_part_of_the_next() -> None:
    cut = b"\xc7\x09\x01\x93\x90\x90\xd4\x01\x92\x02\x91\x03"  # in its last part, and goes on behind it
    sound = b"\xd7\x01\x92\x01\xd6\x01\x92\x02\x91\x03"

    ((_, first, second),) = Decoder().feed(b"\x93\x01" + cut + sound)

    assert type(first) is Undecoded
    assert second == (1, (2, [3]))


def test_a_named_tuple_without_values_is_undecoded() -> None:
    encoder, decoder = Encoder(), Decoder()
    carry(encoder, decoder, [1, encoder.encode_value(Point(1, 2))])

    ((_, point),) = decoder.feed(b"\x92\x01\xc7\x03\x15\x92\x00\xc0")

    assert type(point) is Undecoded
    assert "expected a list, got NoneType" in str(point.error)
