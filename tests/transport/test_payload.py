"""The table of how a payload travels."""

import socket
from typing import Any

import pytest

from actors.transport import (
    Availability,
    Buffer,
    Mode,
    SegmentPool,
    SharedBuffer,
    Thresholds,
    choose_mode,
    local,
    move,
    payload_bytes,
    set_thread_pool,
)
from tests.transport.shared_memory import KIB, MIB

REFERENCE, COPY, LEASE = Mode.REFERENCE, Mode.COPY, Mode.LEASE
TRANSFER, SHARED, REFUSED = Mode.TRANSFER, Mode.SHARED, Mode.REFUSED
BIG = 64 * KIB


@pytest.mark.parametrize(
    "make, same, warm, cold, full",
    [
        (lambda: 1, REFERENCE, COPY, COPY, COPY),
        (lambda: True, REFERENCE, COPY, COPY, COPY),
        (lambda: "x" * BIG, REFERENCE, COPY, COPY, COPY),
        (lambda: b"x", REFERENCE, COPY, COPY, COPY),
        (lambda: [1], COPY, COPY, COPY, COPY),
        (lambda: [b"x" * BIG], COPY, COPY, COPY, COPY),
        (lambda: b"x" * (BIG - 1), REFERENCE, COPY, COPY, COPY),
        (lambda: b"x" * BIG, REFERENCE, LEASE, COPY, COPY),
        (lambda: bytearray(BIG - 1), COPY, COPY, COPY, COPY),
        (lambda: bytearray(BIG), COPY, LEASE, COPY, COPY),
        (lambda: memoryview(bytes(BIG)), COPY, LEASE, COPY, COPY),
        (lambda: memoryview(bytes(BIG))[1:], COPY, COPY, COPY, COPY),
        (lambda: memoryview(bytes(2 * BIG))[::2], COPY, COPY, COPY, COPY),
        (lambda: memoryview(bytes(BIG)).cast("q", (8, BIG // 64)), COPY, LEASE, COPY, COPY),
        (lambda: Buffer(BIG), COPY, LEASE, COPY, COPY),
        (lambda: Buffer(1), COPY, COPY, COPY, COPY),
        (lambda: move(Buffer(1)), TRANSFER, TRANSFER, TRANSFER, TRANSFER),
        (lambda: move(Buffer(BIG)), TRANSFER, TRANSFER, TRANSFER, TRANSFER),
        (lambda: move(bytearray(1)), TRANSFER, COPY, COPY, COPY),
        (lambda: move(bytearray(BIG)), TRANSFER, LEASE, COPY, COPY),
        (lambda: move(socket), TRANSFER, TRANSFER, TRANSFER, TRANSFER),
        (lambda: SharedBuffer(8), SHARED, SHARED, SHARED, SHARED),
        (lambda: SharedBuffer(BIG), SHARED, SHARED, SHARED, SHARED),
        (lambda: local([1]), REFERENCE, REFUSED, REFUSED, REFUSED),
        (lambda: local(bytes(BIG)), REFERENCE, REFUSED, REFUSED, REFUSED),
    ],
)
def test_each_sort_of_payload_has_one_mode_for_each_place(
    own_pool: None, make: Any, same: Mode, warm: Mode, cold: Mode, full: Mode
) -> None:
    value = make()
    assert choose_mode(value, same_process=True) is same
    assert choose_mode(value, same_process=True, availability=Availability.FULL) is same
    found = [
        choose_mode(value, same_process=False, availability=availability)
        for availability in Availability
    ]
    assert found == [warm, cold, full]


@pytest.fixture
def own_pool() -> Any:
    pool = SegmentPool()
    set_thread_pool(pool)
    yield
    pool.close()
    set_thread_pool(None)


def test_what_fits_no_frame_goes_by_cold_shared_memory_rather_than_not_at_all() -> None:
    thresholds = Thresholds(share=1 * KIB, frame=1 * MIB)
    fits, does_not = bytes(1 * MIB), bytes(1 * MIB + 1)
    assert (
        choose_mode(fits, same_process=False, availability=Availability.COLD, thresholds=thresholds)
        is COPY
    )
    assert (
        choose_mode(
            does_not, same_process=False, availability=Availability.COLD, thresholds=thresholds
        )
        is LEASE
    )
    assert (
        choose_mode(
            does_not, same_process=False, availability=Availability.FULL, thresholds=thresholds
        )
        is COPY
    )


def test_the_threshold_is_the_callers() -> None:
    small = Thresholds(share=10)
    assert choose_mode(bytes(10), same_process=False, thresholds=small) is LEASE
    assert choose_mode(bytes(9), same_process=False, thresholds=small) is COPY
    with pytest.raises(ValueError, match=r"share must be in 1\.\.frame, got 9 and 8"):
        Thresholds(share=9, frame=8)


@pytest.mark.parametrize(
    "value, expected",
    [
        (b"abc", b"abc"),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abcdef")[1:3], b"bc"),
        (memoryview(b"abcdefgh").cast("H", (2, 2)), b"abcdefgh"),
        (memoryview(b"abcdef")[::2], None),
        (memoryview(b""), None),
        ("abc", None),
        ([b"abc"], None),
    ],
)
def test_the_bytes_of_a_payload_are_exactly_those_it_shows(value: Any, expected: Any) -> None:
    found = payload_bytes(value)
    assert (None if found is None else (found.tobytes(), found.format)) == (
        expected if expected is None else (expected, "B")
    )


def test_the_bytes_of_a_buffer_are_its_own(own_pool: None) -> None:
    buffer = Buffer(10)
    view = payload_bytes(buffer)
    assert view is not None
    view[0] = 9
    assert buffer[0] == 9
