"""Shared memory that is lent: what the borrower sees, what comes back, and what a hostile one may do."""

import ast
import fcntl
import gc
import os
import resource
import socket
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from actors.transport import (
    Availability,
    FrameError,
    LeaseDescriptor,
    OutOfRange,
    SegmentError,
    SegmentMappings,
    SegmentPool,
    StaleLease,
    Unsealed,
    WrongSize,
)
from actors.transport.memory.free_list import FreeList, _warmest
from actors.transport.memory.segment import Slot
from tests.transport.sample_values import open_fds
from tests.transport.shared_memory import KIB, MIB, PeerLinks, PeerProcess, behind, mapped, pattern


@pytest.fixture
def pool() -> Iterator[SegmentPool]:
    pool = SegmentPool(limit=64 * MIB)
    yield pool
    pool.close()


@pytest.fixture
def links(pool: SegmentPool) -> Iterator[PeerLinks]:
    links = PeerLinks(pool)
    yield links
    links.close()
    # Caught errors hold frames, which hold mappings.
    gc.collect()


@pytest.fixture
def borrower() -> Iterator[PeerProcess]:
    peer = PeerProcess("borrow")
    yield peer
    peer.close()


# ---------------------------------------------------------------- lending


@pytest.mark.parametrize("size", [1, 4095, 64 * KIB, 65_521, 200_000, 9 * MIB])
def test_what_is_lent_arrives_whole_and_cannot_be_written(links: PeerLinks, size: int) -> None:
    data = pattern(size)
    view = links.send(data)
    assert bytes(view) == data
    assert (len(view), view.format, view.readonly) == (size, "B", True)


def test_the_borrower_sees_what_was_lent_whatever_happens_to_the_source(links: PeerLinks) -> None:
    source = bytearray(b"a" * 100_000)
    lease = links.pool.lease(memoryview(source), "peer", cold=True)
    assert lease is not None
    links.introduce("peer", lease.introduction)
    source[:] = b"b" * 100_000
    assert bytes(links.at("peer").open("owner", lease.descriptor)) == b"a" * 100_000


def test_any_view_in_one_piece_is_lent_as_its_bytes(links: PeerLinks) -> None:
    numbers = memoryview(pattern(80_000)).cast("q", (100, 100))
    lease = links.pool.lease(numbers, "peer", cold=True)
    assert lease is not None
    links.introduce("peer", lease.introduction)
    assert bytes(links.at("peer").open("owner", lease.descriptor)) == pattern(80_000)


def test_a_segment_is_introduced_to_each_peer_once(links: PeerLinks) -> None:
    leases = [links.pool.lease(memoryview(b"x"), peer, cold=True) for peer in ("a", "b", "a", "b")]
    introductions = [lease.introduction for lease in leases if lease is not None]
    assert [one is not None for one in introductions] == [True, True, False, False]
    for peer, introduction in zip(("a", "b", "a", "b"), introductions, strict=True):
        links.introduce(peer, introduction)


def test_a_lease_ends_with_the_last_view_of_it_and_not_before(links: PeerLinks) -> None:
    view = links.send(pattern(100_000))
    part = view[10:20]
    nested = memoryview(part.cast("B"))
    view.release()
    del view, part
    gc.collect()
    assert links.settle() == 0
    assert bytes(nested) == pattern(100_000)[10:20]
    del nested
    assert links.settle() == 1
    assert links.pool.stats().leases == 0


def test_a_slot_is_used_again_only_after_it_came_back(links: PeerLinks) -> None:
    first = links.send(pattern(100_000, 1))
    second = links.send(pattern(100_000, 2))
    assert (bytes(first), bytes(second)) == (pattern(100_000, 1), pattern(100_000, 2))
    del first
    assert links.settle() == 1
    resident = links.pool.stats().resident
    third = links.send(pattern(100_000, 3), cold=False)
    assert (bytes(second), bytes(third)) == (pattern(100_000, 2), pattern(100_000, 3))
    assert links.pool.stats().resident == resident


def test_leases_that_end_in_other_threads_and_collections_come_back(links: PeerLinks) -> None:
    class Cycle:
        def __init__(self, view: memoryview) -> None:
            self.view = view
            self.me = self

    views = [links.send(pattern(1000)) for _ in range(50)]
    cycles = [Cycle(views.pop()) for _ in range(25)]
    thread = threading.Thread(target=views.clear)
    thread.start()
    thread.join()
    cycles.clear()
    gc.collect()
    assert links.settle() == 50
    assert links.pool.stats().leases == 0


def test_the_end_of_a_lease_wakes_its_loop_once_per_batch(pool: SegmentPool) -> None:
    wakes: list[int] = []
    links = PeerLinks(pool)
    links.mappings["peer"] = SegmentMappings(wake=lambda: wakes.append(1))
    views = [links.send(b"x") for _ in range(10)]
    views.clear()
    assert wakes == [1]
    assert links.settle() == 10
    view = links.send(b"x")
    del view
    assert wakes == [1, 1]
    links.close()


def test_a_cancelled_lease_leaves_nothing_behind(links: PeerLinks) -> None:
    before = open_fds()
    lease = links.pool.lease(memoryview(b"x" * 100_000), "peer", cold=True)
    assert lease is not None
    assert lease.introduction is not None
    links.pool.cancel(lease, "peer")
    stats = links.pool.stats()
    assert (stats.leases, stats.held, open_fds() - before) == (0, 0, 1 + _DUPLICATES)
    assert bytes(links.send(b"next")) == b"next"


# Before Python 3.13 every mapping keeps a descriptor of its own.
_DUPLICATES = 0 if sys.version_info >= (3, 13) else 1


# ---------------------------------------------------------------- cold, warm, full


def test_a_cold_slot_is_refused_until_it_is_warmed_in_small_steps(pool: SegmentPool) -> None:
    data = memoryview(pattern(1 * MIB))
    assert pool.availability(len(data), "peer") is Availability.COLD
    assert pool.lease(data, "peer") is None
    assert pool.stats().resident == 0
    steps = 1
    while pool.warm(256 * KIB):
        assert pool.stats().resident == steps * 256 * KIB
        steps += 1
    assert steps == 4
    assert pool.availability(len(data), "peer") is Availability.WARM
    lease = pool.lease(data, "peer")
    assert lease is not None
    pool.cancel(lease, "peer")
    stats = pool.stats()
    assert (stats.refused_cold, stats.refused_full, stats.resident) == (1, 0, MIB)


def test_as_many_slots_are_warmed_as_were_wanted_at_once(pool: SegmentPool) -> None:
    data = memoryview(bytes(100 * KIB))
    for _ in range(3):
        assert pool.lease(data, "peer") is None
    while pool.warm():
        pass
    leases = [pool.lease(data, "peer") for _ in range(4)]
    assert [lease is not None for lease in leases] == [True, True, True, False]
    for lease in leases:
        if lease is not None and lease.introduction is not None:
            os.close(lease.introduction.fd)


@pytest.mark.parametrize(
    "warm, index",
    [
        ([0], 0),
        ([9, 9], 1),
        ([9, 9, 5], 1),
        ([9, 5, 5], 0),
        ([0, 7, 5], 1),
        ([0, 7, 7], 2),
        ([7, 5, 0], 0),
        ([9] + [0] * 8, 8),
        ([9] + [0] * 7, 0),
    ],
)
def test_of_the_slots_on_top_the_first_that_is_warm_enough_is_taken_or_the_warmest(
    warm: list[int], index: int
) -> None:
    slots: Any = [SimpleNamespace(warm=size) for size in warm]
    assert _warmest(slots, 9) == index


def test_no_slot_is_warmed_beyond_the_limit() -> None:
    slots = FreeList(limit=1 * MIB)
    used = slots.acquire(1 * MIB)
    assert isinstance(used, Slot)
    slots.write(used, memoryview(pattern(1 * MIB)))
    slots.request_warm(64 * KIB)
    assert not slots.warm(1 * MIB)
    assert slots.resident == 1 * MIB
    slots.close()


def test_a_full_segment_refuses_and_takes_again_what_comes_back() -> None:
    pool = SegmentPool(limit=1 * MIB, per_peer=1 * MIB)
    links = PeerLinks(pool)
    views = [links.send(pattern(256 * KIB, n)) for n in range(4)]
    data = bytes(64 * KIB)
    assert pool.availability(len(data), "other") is Availability.FULL
    assert pool.lease(memoryview(data), "other", cold=True) is None
    assert [bytes(view) for view in views] == [pattern(256 * KIB, n) for n in range(4)]
    views.pop()
    assert links.settle() == 1
    assert bytes(links.send(data, "other")) == data
    stats = pool.stats()
    assert stats.resident <= stats.peak_resident <= 1 * MIB
    assert (stats.refused_full, stats.peak_held) == (1, 1 * MIB)
    views.clear()
    links.close()
    pool.close()


def test_a_peer_that_gives_nothing_back_leaves_room_for_the_others() -> None:
    pool = SegmentPool(limit=2 * MIB)
    links = PeerLinks(pool)
    kept = []
    while pool.availability(128 * KIB, "hung") is not Availability.FULL:
        kept.append(links.send(bytes(128 * KIB), "hung"))
    assert len(kept) == 8
    assert pool.lease(memoryview(bytes(128 * KIB)), "hung", cold=True) is None
    kept.append(links.send(bytes(128 * KIB), "brisk"))
    kept.clear()
    links.close()
    pool.close()


def test_idle_memory_goes_back_and_empty_segments_are_retired(links: PeerLinks) -> None:
    pool = links.pool
    before = mapped()
    view = links.send(pattern(4 * MIB))
    kept = links.send(pattern(100_000, 5))
    del view
    links.settle()
    assert pool.trim() == 0
    assert pool.stats().resident >= 4 * MIB
    assert pool.trim() == 4 * MIB
    assert behind(pool) == 25 * 4 * KIB + 4 * KIB
    stats = pool.stats()
    assert (stats.resident, stats.segments) == (25 * 4 * KIB, 1)
    assert bytes(kept) == pattern(100_000, 5)
    numbers = pool.take_retired("peer")
    assert len(numbers) == 1
    assert pool.take_retired("peer") == []
    links.at("peer").retire("owner", numbers)
    gc.collect()
    assert mapped() == before + 2
    assert bytes(links.send(pattern(4 * MIB))) == pattern(4 * MIB)


def test_memory_goes_back_in_steps_no_bigger_than_asked_for(links: PeerLinks) -> None:
    view = links.send(pattern(1 * MIB))
    del view
    links.settle()
    links.pool.trim()
    assert [links.pool.trim(400 * KIB) for _ in range(4)] == [400 * KIB, 400 * KIB, 224 * KIB, 0]
    assert links.pool.stats().segments == 0


def test_cooled_memory_is_zero_when_it_is_used_again(links: PeerLinks) -> None:
    view = links.send(b"x" * 1_000_000)
    del view
    links.settle()
    links.pool.trim()
    links.pool.trim(500 * KIB)
    held = links.pool.allocate_own(1_000_000, zero=True)
    assert held is not None
    assert bytes(held.region.view()) == bytes(1_000_000)


def test_memory_in_use_is_never_trimmed(links: PeerLinks) -> None:
    views = {n: links.send(pattern(70_000 + n, n)) for n in range(20)}
    for _ in range(5):
        links.pool.trim()
    assert all(bytes(view) == pattern(70_000 + n, n) for n, view in views.items())


def _spare() -> int | None:
    try:
        return os.dup(0)
    except OSError:
        return None


def test_without_descriptors_left_nothing_is_lent_and_nothing_lost(links: PeerLinks) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    links.send(bytes(100))
    fds = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_fds() + 20, hard))
        while (fd := _spare()) is not None:
            fds.append(fd)
        assert links.pool.lease(memoryview(bytes(100)), "new peer", cold=True) is None
        assert links.pool.lease(memoryview(bytes(MIB)), "peer", cold=True) is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fds:
            os.close(fd)
    links.settle()
    assert links.pool.stats().held == 0
    assert bytes(links.send(b"again")) == b"again"


def test_limits_are_checked_at_the_door() -> None:
    with pytest.raises(ValueError, match=r"per_peer must be in 1\.\.limit, got 9000 of 8192"):
        SegmentPool(limit=8192, per_peer=9000)
    with pytest.raises(ValueError, match="limit must be 4096 bytes or more, got 0"):
        SegmentPool(limit=0, per_peer=0)


# ---------------------------------------------------------------- processes that die


def _lend(pool: SegmentPool, peer: PeerProcess, data: bytes) -> LeaseDescriptor:
    lease = pool.lease(memoryview(data), "peer", cold=True)
    assert lease is not None
    if lease.introduction is not None:
        peer.send(("introduce", *lease.introduction.layout), (lease.introduction.fd,))
    peer.send(("open", *lease.descriptor))
    assert peer.hear() == f"{len(data)} {data[0]} {data[-1]}"
    return lease.descriptor


def test_another_process_reads_what_it_was_lent_and_gives_it_back(
    pool: SegmentPool, borrower: PeerProcess
) -> None:
    lent = [_lend(pool, borrower, pattern(size, size)) for size in (10, 70_000, 3 * MIB)]
    borrower.send(("return",))
    batch = ast.literal_eval(borrower.hear())
    back = {tuple(batch[at : at + 3]) for at in range(0, len(batch), 3)}
    assert back == {(at.segment, at.offset, at.generation) for at in lent}
    pool.release(batch, "peer")
    assert pool.stats().leases == 0


def test_a_killed_borrowers_leases_come_back_and_the_memory_with_them(
    pool: SegmentPool, borrower: PeerProcess
) -> None:
    for n in range(8):
        _lend(pool, borrower, pattern(4 * MIB, n))
    borrower.kill()
    assert pool.stats().leases == 8
    assert pool.reclaim("peer") == 8
    stats = pool.stats()
    assert (stats.leases, stats.held, stats.reclaimed) == (0, 0, 8)
    assert pool.availability(4 * MIB, "next") is Availability.WARM
    assert behind(pool) == 32 * MIB + 4 * KIB
    pool.trim()
    assert pool.trim(64 * MIB) == 32 * MIB
    assert pool.stats().segments == 0


def test_what_ends_after_its_node_is_not_kept_by_pool_or_mappings(links: PeerLinks) -> None:
    held = links.pool.allocate_own(100_000, zero=False)
    assert held is not None
    segment = weakref.ref(held.slot.segment)
    view = links.send(pattern(100_000))
    mappings = links.at("peer")
    links.pool.close()
    mappings.close()
    before = mapped()
    del held, view
    assert segment() is None
    assert mapped() == before - 2


def test_what_a_dead_owner_lent_stays_readable_and_goes_with_its_last_view(
    links: PeerLinks,
) -> None:
    fds, maps = open_fds(), mapped()
    view = links.send(pattern(100_000))
    other = links.send(pattern(100_000, 1))
    del other
    links.pool.close()
    links.at("peer").forget("owner")
    gc.collect()
    assert bytes(view) == pattern(100_000)
    assert links.at("peer").take_returned() == {}
    del view
    links.mappings.clear()
    links.pool = SegmentPool()
    assert links.at("peer").take_returned() == {}
    gc.collect()
    assert open_fds() <= fds + _DUPLICATES
    assert mapped() <= maps + 1


# ---------------------------------------------------------------- hostile peers


def _stale(lease: LeaseDescriptor) -> Any:
    return lease._replace(generation=lease.generation - 1)


@pytest.mark.parametrize(
    "spoil, error, text",
    [
        (lambda d: d._replace(segment=99), OutOfRange, "segment 99 was never introduced"),
        (lambda d: d._replace(offset=0), OutOfRange, "are no slot of"),
        (lambda d: d._replace(offset=d.offset + 1), OutOfRange, "are no slot of"),
        (lambda d: d._replace(offset=d.offset + (1 << 40)), OutOfRange, "are no slot of"),
        (lambda d: d._replace(length=64 * KIB + 1), OutOfRange, "65537 bytes at"),
        (lambda d: d._replace(length=0), OutOfRange, "0 bytes at"),
        (lambda d: d._replace(length=-1), OutOfRange, "4 numbers from 0 up"),
        (lambda d: d._replace(length=1.5), OutOfRange, "4 numbers from 0 up"),
        (lambda d: d._replace(length=True), OutOfRange, "4 numbers from 0 up"),
        (lambda d: d[:3], OutOfRange, "4 numbers from 0 up"),
        (repr, OutOfRange, "4 numbers from 0 up"),
        (lambda d: d and None, OutOfRange, "4 numbers from 0 up"),
        (lambda d: d._replace(offset=d.offset + 64 * KIB), StaleLease, "at generation 0"),
        (_stale, StaleLease, "at generation 1"),
        (lambda d: d._replace(generation=d.generation + 2), StaleLease, "at generation 1"),
        (lambda d: d._replace(generation=1 << 80), StaleLease, "at generation 1"),
    ],
)  # fmt: skip
def test_a_descriptor_that_lies_has_its_own_error(
    links: PeerLinks, spoil: Callable[[Any], Any], error: type[SegmentError], text: str
) -> None:
    lease = links.lease(b"x" * 1000, "peer")
    with pytest.raises(error, match=text) as caught:
        links.at("peer").open("owner", spoil(lease.descriptor))
    assert isinstance(caught.value, FrameError)
    assert type(caught.value) is error
    assert bytes(links.at("peer").open("owner", lease.descriptor)) == b"x" * 1000


def test_a_descriptor_is_good_once(links: PeerLinks) -> None:
    lease = links.lease(b"x" * 1000, "peer")
    mappings = links.at("peer")
    view = mappings.open("owner", lease.descriptor)
    with pytest.raises(StaleLease, match="was opened before"):
        mappings.open("owner", lease.descriptor)
    del view
    links.settle()
    with pytest.raises(StaleLease, match="at generation 2"):
        mappings.open("owner", lease.descriptor)


def test_a_lease_of_one_peer_is_none_of_anothers(links: PeerLinks) -> None:
    lease = links.lease(b"x" * 1000, "a")
    with pytest.raises(OutOfRange, match="never introduced by this peer"):
        links.at("a").open("somebody", lease.descriptor)
    where = [lease.descriptor.segment, lease.descriptor.offset, lease.descriptor.generation]
    with pytest.raises(StaleLease, match="gave back what it does not have"):
        links.pool.release(where, "b")
    links.pool.release(where, "a")
    with pytest.raises(StaleLease, match="gave back what it does not have"):
        links.pool.release(where, "a")


@pytest.mark.parametrize("batch", [[1, 2], [1, 2, "3"], [1, -2, 3], [9, 9, 9], [1, 4096, 2], {}, 5])
def test_a_hostile_return_has_its_own_error_and_frees_nothing(links: PeerLinks, batch: Any) -> None:
    view = links.send(b"x" * 1000)
    with pytest.raises(SegmentError):
        links.pool.release(batch, "peer")
    assert links.pool.stats().leases == 1
    assert bytes(view) == b"x" * 1000


def _memfd(size: int, seals: int | None) -> int:
    fd = os.memfd_create("hostile", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if seals is not None:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def _socket() -> int:
    return socket.socket().detach()


BOTH = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
SIZE = 4096 + 64 * KIB


@pytest.mark.parametrize(
    "make, plan, error, text",
    [
        (lambda: _memfd(SIZE, None), (1, 64 * KIB, 1), Unsealed, r"change its size \(seals 0x0\)"),
        (lambda: _memfd(SIZE, fcntl.F_SEAL_GROW), (1, 64 * KIB, 1), Unsealed, "seals 0x4"),
        (lambda: _memfd(SIZE, fcntl.F_SEAL_SHRINK), (1, 64 * KIB, 1), Unsealed, "seals 0x2"),
        (lambda: os.open("/dev/null", os.O_RDWR), (1, 64 * KIB, 1), Unsealed, "no segment"),
        (_socket, (1, 64 * KIB, 1), Unsealed, "no segment"),
        (lambda: _memfd(SIZE - 1, BOTH), (1, 64 * KIB, 1), WrongSize, "69631 bytes and said 69632"),
        (lambda: _memfd(SIZE, BOTH), (1, 64 * KIB, 2), WrongSize, "69632 bytes and said"),
        (lambda: _memfd(0, BOTH), (1, 64 * KIB, 1), WrongSize, "segment of 0 bytes"),
        (lambda: _memfd(SIZE, BOTH), (1, 64 * KIB, 0), WrongSize, "no segment is laid out like"),
        (
            lambda: _memfd(SIZE, BOTH),
            (1, 64 * KIB, 10**9),
            WrongSize,
            "no segment is laid out like",
        ),
        (lambda: _memfd(SIZE, BOTH), (1, 65 * KIB, 1), WrongSize, "no segment is laid out like"),
        (lambda: _memfd(SIZE, BOTH), (1, 1, 1), WrongSize, "no segment is laid out like"),
        (lambda: _memfd(SIZE, BOTH), (1, 1 << 70, 1), WrongSize, "69632 bytes and said"),
        (lambda: _memfd(SIZE, BOTH), (1, "64", 1), OutOfRange, "3 numbers from 0 up"),
        (lambda: _memfd(SIZE, BOTH), (1,), OutOfRange, "3 numbers from 0 up"),
    ],
)
def test_a_segment_that_is_not_what_it_should_be_is_never_mapped(
    make: Callable[[], int], plan: Any, error: type[SegmentError], text: str
) -> None:
    before = open_fds(), mapped()
    with pytest.raises(error, match=text) as caught:
        SegmentMappings().introduce("owner", plan, make())
    assert type(caught.value) is error
    assert (open_fds(), mapped()) == before


def test_a_borrower_can_neither_resize_a_segment_nor_seal_it(links: PeerLinks) -> None:
    lease = links.pool.lease(memoryview(b"x" * 1000), "peer", cold=True)
    assert lease is not None
    assert lease.introduction is not None
    plan, fd = lease.introduction
    for attempt in (
        lambda: os.ftruncate(fd, 4096),
        lambda: os.ftruncate(fd, plan.size + 4096),
        lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
    ):
        with pytest.raises(PermissionError):
            attempt()
    links.introduce("peer", lease.introduction)
    assert bytes(links.at("peer").open("owner", lease.descriptor)) == b"x" * 1000


def test_a_segment_is_introduced_only_once(links: PeerLinks) -> None:
    links.send(b"x")
    with pytest.raises(StaleLease, match="segment 1 was introduced before"):
        links.at("peer").introduce("owner", (1, 64 * KIB, 1), _memfd(SIZE, BOTH))
    with pytest.raises(OutOfRange, match="segment 7 was never introduced"):
        links.at("peer").retire("owner", [7])


def test_a_hostile_descriptor_allocates_nothing(links: PeerLinks) -> None:
    links.send(b"x")
    tracemalloc.start()
    for length in (1 << 30, 1 << 62, 1 << 200):
        with pytest.raises(OutOfRange):
            links.at("peer").open("owner", (1, 4096, length, 1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MIB


def test_what_a_borrower_writes_into_the_segment_misleads_nobody_but_itself(
    links: PeerLinks,
) -> None:
    lease = links.pool.lease(memoryview(b"x" * 1000), "peer", cold=True)
    assert lease is not None
    assert lease.introduction is not None
    fd = os.dup(lease.introduction.fd)
    links.introduce("peer", lease.introduction)
    os.pwrite(fd, b"\xff" * 4096, 0)
    os.close(fd)
    with pytest.raises(StaleLease):
        links.at("peer").open("owner", lease.descriptor)
    links.pool.release([lease.descriptor[n] for n in (0, 1, 3)], "peer")
    assert links.pool.stats().leases == 0
    assert bytes(links.send(b"next")) == b"next"
