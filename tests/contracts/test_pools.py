"""A pool is several supervised copies of an actor behind one address (C59, C68)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from actors import Actor, Exit, pool
from actors.errors import ActorStopped, InvalidSpec, NotFound
from tests.contracts.node_under_test import NodeUnderTest

pytestmark = pytest.mark.within(20)


class Worker(Actor):
    def __init__(self) -> None:
        self.done: list[Any] = []
        self.gate = anyio.Event()

    async def work(self, job: Any) -> str:
        self.done.append(job)
        return self.context.name

    async def fail(self) -> None:
        raise RuntimeError("broken")

    async def jobs(self) -> list[Any]:
        return self.done

    async def hold(self) -> str:
        await anyio.sleep_forever()
        return ""

    async def items(self, n: int) -> AsyncIterator[int]:
        for item in range(n):
            yield item

    async def where(self) -> int:
        return os.getpid()

    async def send(self, workers: Any, job: Any) -> str:
        name: str = await workers.ask(Worker.work, job)
        return name


@pytest.fixture(autouse=True)
async def _bounded(node: NodeUnderTest) -> AsyncIterator[None]:
    yield
    top = node.system.supervisor("")
    with suppress(NotFound):  # a test of words alone has none
        await top.stop_child("workers")
        await top.delete_child("workers")


async def _pool(node: NodeUnderTest, **options: Any) -> Any:
    return await node.system.start(
        pool(Worker, name="workers", on=node.on, **{"size": 4, **options})
    )


async def test_c59_messages_reach_every_member_in_turn(node: NodeUnderTest) -> None:
    workers = await _pool(node)

    names = [await workers.ask(Worker.work, job) for job in range(8)]

    assert Counter(names) == {f"workers/{number}": 2 for number in range(4)}


async def test_c59_tell_all_reaches_each_exactly_once(node: NodeUnderTest) -> None:
    workers = await _pool(node)

    await workers.tell_all(Worker.work, "all")

    assert [await member.ask(Worker.jobs) for member in (await workers.members())] == [["all"]] * 4


async def test_c59_the_others_serve_when_members_have_stopped(node: NodeUnderTest) -> None:
    workers = await _pool(node)
    for member in (await workers.members())[:2]:
        await member.stop()
        assert await member.wait() == Exit.SHUTDOWN

    names = [await workers.ask(Worker.work, job) for job in range(6)]

    assert Counter(names) == {"workers/2": 3, "workers/3": 3}


async def test_c59_a_pool_without_members_refuses(node: NodeUnderTest) -> None:
    workers = await _pool(node, size=2)
    for member in await workers.members():
        await member.stop()
        await member.wait()

    with pytest.raises(ActorStopped):
        await workers.ask(Worker.work, 1)


async def test_c68_what_is_queued_is_not_lost_with_a_member_that_crashes(
    node: NodeUnderTest,
) -> None:
    workers = await _pool(node, size=1)
    await workers.tell(Worker.fail)
    for job in range(5):
        await workers.tell(Worker.work, job)

    assert await workers.ask(Worker.jobs) == list(range(5))


async def test_a_member_that_is_busy_gets_nothing_while_another_is_free(
    node: NodeUnderTest,
) -> None:
    workers = await _pool(node, size=3)
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(workers.ask, Worker.hold)
        while (await workers.stats()).running < 2:  # noqa: ASYNC110 - no event says it
            await anyio.sleep(0.01)

        names = {await workers.ask(Worker.work, job) for job in range(6)}

        assert len(names) == 1
        tasks.cancel_scope.cancel()


async def test_a_pool_travels_in_a_message(node: NodeUnderTest) -> None:
    workers = await _pool(node, size=2)
    sender = await node.spawn(Worker)

    names = {await sender.ask(Worker.send, workers, job) for job in range(4)}

    assert names == {"workers/0", "workers/1"}


async def test_a_pool_has_streams_and_deadlines(node: NodeUnderTest) -> None:
    workers = await _pool(node, size=2)

    async with workers.stream(Worker.items, 3) as items:
        assert [item async for item in items] == [0, 1, 2]
    assert await workers.within(5).ask(Worker.work, 1)


async def test_a_pool_is_found_by_its_name(node: NodeUnderTest) -> None:
    workers = await _pool(node, size=2)

    found = await node.system.pool("workers")

    assert found is not None
    assert (await found.members()) == (await workers.members())
    assert await node.system.pool("nobody") is None


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": 0}, "size must be a whole number of 1 or more, got 0"),
        ({"size": True}, "size must be a whole number of 1 or more, got True"),
        ({"min": 3, "max": 2}, "min=3 is more than max=2"),
        ({"queue": -1}, "queue must be a whole number of 0 or more, or None, got -1"),
        ({"kind": "fiber"}, "kind must be one of 'process', 'thread', 'interpreter', got 'fiber'"),
        ({"size": 2, "mailbox": 0}, r"1 or more, Bounded\(...\) or Priority\(...\), got 0"),
    ],
)
def test_a_pool_that_can_never_work_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        pool(Worker, **options)
