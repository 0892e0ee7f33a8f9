"""Names: taken before the start, found after it, given back before anyone hears of the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from actors._base.loop import Loop
from actors._base.run_loop import open_loop
from actors._messaging.ref import Ref
from actors._messaging.registry import Registry
from actors.errors import NameTaken


@pytest.fixture
async def loop() -> AsyncIterator[Loop]:
    async with open_loop() as loop:
        yield loop


@pytest.fixture
def registry(loop: Loop) -> Registry:
    return Registry(loop.waiter)


def ref(uid: int, name: str = "room") -> Ref[Any]:
    nowhere: Any = SimpleNamespace(loop=SimpleNamespace(waiter=None), system_id="one")
    return Ref(nowhere, uid, "local", name, "tests:Room", 1)


async def test_a_name_is_found_once_it_is_settled(registry: Registry) -> None:
    assert await registry.find("room") is None
    registry.claim("room")
    assert registry.get("room") is None
    registry.settle("room", ref(1))
    assert await registry.find("room") == ref(1)
    assert list(registry) == ["room"]


async def test_whoever_asks_during_a_start_waits_for_its_outcome(registry: Registry) -> None:
    found: list[Ref[Any] | None] = []

    async def find() -> None:
        found.append(await registry.find("room"))

    with anyio.fail_after(5):
        for outcome in (None, ref(1)):
            registry.claim("room")
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(find)
                await anyio.wait_all_tasks_blocked()
                registry.settle("room", outcome)
    assert found == [None, None, None, ref(1), ref(1), ref(1)]


async def test_a_finder_that_gives_up_disturbs_nobody(registry: Registry) -> None:
    registry.claim("room")
    with anyio.move_on_after(0):
        await registry.find("room")
    registry.settle("room", ref(1))
    assert registry.get("room") == ref(1)


async def test_a_name_is_taken_while_it_starts_and_while_it_lives(registry: Registry) -> None:
    registry.claim("room")
    with pytest.raises(NameTaken, match="'room' is taken by an actor that is starting"):
        registry.claim("room")
    registry.settle("room", ref(1))
    with pytest.raises(NameTaken, match="'room' is taken by <Ref room Room on local>"):
        registry.claim("room")


async def test_only_its_owner_gives_a_name_back(registry: Registry) -> None:
    registry.claim("room")
    registry.settle("room", ref(2))
    registry.release("room", 1)
    registry.release("nobody", 2)
    assert registry.get("room") == ref(2)
    registry.release("room", 2)
    assert registry.get("room") is None
    registry.claim("room")
