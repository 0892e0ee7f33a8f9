"""Other threads use refs, and block nobody but themselves."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import pytest

from actors import Actor, Exit, Ref, System, current
from actors.errors import ActorsError, CallCycle, DeadlineExceeded, SystemStopped
from actors.testing import running_system
from tests.contracts.node_under_test import NodeUnderTest

pytestmark = pytest.mark.within(20)

R = TypeVar("R")


class Adder(Actor):
    def __init__(self) -> None:
        self.n = 0

    async def add(self, by: int) -> int:
        self.n += by
        return self.n

    async def fail(self) -> None:
        raise LookupError("nothing there")

    async def hang(self) -> None:
        await anyio.sleep_forever()

    async def upto(self, n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number

    async def from_thread(self, other: Ref[Adder]) -> int:
        """Ask from a thread of this handler."""
        blocking = current().blocking(other)
        return await anyio.to_thread.run_sync(lambda: blocking.ask(Adder.add, 1))


async def in_thread(step: Callable[[], R]) -> R:
    return await anyio.to_thread.run_sync(step)


async def test_a_thread_asks_and_tells(node: NodeUnderTest) -> None:
    adder = node.system.blocking(await node.spawn(Adder))

    def work() -> int:
        adder.tell(Adder.add, 1)
        adder.tell(Adder.add, by=2)
        return adder.ask(Adder.add, 3)

    assert await in_thread(work) == 6


async def test_many_threads_share_a_ref(node: NodeUnderTest) -> None:
    ref = await node.spawn(Adder)
    adder = node.system.blocking(ref)
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(in_thread, lambda: [adder.ask(Adder.add, 1) for _ in range(20)])

    assert await ref.ask(Adder.add, 0) == 160


async def test_a_thread_gets_the_handlers_error(node: NodeUnderTest) -> None:
    adder = node.system.blocking(await node.spawn(Adder))

    with pytest.raises(LookupError, match="nothing there"):
        await in_thread(lambda: adder.ask(Adder.fail))


async def test_a_thread_has_deadlines(node: NodeUnderTest) -> None:
    adder = node.system.blocking(await node.spawn(Adder))

    with pytest.raises(DeadlineExceeded, match=r"no reply to hang in 0\.05 s"):
        await in_thread(lambda: adder.within(0.05).ask(Adder.hang))


async def test_a_thread_reads_a_stream(node: NodeUnderTest) -> None:
    adder = node.system.blocking(await node.spawn(Adder))

    def work() -> tuple[list[int], int]:
        with adder.stream(Adder.upto, 50) as items:
            everything = list(items)
        with adder.stream(Adder.upto, 1000) as items:
            return everything, next(items)

    assert await in_thread(work) == (list(range(50)), 0)


async def test_a_thread_waits_for_the_end(node: NodeUnderTest) -> None:
    ref = await node.spawn(Adder)
    adder = node.system.blocking(ref)
    ends: list[Exit] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(in_thread, lambda: ends.append(adder.wait()))
        await ref.stop()

    assert ends == [Exit.SHUTDOWN]


async def test_on_the_loops_own_thread_it_is_refused(node: NodeUnderTest) -> None:
    adder = node.system.blocking(await node.spawn(Adder))

    with pytest.raises(ActorsError, match="on the loop's own thread would wait for itself"):
        adder.ask(Adder.add, 1)


async def test_a_handlers_thread_is_part_of_its_chain_of_calls(node: NodeUnderTest) -> None:
    first, second = await node.spawn(Adder), await node.spawn(Adder)

    assert await first.ask(Adder.from_thread, second) == 1
    with pytest.raises(CallCycle):
        await first.ask(Adder.from_thread, first)


async def test_a_thread_that_waits_is_told_when_the_system_ends(anyio_backend: Any) -> None:
    failures: list[BaseException] = []
    asking = threading.Event()

    def work(system: System, ref: Ref[Adder]) -> None:
        adder = system.blocking(ref)
        asking.set()
        try:
            adder.ask(Adder.hang)
        except ActorsError as error:
            failures.append(error)

    async with running_system() as system:
        thread = threading.Thread(
            target=work, args=(system, await system.spawn(Adder, shutdown=0.1))
        )
        thread.start()
        await in_thread(asking.wait)
        adder = system.blocking(await system.spawn(Adder))
    await in_thread(thread.join)

    assert len(failures) == 1
    with pytest.raises(SystemStopped, match="takes no more blocking calls"):
        await in_thread(lambda: adder.ask(Adder.add, 1))
