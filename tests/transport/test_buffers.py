"""Buffers are filled in place, move at once at any size, and are loud when they are gone."""

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors.transport import (
    Buffer,
    Move,
    Moved,
    SegmentPool,
    StaleLease,
    StillViewed,
    set_thread_pool,
    thread_pool,
)
from actors.transport.attachments.move import check_moves
from tests.transport.sample_values import open_fds
from tests.transport.shared_memory import KIB, MIB, PeerLinks, PeerProcess, mapped, pattern

exports = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="classes export buffers from Python 3.12 on"
)


@pytest.fixture(autouse=True)
def pool() -> Iterator[SegmentPool]:
    pool = SegmentPool(limit=256 * MIB)
    set_thread_pool(pool)
    yield pool
    pool.close()
    set_thread_pool(None)
    # Caught errors hold frames, which hold buffers.
    gc.collect()


@pytest.fixture
def links(pool: SegmentPool) -> Iterator[PeerLinks]:
    links = PeerLinks(pool)
    yield links
    links.close()


# ---------------------------------------------------------------- bytes


@pytest.mark.parametrize("size", [1, 4097, 100_000, 5 * MIB])
def test_a_buffer_holds_what_was_written_and_zeros_elsewhere(size: int) -> None:
    buffer = Buffer(size)
    assert (len(buffer), bytes(buffer)) == (size, bytes(size))
    buffer.view()[:] = pattern(size)
    assert bytes(buffer) == pattern(size)
    assert (buffer[0], buffer[-1]) == (pattern(size)[0], pattern(size)[-1])
    assert buffer[size // 2 :] == pattern(size)[size // 2 :]
    buffer[0] = 255
    buffer[size // 2 : size // 2 + 1] = b"z"
    assert bytes(buffer)[size // 2] == ord("z")
    assert type(buffer[:1]) is bytes


def test_a_buffer_shows_nothing_of_what_was_there_before(links: PeerLinks) -> None:
    view = links.send(b"secret" * 20_000)
    del view
    links.settle()
    used = Buffer(110_000)
    used[:] = b"s" * 110_000
    del used
    for _ in range(3):
        assert bytes(Buffer(115_000)) == bytes(115_000)


def test_a_buffer_that_need_not_be_zero_shows_what_the_node_left_there() -> None:
    used = Buffer(100_000)
    used[:] = b"s" * 100_000
    del used
    assert bytes(Buffer(100_000, zero=False)) == b"s" * 100_000


def test_index_errors_are_those_of_bytes() -> None:
    buffer = Buffer(10)
    with pytest.raises(IndexError):
        buffer[10]
    with pytest.raises(ValueError):  # noqa: PT011 - the interpreter's own words
        buffer[0:3] = b"four"


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_one_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"a buffer holds 1 byte or more, got {size}"):
        Buffer(size)


@pytest.mark.parametrize("size", ["10", 1.5, None, True])
def test_a_size_that_is_no_number_is_refused(size: Any) -> None:
    with pytest.raises(TypeError, match=f"a buffer's size is a number of bytes, got {size!r}"):
        Buffer(size)


def test_more_than_there_is_memory_for_is_a_memory_error() -> None:
    with pytest.raises(MemoryError, match="no memory for a buffer of 4611686018427387904 bytes"):
        Buffer(1 << 62)


@exports
def test_whatever_takes_a_buffer_takes_this_one() -> None:
    buffer: Any = Buffer(100)
    view = memoryview(buffer)
    view[:5] = b"hello"
    assert (view.readonly, view.format, bytes(view)) == (False, "B", bytes(buffer))
    assert b"".join([buffer]) == bytes(buffer)
    with pytest.raises(StillViewed):
        buffer.check_move()
    view.release()
    buffer.check_move()
    buffer.free_copied()
    with pytest.raises(Moved):
        memoryview(buffer)


def test_memory_of_a_buffer_comes_back_with_its_last_view(pool: SegmentPool) -> None:
    buffer = Buffer(100_000)
    view = buffer.view()[5:]
    del buffer
    gc.collect()
    assert pool.stats().buffers == 1
    view[0] = 1
    del view
    assert (pool.stats().buffers, pool.stats().held) == (0, 0)


def test_a_buffer_dropped_by_another_thread_comes_back(pool: SegmentPool) -> None:
    buffers = [Buffer(1000) for _ in range(20)]
    thread = threading.Thread(target=buffers.clear)
    thread.start()
    thread.join()
    assert pool.stats().buffers == 0


def test_every_thread_has_a_pool_of_its_own(pool: SegmentPool) -> None:
    seen: list[SegmentPool] = []

    def work() -> None:
        seen.extend((thread_pool(), thread_pool()))
        Buffer(1000)
        seen[0].close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen[0] is seen[1]
    assert seen[0] is not pool
    assert thread_pool() is pool


def test_a_thread_that_ends_leaves_nothing_of_its_segments() -> None:
    before = open_fds(), mapped()
    kept: list[Buffer] = []

    def work() -> None:
        kept.append(Buffer(1000))
        Buffer(MIB)[:2] = b"ab"

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    kept[0][:2] = b"cd"
    assert kept.pop()[:3] == b"cd\0"
    gc.collect()
    assert (open_fds(), mapped()) == before


def test_a_buffer_outlives_the_pool_it_is_made_of(pool: SegmentPool) -> None:
    buffer = Buffer(1000)
    buffer[:2] = b"ab"
    pool.close()
    assert buffer[:2] == b"ab"
    after = Buffer(1000)
    assert (pool.stats().buffers, bytes(after)) == (1, bytes(1000))
    del buffer, after
    assert pool.stats().buffers == 0
    pool.close()


def test_without_room_a_buffer_has_memory_of_its_own_and_is_copied_when_it_leaves() -> None:
    small = SegmentPool(limit=64 * KIB)
    set_thread_pool(small)
    kept = Buffer(60_000)
    buffer = Buffer(60_000)
    buffer[:] = pattern(60_000)
    assert small.stats().buffers == 1
    assert buffer.lease_to(small, "peer") is None
    assert bytes(buffer) == pattern(60_000)
    buffer.free_copied()
    with pytest.raises(Moved):
        bytes(buffer)
    small.close()
    assert len(kept) == 60_000


# ---------------------------------------------------------------- moves


def test_a_moved_buffer_is_the_receivers_to_read_and_write(links: PeerLinks) -> None:
    buffer = Buffer(100_000)
    buffer[:] = pattern(100_000)
    there = links.move(buffer)
    assert bytes(there) == pattern(100_000)
    there[:2] = b"ab"
    assert there[:2] == b"ab"
    assert links.settle() == 0
    del there
    assert links.settle() == 1
    assert links.pool.stats().held == 0


USES: list[Callable[[Buffer], Any]] = [
    len, bytes, Buffer.view, lambda b: b[0], lambda b: b[:2], lambda b: b.__setitem__(0, 1),
    Buffer.check_move, Buffer.take, Buffer.free_copied, lambda b: b.lease_to(thread_pool(), "peer"),
    lambda b: check_moves([Move(b)]),
]  # fmt: skip


@pytest.mark.parametrize("use", USES)
def test_every_use_of_a_moved_buffer_says_that_it_was_moved(
    links: PeerLinks, use: Callable[[Buffer], Any]
) -> None:
    buffer = Buffer(1000)
    links.move(buffer)
    with pytest.raises(Moved, match="this buffer of 1000 bytes was moved; only its receiver has"):
        use(buffer)
    assert (repr(buffer), buffer.moved) == ("<Buffer of 1000 bytes, moved>", True)


@pytest.mark.parametrize(
    "look",
    [
        Buffer.view,
        lambda b: b.view()[3:5],
        lambda b: b.view().cast("H"),
        lambda b: b.view().toreadonly(),
        lambda b: iter(b.view()),
    ],
)
def test_a_buffer_somebody_looks_at_cannot_be_moved_and_nothing_changes(
    links: PeerLinks, look: Callable[[Buffer], Any]
) -> None:
    buffer = Buffer(1000)
    buffer[:3] = b"abc"
    seen = look(buffer)
    before = links.pool.stats()
    for attempt in (
        buffer.check_move,
        buffer.take,
        buffer.free_copied,
        lambda: buffer.lease_to(links.pool, "peer"),
    ):
        with pytest.raises(StillViewed, match="views of this buffer of 1000 bytes are alive"):
            attempt()
    assert issubclass(StillViewed, BufferError)
    assert links.pool.stats() == before
    assert buffer[:3] == b"abc"
    del seen
    assert links.move(buffer)[:3] == b"abc"


def test_a_buffer_moved_twice_in_one_message_moves_not_at_all() -> None:
    one, two = Buffer(10), Buffer(20)
    with pytest.raises(Moved, match="<Buffer of 10 bytes> is moved twice in one message"):
        check_moves([Move(one), Move(two), Move(one)])
    view = two.view()
    with pytest.raises(StillViewed):
        check_moves([Move(one), Move(two)])
    del view
    check_moves([Move(one), Move(two)])
    assert (one.moved, two.moved) == (False, False)


def test_a_move_within_the_process_keeps_the_memory_where_it_is(pool: SegmentPool) -> None:
    buffer = Buffer(100_000)
    buffer[:] = pattern(100_000)
    before = pool.stats()
    taken = buffer.take()
    assert bytes(taken) == pattern(100_000)
    assert (buffer.moved, taken.moved) == (True, False)
    assert pool.stats() == before
    del taken
    assert pool.stats().buffers == 0


def test_a_buffer_moves_back_and_forth_without_a_copy(links: PeerLinks) -> None:
    buffer = Buffer(MIB)
    buffer[:5] = b"there"
    resident = links.pool.stats().resident
    for turn in range(5):
        there = links.move(buffer)
        there[5] = turn
        descriptor = there.return_to(links.at("peer"), "owner")
        assert descriptor is not None
        assert there.moved
        buffer = Buffer.from_return(links.pool, "peer", list(descriptor))
        assert buffer[:6] == b"there" + bytes([turn])
        assert links.settle() == 0
        with pytest.raises(StaleLease):
            Buffer.from_return(links.pool, "peer", list(descriptor))
    stats = links.pool.stats()
    assert (stats.resident, stats.buffers, stats.leases) == (resident, 1, 0)


def test_the_number_of_an_earlier_move_is_no_good_for_a_later_one(links: PeerLinks) -> None:
    buffer = Buffer(1000)
    there = links.move(buffer)
    first = there.return_to(links.at("peer"), "owner")
    assert first is not None
    second = Buffer.from_return(links.pool, "peer", list(first)).lease_to(links.pool, "peer")
    assert second is not None
    with pytest.raises(StaleLease, match="is stale: its slot is at generation"):
        Buffer.from_lease(links.at("peer"), "owner", list(first))
    assert len(Buffer.from_lease(links.at("peer"), "owner", list(second.descriptor))) == 1000


def test_a_buffer_of_one_peer_goes_to_a_third_as_bytes(links: PeerLinks) -> None:
    there = links.move(Buffer(1000))
    assert there.return_to(links.at("peer"), "third") is None
    own = SegmentPool()
    assert there.lease_to(own, "third") is None
    assert not there.moved
    assert Buffer(1000).lease_to(own, "third") is None
    there.free_copied()
    assert links.settle() == 1
    own.close()


def test_a_moved_buffer_dropped_before_it_is_looked_at_comes_back(links: PeerLinks) -> None:
    del_me = [links.move(Buffer(1000)) for _ in range(10)]
    del_me.clear()
    assert links.settle() == 10
    assert links.pool.stats().leases == 0


def test_moving_a_buffer_takes_no_memory_whatever_its_size(links: PeerLinks) -> None:
    buffer = Buffer(200 * MIB)
    before = _own_shared()
    there = links.move(buffer)
    assert len(there) == 200 * MIB
    assert _own_shared() - before < MIB


def _own_shared() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123 - one line of the kernel's
        return int(file.read().split()[2]) * os.sysconf("SC_PAGE_SIZE")


def test_a_buffer_moves_to_another_process_and_back(pool: SegmentPool) -> None:
    peer = PeerProcess("borrow")
    buffer = Buffer(3 * MIB)
    buffer[:8] = b"original"
    lease = buffer.lease_to(pool, "peer")
    assert lease is not None
    assert lease.introduction is not None
    peer.send(("introduce", *lease.introduction.layout), (lease.introduction.fd,))
    peer.send(("adopt", *lease.descriptor))
    assert peer.hear() == f"{3 * MIB} {ord('i')}"
    peer.send(("move back",))
    text = peer.hear()
    back = Buffer.from_return(pool, "peer", [int(number) for number in text[1:-1].split(",")])
    assert back[:8] == b"peerinal"
    peer.close()


def test_what_a_killed_process_had_been_given_comes_back(pool: SegmentPool) -> None:
    peer = PeerProcess("borrow")
    for _ in range(5):
        lease = Buffer(MIB).lease_to(pool, "peer")
        assert lease is not None
        if lease.introduction is not None:
            peer.send(("introduce", *lease.introduction.layout), (lease.introduction.fd,))
        peer.send(("adopt", *lease.descriptor))
        assert peer.hear() == f"{MIB} 0"
    peer.close()
    assert pool.reclaim("peer") == 5
    assert (pool.stats().held, pool.stats().leases) == (0, 0)
