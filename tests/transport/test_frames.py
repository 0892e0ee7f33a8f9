"""Frames come out as they went in, however the stream is cut; anything else is a FrameError."""

import random
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from actors.transport import MAX_FDS, FrameDecoder, FrameError, Lane, encode_header

BODIES = [b"", b"x", b"hello" * 10, b"\xac" * 9]
STREAM = b"".join(encode_header(Lane(n % 2), n, len(body)) + body for n, body in enumerate(BODIES))
WHOLE = [(Lane(n % 2), n, body) for n, body in enumerate(BODIES)]


def read(decoder: FrameDecoder, *chunks: bytes) -> list[tuple[Lane | None, int, bytes]]:
    return [
        (frame.lane, frame.fd_count, bytes(frame.body))
        for chunk in chunks
        for frame in decoder.feed(chunk)
    ]


def test_a_stream_cut_at_any_byte_gives_the_same_frames() -> None:
    for cut in range(len(STREAM) + 1):
        assert read(FrameDecoder(), STREAM[:cut], STREAM[cut:]) == WHOLE


def test_a_stream_of_single_bytes_gives_the_same_frames() -> None:
    assert read(FrameDecoder(), *(bytes([byte]) for byte in STREAM)) == WHOLE


@given(st.lists(st.binary(max_size=50), max_size=8), st.randoms(use_true_random=False))
def test_any_bodies_in_any_chunks_come_out_whole(
    bodies: list[bytes], chance: random.Random
) -> None:
    stream = b"".join(encode_header(Lane.DATA, 0, len(body)) + body for body in bodies)
    chunks = []
    while stream:
        size = chance.randint(1, 30)
        chunks.append(stream[:size])
        stream = stream[size:]
    decoder = FrameDecoder()
    assert [body for _, _, body in read(decoder, *chunks)] == bodies
    assert decoder.pending == 0


ONE = encode_header(Lane.CONTROL, 0, 3) + b"one"


def test_one_whole_frame_is_known_without_reading_it() -> None:
    decoder = FrameDecoder()
    assert decoder.single(memoryview(ONE)) is Lane.CONTROL
    assert decoder.single(memoryview(encode_header(Lane.DATA, 0, 0))) is Lane.DATA


@pytest.mark.parametrize(
    "data",
    [
        b"",
        ONE[:7],
        ONE[:-1],
        ONE + b"x",
        ONE + ONE,
        encode_header(Lane.DATA, 1, 3) + b"one",
        encode_header(Lane.DATA, 0, 3, more=True) + b"one",
        encode_header(Lane.DATA, 0, 9) + b"too long.",
        bytes([ONE[0] ^ 1]) + ONE[1:],
        ONE[:1] + bytes([ONE[1] ^ 0x10]) + ONE[2:],
    ],
)
def test_what_is_not_one_whole_frame_is_left_to_be_read(data: bytes) -> None:
    assert FrameDecoder(limit=8).single(memoryview(data)) is None


def _amid_a_frame(decoder: FrameDecoder) -> None:
    assert read(decoder, ONE[:5]) == []


def _amid_a_message(decoder: FrameDecoder) -> None:
    assert read(decoder, encode_header(Lane.DATA, 0, 3, more=True) + b"one") == []


def _failed(decoder: FrameDecoder) -> None:
    with pytest.raises(FrameError):
        read(decoder, b"wrong from the start")


@pytest.mark.parametrize("state", [_amid_a_frame, _amid_a_message, _failed])
def test_a_frame_is_not_taken_alone_amid_others(state: Callable[[FrameDecoder], None]) -> None:
    decoder = FrameDecoder()
    state(decoder)
    assert decoder.single(memoryview(ONE)) is None


PIECES = (
    encode_header(Lane.DATA, 0, 3, more=True) + b"one"
    + encode_header(Lane.CONTROL, 0, 7) + b"control"
    + encode_header(Lane.DATA, 0, 3, more=True) + b"two"
    + encode_header(Lane.DATA, 0, 5) + b"three"
    + encode_header(Lane.DATA, 0, 4) + b"next"
)  # fmt: skip


def test_a_message_in_several_frames_comes_out_whole_and_control_passes_between() -> None:
    whole = [(Lane.CONTROL, 0, b"control"), (Lane.DATA, 0, b"onetwothree"), (Lane.DATA, 0, b"next")]
    for cut in range(len(PIECES) + 1):
        decoder = FrameDecoder()
        assert read(decoder, PIECES[:cut], PIECES[cut:]) == whole
        assert decoder.pending == 0


def test_a_message_in_several_frames_is_bounded_and_has_no_descriptors() -> None:
    decoder = FrameDecoder(100)
    piece = encode_header(Lane.DATA, 0, 40, more=True) + bytes(40)
    assert read(decoder, piece, piece) == []
    assert decoder.pending == 80
    with pytest.raises(FrameError, match="a message holds at most 100 bytes"):
        read(decoder, piece)
    assert decoder.pending == 0
    with pytest.raises(FrameError, match="descriptors is no part"):
        read(FrameDecoder(), piece, encode_header(Lane.DATA, 1, 0))


def _lane(kind: int, body: bytes, *, more: bool) -> bytes:
    return encode_header(kind, 0, len(body), more=more) + body


LANES = (
    _lane(2, b"a" * 9, more=True)
    + _lane(3, b"x" * 7, more=True)
    + ONE
    + _lane(2, b"", more=True)
    + _lane(3, b"y" * 8, more=False)
    + _lane(2, b"b" * 5, more=False)
    + ONE
)
OF_LANES = [
    (Lane.CONTROL, 0, b"one"),
    (Lane.BULK, 0, b"x" * 7 + b"y" * 8),
    (Lane.BULK, 0, b"a" * 9 + b"b" * 5),
    (Lane.CONTROL, 0, b"one"),
]


def test_pieces_of_two_messages_cut_at_any_two_bytes_give_the_same_messages() -> None:
    for first in range(len(LANES) + 1):
        for second in range(first, len(LANES) + 1):
            decoder = FrameDecoder()
            parts = LANES[:first], LANES[first:second], LANES[second:]
            assert read(decoder, *parts) == OF_LANES
            assert (decoder.pending, decoder.count) == (0, 7)


@given(st.lists(st.integers(1, len(LANES)), max_size=30))
def test_pieces_in_any_chunks_give_the_same_messages(sizes: list[int]) -> None:
    decoder, at, got = FrameDecoder(), 0, []
    for size in [*sizes, len(LANES)]:
        got += read(decoder, LANES[at : at + size])
        at += size
    assert got == OF_LANES


def test_a_part_of_a_piece_stays_pending_even_if_it_is_the_header_alone() -> None:
    decoder = FrameDecoder()
    assert read(decoder, LANES[:8]) == []
    assert decoder.pending == 8
    assert read(decoder, LANES[8:10]) == []
    assert decoder.pending == 10


@pytest.mark.parametrize("fds, to_ring, length", [(1, False, 9), (0, True, 9), (0, False, 999)])
def test_a_piece_that_must_not_be_is_refused_before_it_has_come(
    fds: int, to_ring: bool, length: int
) -> None:
    decoder = FrameDecoder(limit=1000)
    header = encode_header(2, fds, length, more=True, to_ring=to_ring)
    assert read(decoder, encode_header(2, 0, 2, more=True) + b"ab") == []
    with pytest.raises(FrameError, match=r"no part of a message in several|at most 1000 bytes"):
        read(decoder, header + b"part")
    with pytest.raises(FrameError, match="broke the protocol earlier"):
        read(decoder, b"more")


def test_a_truncated_frame_stays_pending() -> None:
    decoder = FrameDecoder()
    assert read(decoder, encode_header(Lane.DATA, 0, 10) + b"12345") == []
    assert decoder.pending == 13


GOOD = encode_header(Lane.DATA, 0, 4)


@pytest.mark.parametrize(
    "header, message",
    [
        (b"\xad" + GOOD[1:], "expected magic 0xac and version 1, got 0xad and 0x11"),
        (GOOD[:1] + b"\x21" + GOOD[2:], "got 0xac and 0x21"),
        (GOOD[:1] + b"\x31" + GOOD[2:], "got 0xac and 0x31"),
        (GOOD[:2] + b"\x11\x00" + GOOD[4:], "at most 16 descriptors, its header claims 17"),
        (encode_header(Lane.DATA, 0, 1001), "at most 1000 bytes, its header claims 1001"),
    ],
)
def test_a_header_that_is_not_ours_is_refused_at_once(header: bytes, message: str) -> None:
    decoder = FrameDecoder(1000)
    with pytest.raises(FrameError, match=message):
        read(decoder, header)
    with pytest.raises(FrameError, match="broke the protocol earlier"):
        read(decoder, GOOD)


def test_frames_before_a_bad_one_still_come_out() -> None:
    decoder = FrameDecoder()
    frames = decoder.feed(STREAM + b"\0" * 8)
    for lane, fd_count, body in WHOLE:
        frame = next(frames)
        assert (frame.lane, frame.fd_count, bytes(frame.body)) == (lane, fd_count, body)
    with pytest.raises(FrameError):
        next(frames)


def test_what_a_header_claims_is_not_allocated() -> None:
    decoder = FrameDecoder()
    tracemalloc.start()
    try:
        read(decoder, encode_header(Lane.DATA, 0, 60 * 1024 * 1024) + b"x")
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()


def test_a_header_takes_no_more_descriptors_than_a_frame_may_carry() -> None:
    with pytest.raises(FrameError, match="0 to 16 descriptors, got 17"):
        encode_header(Lane.CONTROL, MAX_FDS + 1, 0)
