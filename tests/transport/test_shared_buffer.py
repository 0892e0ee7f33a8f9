"""The same bytes in several processes, and integers that survive whoever changes them."""

import fcntl
import functools
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from hypothesis import given, strategies as st

from actors.transport import OutOfRange, SegmentError, SharedBuffer, Unsealed, WrongSize
from tests.transport.sample_values import open_fds
from tests.transport.shared_memory import MIB, PeerProcess, mapped, shmem

LOW, HIGH = -(2**63), 2**63 - 1


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    # Caught errors hold frames, which hold mappings.
    gc.collect()


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
        pytest.param(("trio", {}), id="trio"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def start() -> Iterator[Callable[..., PeerProcess]]:
    peers: list[PeerProcess] = []

    def start(program: str, shared: SharedBuffer, *message: Any) -> PeerProcess:
        peers.append(PeerProcess(program))
        peers[-1].send(message or ("go",), tuple(shared.duplicate_fds()))
        return peers[-1]

    yield start
    for peer in peers:
        peer.close()


# ---------------------------------------------------------------- bytes


def test_two_processes_write_into_one_buffer_and_both_see_it_all(
    start: Callable[..., PeerProcess],
) -> None:
    shared = SharedBuffer(12)
    shared[:6] = b"Hello "
    assert start("hello", shared).hear() == "Hello world!"
    assert bytes(shared) == b"Hello world!"


def test_a_shared_buffer_is_zeros_of_exactly_its_size() -> None:
    shared = SharedBuffer(13)
    assert (len(shared), bytes(shared), len(shared.atomics)) == (13, bytes(13), 1)
    shared[1] = 7
    shared.view()[2:4] = b"ab"
    assert (shared[1], shared[2:4], repr(shared)) == (7, b"ab", "<SharedBuffer of 13 bytes>")
    if sys.version_info >= (3, 12):
        assert bytes(memoryview(shared)) == bytes(shared)


def test_sent_twice_it_is_one_object_there_and_back_home() -> None:
    shared = SharedBuffer(8)
    assert SharedBuffer.from_fds(shared.duplicate_fds()) is shared
    fds = shared.duplicate_fds(), shared.duplicate_fds()
    maps = mapped()
    shared[0] = 1
    del shared
    assert mapped() == maps - 1
    first, second = map(SharedBuffer.from_fds, fds)
    assert first is second
    assert first[0] == 1


def test_its_memory_goes_with_the_last_process_that_has_it(
    start: Callable[..., PeerProcess],
) -> None:
    before = shmem()
    shared = SharedBuffer(64 * MIB)
    shared.view()[::4096] = b"x" * (16 * 1024)
    peer = start("wait", shared)
    assert peer.hear() == "waiting"
    del shared
    gc.collect()
    assert shmem() > before + 32 * MIB
    peer.kill()
    assert shmem() < before + 32 * MIB


def test_views_and_atomics_outlive_the_buffer_they_came_from() -> None:
    shared = SharedBuffer(8)
    view, atomics = shared.view(), shared.atomics
    del shared
    atomics.add(0, 5)
    atomics.notify()
    assert view[0] == 5


def test_nothing_of_it_stays_open() -> None:
    before = open_fds(), mapped()
    for _ in range(20):
        shared = SharedBuffer(100)
        SharedBuffer.from_fds(shared.duplicate_fds())
        del shared
    assert (open_fds(), mapped()) == before


@pytest.mark.parametrize("size", [0, -5])
def test_a_size_below_one_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"a buffer holds 1 byte or more, got {size}"):
        SharedBuffer(size)


def _memfd(size: int, *seals: int) -> int:
    fd = os.memfd_create("hostile", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, sum(seals))
    return fd


BOTH = fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW
FLAGS = os.EFD_CLOEXEC | os.EFD_NONBLOCK


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: [_memfd(8, *BOTH)], OutOfRange, "comes as 2 descriptors, got 1"),
        (list, OutOfRange, "comes as 2 descriptors, got 0"),
        (lambda: [_memfd(8, fcntl.F_SEAL_GROW), os.eventfd(0, FLAGS)], Unsealed, "may change"),
        (lambda: [_memfd(0, *BOTH), os.eventfd(0, FLAGS)], WrongSize, "a segment of 0 bytes"),
        (lambda: [os.eventfd(0, FLAGS), _memfd(8, *BOTH)], Unsealed, "is no segment"),
        (
            lambda: [_memfd(8, *BOTH), os.dup(0)],
            Unsealed,
            "where a notifier that never blocks belongs",
        ),
        (
            lambda: [_memfd(8, *BOTH), os.eventfd(0, os.EFD_CLOEXEC)],
            Unsealed,
            "eventfd.*where a notifier that never blocks belongs",
        ),
    ],
)
def test_descriptors_that_are_no_shared_buffer_are_refused_and_closed(
    make: Callable[[], list[int]], error: type[SegmentError], text: str
) -> None:
    before = open_fds(), mapped()
    with pytest.raises(error, match=text) as caught:
        SharedBuffer.from_fds(make())
    assert type(caught.value) is error
    del caught
    gc.collect()
    assert (open_fds(), mapped()) == before


# ---------------------------------------------------------------- atomics

words = st.integers(LOW, HIGH)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["store", "exchange", "add", "compare_exchange"]),
            st.integers(0, 2),
            words,
            words,
        )
    )
)
def test_atomics_are_integers_that_wrap_at_64_bits(steps: list[tuple[str, int, int, int]]) -> None:
    shared = SharedBuffer(24)
    atomics, model = shared.atomics, [0, 0, 0]
    for verb, index, value, expected in steps:
        before = model[index]
        match verb:
            case "store":
                atomics.store(index, value)
                model[index] = value
            case "exchange":
                assert atomics.exchange(index, value) == before
                model[index] = value
            case "add":
                assert atomics.add(index, value) == before
                model[index] = (before + value - LOW) % 2**64 + LOW
            case _:
                hoped = before if value % 2 else expected
                found = atomics.compare_exchange(index, hoped, value)
                assert found == (before, before == hoped)
                model[index] = value if found.done else before
        assert [atomics.load(n) for n in range(3)] == model
    assert shared.view().cast("q").tolist() == model


@pytest.mark.parametrize("index", [-1, 2, "0", 1.0, True])
def test_a_cell_that_does_not_exist_is_an_index_error(index: Any) -> None:
    atomics = SharedBuffer(16).atomics
    for use in (atomics.load, atomics.add, lambda i: atomics.store(i, 1)):
        with pytest.raises(IndexError, match=f"there are 2 cells, from 0; got {index!r}"):
            use(index)


@pytest.mark.parametrize("value", [HIGH + 1, LOW - 1])
def test_a_value_beyond_64_bits_is_refused_and_changes_nothing(value: int) -> None:
    atomics = SharedBuffer(8).atomics
    for use in (
        lambda: atomics.store(0, value),
        lambda: atomics.add(0, value),
        lambda: atomics.compare_exchange(0, 0, value),
        lambda: atomics.compare_exchange(0, value, 0),
    ):
        with pytest.raises(OverflowError, match=f"signed integer of 64 bits, got {value}"):
            use()
    assert atomics.load(0) == 0


def test_processes_and_threads_that_add_at_once_lose_nothing(
    start: Callable[..., PeerProcess],
) -> None:
    shared = SharedBuffer(8)
    peers = [start("add", shared, 2000) for _ in range(2)]
    for peer in peers:
        assert peer.hear() == "ready"

    def add() -> None:
        for _ in range(1000):
            shared.atomics.add(0, 1)

    threads = [threading.Thread(target=add) for _ in range(2)]
    for peer in peers:
        peer.sock.sendall(b"!")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [peer.hear() for peer in peers] == ["done", "done"]
    assert shared.atomics.load(0) == 6000


def test_the_lock_of_a_killed_process_is_free_and_the_cell_as_it_was(
    start: Callable[..., PeerProcess],
) -> None:
    shared = SharedBuffer(16)
    shared.atomics.store(0, 41)
    peer = start("hold", shared)
    assert peer.hear() == "locked 41"
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.append(shared.atomics.add(0, 1)))
    thread.start()
    other = start("hold", SharedBuffer(8))
    assert other.hear() == "locked 0"
    assert shared.atomics.load(0) == 41
    assert got == []
    peer.kill()
    thread.join(20)
    assert got == [41]
    assert shared.atomics.load(0) == 42


def test_a_change_under_way_holds_up_only_its_own_cell(start: Callable[..., PeerProcess]) -> None:
    shared = SharedBuffer(16)
    peer = start("hold", shared)
    assert peer.hear() == "locked 0"
    assert shared.atomics.add(1, 3) == 0
    assert (shared.atomics.load(0), shared.atomics.load(1)) == (0, 3)


def test_a_thread_waits_for_the_change_of_another() -> None:
    atomics = SharedBuffer(8).atomics
    thread = threading.Thread(target=lambda: atomics.add(0, 1))

    def change(before: int) -> int:
        thread.start()
        # It cannot end before this does.
        thread.join(0.2)
        assert thread.is_alive()
        return before + 10

    atomics._change(0, change)
    thread.join(20)
    assert atomics.load(0) == 11


def test_a_change_that_raises_leaves_the_cell_and_its_lock_alone() -> None:
    atomics = SharedBuffer(8).atomics

    def fail(before: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomics._change(0, fail)
    assert atomics.add(0, 1) == 0


# ---------------------------------------------------------------- waiting


async def test_a_value_that_is_already_different_is_not_waited_for() -> None:
    shared = SharedBuffer(8)
    shared.atomics.store(0, 7)
    with anyio.fail_after(20):
        assert await shared.atomics.wait(0, 0) == 7


async def test_everybody_who_waits_hears_of_a_change_and_only_when_notified() -> None:
    shared = SharedBuffer(24)
    got: list[tuple[int, int]] = []

    async def wait(index: int) -> None:
        got.append((index, await shared.atomics.wait(index, 0)))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for index in (0, 0, 1, 2):
                tasks.start_soon(wait, index)
            await anyio.wait_all_tasks_blocked()
            shared.atomics.store(0, 5)
            await anyio.wait_all_tasks_blocked()
            assert got == []
            shared.atomics.notify()
            while len(got) < 2:
                await anyio.lowlevel.checkpoint()
            assert got == [(0, 5), (0, 5)]
            shared.atomics.store(1, 6)
            shared.atomics.store(2, 6)
            shared.atomics.notify()
    assert sorted(got) == [(0, 5), (0, 5), (1, 6), (2, 6)]


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_waiting_in_two_processes_is_ended_by_either(
    start: Callable[..., PeerProcess],
) -> None:
    shared = SharedBuffer(16)
    peers = [start("wait", shared) for _ in range(2)]
    for peer in peers:
        assert await anyio.to_thread.run_sync(peer.hear) == "waiting"
    shared.atomics.store(0, 10)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shared.atomics.wait, 1, 0)
            await anyio.wait_all_tasks_blocked()
            shared.atomics.notify()
    assert shared.atomics.load(1) == 11
    for peer in peers:
        assert await anyio.to_thread.run_sync(peer.hear) == "10"


async def test_waiting_can_be_cancelled_and_leaves_nothing_open() -> None:
    shared = SharedBuffer(8)
    before = open_fds()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(shared.atomics.wait, 0, 0)
            await anyio.wait_all_tasks_blocked()
            assert open_fds() == before + 5
            tasks.cancel_scope.cancel()
    assert open_fds() == before
    shared.atomics.notify()


async def test_who_waits_looks_again_once_per_notice_and_sleeps_in_between() -> None:
    shared = SharedBuffer(8)
    notifier, looks = shared.atomics._notifier, []

    class CountingWaiter:
        def __init__(self) -> None:
            self.inner = notifier.waiter()
            self.close = self.inner.close

        async def wait(self) -> None:
            await self.inner.wait()
            looks.append(shared.atomics.load(0))

    class CountingNotifier:
        notify = staticmethod(notifier.notify)
        waiter = CountingWaiter

    shared.atomics._notifier = CountingNotifier()  # type: ignore[assignment]
    shared.atomics.notify()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shared.atomics.wait, 0, 0)
            await anyio.wait_all_tasks_blocked()
            for count in range(4):
                assert looks == [0] * count
                shared.atomics.notify()
                while len(looks) == count:
                    await anyio.lowlevel.checkpoint()
                for _ in range(20):
                    await anyio.lowlevel.checkpoint()
            shared.atomics.store(0, 1)
            shared.atomics.notify()
    assert looks == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_waiter_that_was_killed_takes_no_wake_from_the_others(
    start: Callable[..., PeerProcess],
) -> None:
    shared = SharedBuffer(16)
    doomed, lives = start("wait", shared), start("wait", shared)
    for peer in (doomed, lives):
        assert await anyio.to_thread.run_sync(peer.hear) == "waiting"
    os.kill(doomed.process.pid, signal.SIGSTOP)
    shared.atomics.store(0, 3)
    shared.atomics.notify()
    assert await anyio.to_thread.run_sync(lives.hear) == "3"
    doomed.kill()
    assert await anyio.to_thread.run_sync(functools.partial(shared.atomics.add, 0)) == 3
