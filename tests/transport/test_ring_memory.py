"""The memory of a ring: records in order, and all that the other process writes there is checked before use."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings, strategies as st

from actors._extensions import not_loaded
from actors.transport import FrameError
from actors.transport.channels.ring_extension import RING
from actors.transport.memory import memfd
from tests.transport.ring_end import RingEnd
from tests.transport.shared_memory import PeerProcess

pytestmark = pytest.mark.skipif(RING is None, reason=not_loaded())

HEAD, TAIL, READER, DATA = 0, 64, 128, 192
WORD = 8
FULL, WAKE_IT, WRITTEN, BELL = range(4)
LOOKING, ASLEEP, AWAY = range(3)
MARK = 2


class Ring(NamedTuple):
    """Both sides of a ring, and the memory as a process that breaks the rules writes to it."""

    writer: Any
    reader: Any
    memory: mmap.mmap

    def set(self, at: int, value: int) -> None:
        self.memory[at : at + WORD] = value.to_bytes(WORD, "little")

    def get(self, at: int) -> int:
        return int.from_bytes(self.memory[at : at + WORD], "little")


@pytest.fixture
def ring() -> Iterator[Ring]:
    with_ring = new_ring()
    yield with_ring
    close(with_ring)


def new_ring() -> Ring:
    fd = memfd.create(RING.SIZE)
    try:
        return Ring(
            RING.Writer(fd, FrameError), RING.Reader(fd, FrameError), mmap.mmap(fd, RING.SIZE)
        )
    finally:
        os.close(fd)


def close(ring: Ring) -> None:
    ring.writer.close()
    ring.reader.close()
    ring.memory.close()


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3000)), max_size=300))
def test_records_come_out_as_they_went_in_around_the_end_of_the_memory(
    records: list[tuple[int, int]],
) -> None:
    ring = new_ring()
    sent: list[tuple[int, bytes]] = []
    taken = 0
    for number, (lane, size) in enumerate(records):
        body = bytes([number % 251]) * size
        while ring.writer.put(lane, body, number) == FULL:
            kind, _, got = ring.reader.take(taken)
            assert (kind, got) == sent[taken]
            taken += 1
        sent.append((lane, body))
    while (record := ring.reader.take(taken)) is not None:
        assert (record[0], record[2]) == sent[taken]
        taken += 1
        assert record[1] is (taken < len(sent))
    assert taken == len(records)
    close(ring)


def test_a_full_ring_takes_no_record_and_still_a_mark(ring: Ring) -> None:
    count = 0
    while ring.writer.put(1, b"x" * 1000, count) == WRITTEN:
        count += 1
    assert count == RING.ROOM // (16 + 1008)
    while ring.writer.put(1, b"", count) == WRITTEN:
        count += 1
    assert ring.writer.mark(count) == 16
    for number in range(count):
        assert ring.reader.take(number)[0] == 1
    assert ring.reader.take(count) == (MARK, False, b"")
    assert ring.reader.take(count) is None
    assert ring.writer.free() == RING.ROOM


def test_a_record_that_no_ring_can_take_is_refused(ring: Ring) -> None:
    assert ring.writer.put(1, b"x" * RING.ROOM, 0) == FULL
    assert ring.writer.put(1, b"x" * (RING.ROOM + 1), 0) == FULL
    with pytest.raises(ValueError, match="no ring carries lane 2"):
        ring.writer.put(2, b"", 0)


def test_a_reader_that_sleeps_is_to_be_woken(ring: Ring) -> None:
    assert ring.writer.put(1, b"a", 0) == WRITTEN
    assert ring.reader.sleep(ASLEEP) is False, "something is there"
    ring.reader.take(0)
    assert ring.reader.sleep(ASLEEP) is True
    assert ring.writer.put(1, b"b", 1) == WAKE_IT
    assert ring.reader.take(1) is None, "nothing was written"
    assert ring.writer.mark(1) > 0
    assert ring.writer.put(1, b"b", 1) == WRITTEN, "the frame behind the mark wakes it"
    assert ring.reader.take(1) == (MARK, True, b"")
    assert ring.reader.take(1) == (1, False, b"b")


def test_a_reader_that_is_better_off_with_the_socket_is_not_led_to_the_ring(ring: Ring) -> None:
    assert ring.reader.sleep(AWAY) is True
    assert ring.writer.put(1, b"b", 0) == WAKE_IT
    assert ring.writer.mark(0) == ring.writer.free() == 0
    ring.reader.wake()
    assert ring.writer.free() == RING.ROOM - 16


def test_a_reader_that_falls_asleep_while_a_record_is_written_is_seen(ring: Ring) -> None:
    # What a reader does between the writer's first look at it and its second one.
    ring.reader.sleep(ASLEEP)
    ring.memory[READER : READER + 4] = bytes(4)
    assert ring.writer.put(1, b"b", 0) == WRITTEN
    assert ring.reader.sleep(ASLEEP) is False


def test_a_look_says_whether_to_look_on(ring: Ring) -> None:
    over, found, not_yet = RING.OVER, RING.FOUND, RING.NOT_YET
    assert ring.reader.look(0) == over
    ring.reader.watch(3600 * 10**9)
    assert ring.reader.look(0) == not_yet
    ring.writer.put(0, b"", 0)
    assert ring.reader.look(0) == found


@pytest.mark.parametrize(
    "at,value,error",
    [
        (HEAD, 2**64 - 16, "the writer of a ring claims position 18446744073709551600, after 0"),
        (HEAD, 131_072, "the writer of a ring claims position 131072, after 0"),
        (HEAD, 8, "the writer of a ring claims position 8, after 0"),
        (DATA, 2**32 - 1, "record of kind 0 and 4294967295 bytes in 32"),
        (DATA, 17, "record of kind 0 and 17 bytes in 32"),
        (DATA, 1 | 3 << 32, "record of kind 3 and 1 bytes in 32"),
        (DATA, 1 | 2 << 32, "record of kind 2 and 1 bytes in 32"),
        (DATA + 8, 6, "a ring has record 6 where 5 is expected"),
    ],
)
def test_what_a_writer_must_not_write_is_one_error(
    ring: Ring, at: int, value: int, error: str
) -> None:
    ring.writer.put(1, b"x", 5)
    ring.set(at, value)
    with pytest.raises(FrameError, match=error):
        ring.reader.take(5)


@pytest.mark.parametrize("tail", [0, 16, 128, 2**64 - 1])
def test_what_a_reader_must_not_write_is_one_error(ring: Ring, tail: int) -> None:
    for number in range(3):
        ring.writer.put(1, b"x" * 16, number)
    for number in range(2):
        ring.reader.take(number)
    assert ring.writer.free() == RING.ROOM - 32
    ring.set(TAIL, tail)
    for call in (ring.writer.free, lambda: ring.writer.put(1, b"", 3), lambda: ring.writer.mark(3)):
        with pytest.raises(FrameError, match=rf"the reader of a ring claims position {tail}"):
            call()


def test_a_position_is_not_read_back_from_the_memory(ring: Ring) -> None:
    ring.writer.put(1, b"x", 0)
    ring.reader.take(0)
    ring.set(TAIL, 0)
    ring.writer.put(1, b"y", 1)
    assert ring.reader.take(1) == (1, False, b"y")
    ring.set(HEAD, 0)
    ring.writer.mark(2)
    assert ring.get(HEAD) == 32 + 32 + 16


changes = st.lists(
    st.tuples(
        st.sampled_from([HEAD, TAIL, READER, DATA, DATA + 8, DATA + 32]) | st.integers(0, 131_000),
        st.integers(0, 2**64 - 1) | st.integers(0, 200_000),
    ),
    max_size=8,
)
CALLS: list[Callable[[Ring], Any]] = [
    lambda ring: ring.reader.take(0),
    lambda ring: ring.reader.look(0),
    lambda ring: ring.reader.sleep(ASLEEP),
    lambda ring: ring.writer.put(1, b"x" * 100, 0),
    lambda ring: ring.writer.mark(0),
    lambda ring: ring.writer.free(),
]
calls = st.lists(st.sampled_from(CALLS), max_size=12)


@settings(max_examples=100)
@given(changes, calls, st.integers(0, 5))
def test_random_bytes_are_errors_or_records_and_never_more_than_the_ring_holds(
    written: list[tuple[int, int]], calls: list[Callable[[Ring], Any]], records: int
) -> None:
    ring = new_ring()
    for number in range(records):
        ring.writer.put(number % 2, b"body" * number * 700, number)
    for at, value in written:
        ring.set(at, value)
    for call in calls:
        with suppress(FrameError):
            assert sound(call(ring))
    close(ring)


def sound(result: Any) -> bool:
    """Whether it is no record, a record, or a number of bytes, none bigger than the ring."""
    if isinstance(result, tuple):
        kind, more, body = result
        return kind <= MARK and more in (False, True) and len(body) <= RING.ROOM
    return result is None or 0 <= result <= RING.ROOM


def test_no_wake_up_is_lost_between_two_processes_that_sleep_all_the_time() -> None:
    peer = PeerProcess("echo")
    there, back = memfd.create(RING.SIZE), memfd.create(RING.SIZE)
    peer.send(("rings",), (os.dup(there), os.dup(back)))
    end = RingEnd(peer.sock, back, there)
    rounds = 3000
    for number in range(rounds):
        body = b"%d" % number
        end.send(body, number)
        assert end.receive(number) == body
    end.send(b"", rounds)
    assert peer.process.wait(20) == 0
    peer.close()
    assert end.sleeps > 100


def test_a_closed_ring_says_so(ring: Ring) -> None:
    ring.writer.close()
    ring.reader.close()
    ring.reader.close()
    for call in (
        lambda: ring.writer.put(1, b"", 0),
        lambda: ring.writer.mark(0),
        ring.writer.free,
        lambda: ring.reader.take(0),
        lambda: ring.reader.look(0),
        lambda: ring.reader.sleep(ASLEEP),
        ring.reader.wake,
    ):
        with pytest.raises(ValueError, match="this ring is closed"):
            call()


def test_wrong_arguments_are_errors(ring: Ring) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        RING.Reader(-1, FrameError)
    with pytest.raises(TypeError):
        RING.Writer(0, "no class")
    with pytest.raises(TypeError, match="takes no keywords"):
        RING.Writer(fd=0)
    with pytest.raises(TypeError, match="put takes a lane, bytes and a number"):
        ring.writer.put(1, "text", 0)
    with pytest.raises(OverflowError):
        ring.reader.take(-1)
