"""Several tasks may read one stream: each item goes to one of them, and the end to all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from actors import Actor, System, Topology, nodes, pool
from actors.testing import running_system
from tests.pools.functions import square, square_later

PATIENCE = 30


class Source(Actor):
    """Makes items, one after another."""

    async def items(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            await anyio.sleep(0.001)
            yield number

    async def fails(self) -> AsyncIterator[int]:
        yield 0
        raise LookupError("no more")


class Member(Actor):
    """Joins a group, and leaves it with its end."""

    async def on_start(self) -> None:
        await self.context.join("lobby")


async def read_by_all(items: Any, readers: int = 3, most: int | None = None) -> list[Any]:
    """Read with some tasks, until each is told the end, or *most* are there; return what they got."""
    found: list[Any] = []

    async def read(scope: anyio.CancelScope) -> None:
        async for item in items:
            found.append(item)
            if len(found) == most:
                scope.cancel()
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            for _ in range(readers):
                tasks.start_soon(read, tasks.cancel_scope)
    return found


@pytest.mark.parametrize("on", [None, "work", "thread"])
async def test_each_item_of_a_stream_goes_to_one_of_its_readers(on: str | None) -> None:
    topology = Topology(nodes=[nodes("work"), nodes("thread", kind="thread")])
    async with running_system(topology) as system:
        source = await system.spawn(Source, on=on)
        async with source.stream(Source.items, 20) as items:
            assert await read_by_all(items) == list(range(20))
        async with source.stream(Source.fails) as items:
            with pytest.raises(ExceptionGroup) as caught:
                await read_by_all(items)
        assert [type(error) for error in caught.value.exceptions] == [LookupError]


@pytest.mark.parametrize("chunk, ordered", [(1, True), (1, False), (7, True), (7, False)])
@pytest.mark.parametrize("lazy", [False, True])
async def test_each_result_of_a_map_goes_to_one_of_its_readers(
    chunk: int, ordered: bool, lazy: bool
) -> None:
    async def inputs() -> AsyncIterator[int]:
        for number in range(50):
            await anyio.lowlevel.checkpoint()
            yield number

    async with running_system() as system:
        work = await system.start(pool(name="work", size=2, kind="thread"))
        results = work.map(
            square_later if chunk == 1 else square,
            inputs() if lazy else range(50),
            chunk=chunk,
            ordered=ordered,
            window=14,
        )
        found = await read_by_all(results)
    squares = [number * number for number in range(50)]
    assert sorted(found) == squares
    assert results.done == 50


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with running_system() as running:
        yield running


async def test_each_event_goes_to_one_of_the_readers_of_a_stream_and_its_end_to_all(
    system: System,
) -> None:
    events = system.events()

    async def close() -> None:
        for _ in range(5):
            await (await system.spawn(Source)).stop()
        events.close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(close)
        found = await read_by_all(events)
    ended = [event.facts["actor"] for event in found if event.kind == "actor_ended"]
    assert len(ended) == len(set(ended))


async def test_each_change_of_a_group_goes_to_one_of_the_readers(system: System) -> None:
    async with system.watch_members("lobby") as lobby, anyio.create_task_group() as tasks:
        tasks.start_soon(spawn_members, system, 5)
        found = await read_by_all(lobby, most=5)
    assert len({change.ref for change in found}) == 5


async def spawn_members(system: System, count: int) -> None:
    for _ in range(count):
        await system.spawn(Member)
