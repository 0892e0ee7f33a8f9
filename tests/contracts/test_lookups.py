"""An actor is found with its class, and waited for over its restarts, on every kind of node."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import anyio
import pytest

from actors import Actor, Backoff, Ref, System, current, pool
from actors.errors import ActorStopped, DeadlineExceeded
from tests.contracts.contract_actors import Gate
from tests.contracts.node_under_test import NodeUnderTest

T = TypeVar("T")


class Animal(Actor):
    async def noise(self) -> str:
        return ""

    async def find(self, name: str, cls: type[Actor]) -> Any:
        try:
            return await current().lookup(name, cls)
        except TypeError as error:
            return str(error)

    async def find_pool(self, name: str, cls: type[Actor]) -> Any:
        try:
            return await current().pool(name, cls)
        except TypeError as error:
            return str(error)


class Cat(Animal):
    async def noise(self) -> str:
        return "meow"


class Box(Actor, Generic[T]):
    async def put(self, item: T) -> T:
        return item


class Slow(Actor):
    """Its start waits for a gate, and fails so often."""

    def __init__(self, gate: Ref[Gate], failures: int = 0) -> None:
        self.gate = gate
        self.failures = failures

    async def on_start(self) -> None:
        number = self.context.incarnation
        if number > 1:
            await self.gate.ask(Gate.wait)
        if 1 < number <= self.failures + 1:
            raise ConnectionError(f"start {number}")

    async def fall(self) -> None:
        raise RuntimeError("fell")

    async def number(self) -> int:
        return self.context.incarnation


CAT, ANIMAL = f"{__name__}:Cat", f"{__name__}:Animal"


@pytest.fixture
async def cat(node: NodeUnderTest) -> Ref[Cat]:
    return await node.spawn(Cat, name="tom")


async def test_an_actor_is_found_as_its_class_and_as_any_it_is_derived_from(
    node: NodeUnderTest, cat: Ref[Cat]
) -> None:
    system = node.system
    with anyio.fail_after(10):
        for cls in (Cat, Animal, Actor):
            assert await system.lookup("tom", cls) == cat
            assert await cat.ask(Cat.find, "tom", cls) == cat
        assert await system.lookup("jerry", Cat) is None
        box = await node.spawn(Box[int], name="box")
        assert await system.lookup("box", Box[int]) == box


async def test_an_actor_of_another_class_is_a_type_error_that_names_both(
    node: NodeUnderTest, cat: Ref[Cat]
) -> None:
    with anyio.fail_after(10):
        with pytest.raises(TypeError, match=f"^actor 'tom' is of {CAT}, not of .*:Gate$"):
            await node.system.lookup("tom", Gate)
        told = await cat.ask(Cat.find, "tom", Gate)
        assert told.startswith(f"actor 'tom' is of {CAT}, not of ")
        animal = await node.spawn(Animal, name="some")
        assert await animal.ask(Animal.find, "some", Cat) == (
            f"actor 'some' is of {ANIMAL}, not of {CAT}"
        )


async def test_a_class_by_its_name_is_refused(node: NodeUnderTest, cat: Ref[Cat]) -> None:
    wrong: Any = "Cat"
    with pytest.raises(
        TypeError, match=r"^lookup of actor 'tom': cls must be a class .* got 'Cat'"
    ):
        await node.system.lookup("tom", wrong)


async def test_a_pool_is_found_with_the_class_of_its_members(
    node: NodeUnderTest, cat: Ref[Cat]
) -> None:
    system = node.system
    with anyio.fail_after(20):
        await system.start(pool(Cat, name="cats", on=node.on, size=1))
        try:
            for cls in (Cat, Animal):
                cats = await system.pool("cats", cls)
                assert cats is not None
                assert await cats.ask(cls.noise) == "meow"
                assert repr(await cat.ask(Cat.find_pool, "cats", cls)) == "<Pool cats of Cat>"
            with pytest.raises(TypeError, match=f"^pool 'cats' is of {CAT}, not of .*:Gate$"):
                await system.pool("cats", Gate)
            assert await system.pool("dogs", Cat) is None
        finally:
            await _delete(system, "cats")


async def test_wait_ready_waits_over_starts_that_fail(node: NodeUnderTest) -> None:
    quickly = Backoff(first=0.01, factor=1, cap=0.01)
    gate = await node.gate()
    with anyio.fail_after(20):
        slow = await node.spawn(Slow, gate, 2, backoff=quickly)
        await slow.tell(Slow.fall)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow.wait_ready)
            tasks.start_soon(slow.within(10).wait_ready)
            with pytest.raises(DeadlineExceeded, match=r"not ready in 0\.05 s$"):
                await slow.within(0.05).wait_ready()
            await gate.ask(Gate.open)
        assert await slow.ask(Slow.number) == 4


async def test_wait_ready_waits_over_a_kill_and_ends_with_the_actor(node: NodeUnderTest) -> None:
    gate = await node.gate()
    with anyio.fail_after(20):
        slow = await node.spawn(Slow, gate)
        slow.kill()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow.wait_ready)
            await gate.ask(Gate.open)
        assert await slow.ask(Slow.number) == 2
        await slow.stop()
        with pytest.raises(ActorStopped):
            await slow.wait_ready()


async def _delete(system: System, name: str) -> None:
    top = system.supervisor("")
    await top.stop_child(name)
    await top.delete_child(name)
