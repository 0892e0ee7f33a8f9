"""The fence of an actor grows with each of its incarnations, on every kind of node."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio

from actors import Actor, Backoff, Ref, concurrent, current
from tests.contracts.node_under_test import NodeUnderTest

AT_ONCE = Backoff(first=0)


class Fenced(Actor):
    """Says its fence, and spawns others that do."""

    async def fence(self) -> int:
        return self.context.fence

    async def crash(self) -> None:
        raise RuntimeError("a bad day")

    async def child(self, name: str | None) -> Ref[Fenced]:
        return await self.context.spawn(Fenced, name=name, backoff=AT_ONCE)

    @concurrent
    async def sibling(self) -> Ref[Fenced]:
        return await current().spawn(Fenced, on=current().node, backoff=AT_ONCE)


async def fences(ref: Ref[Fenced], crashes: int = 3) -> list[int]:
    """Return the fence of an actor now, and behind each of some crashes."""
    found = [await ref.ask(Fenced.fence)]
    for _ in range(crashes):
        await ref.tell(Fenced.crash)
        found.append(await ref.ask(Fenced.fence))
    return found


def grow(found: list[int]) -> bool:
    """Whether each is greater than the one before it, and all are what a database and JavaScript take."""
    return found == sorted(set(found)) and 2**50 < found[0] < found[-1] < 2**53


async def test_it_grows_with_every_restart(node: NodeUnderTest) -> None:
    with anyio.fail_after(20):
        assert grow(await fences(await node.spawn(Fenced, backoff=AT_ONCE)))


async def test_it_is_the_same_for_one_incarnation(node: NodeUnderTest) -> None:
    with anyio.fail_after(20):
        actor = await node.spawn(Fenced)
        first = await actor.ask(Fenced.fence)
        await actor.ask(Fenced.child, None)
        assert await actor.ask(Fenced.fence) == first


async def test_it_grows_where_another_actor_has_the_name(node: NodeUnderTest) -> None:
    found = []
    with anyio.fail_after(20):
        for on in (node.on, "local", node.on):
            actor = await node.spawn(Fenced, name="holder", on=on)
            found += [await actor.ask(Fenced.fence)]
            await actor.stop()
            await actor.wait()
    assert grow(found)


async def test_it_grows_for_children(node: NodeUnderTest) -> None:
    with anyio.fail_after(20):
        parent = await node.spawn(Fenced)
        for name in (None, "child"):
            assert grow(await fences(await parent.ask(Fenced.child, name)))


async def test_it_grows_for_a_child_of_the_same_name_elsewhere(node: NodeUnderTest) -> None:
    found = []
    with anyio.fail_after(20):
        for on in (node.on, "local", node.on):
            parent = await node.spawn(Fenced, on=on)
            found += await fences(await parent.ask(Fenced.child, "heir"))
            await parent.stop()
            await parent.wait()
    assert grow(found)


async def test_it_grows_for_actors_that_a_node_starts_by_itself(node: NodeUnderTest) -> None:
    with anyio.fail_after(20):
        actor = await node.spawn(Fenced)
        made: list[Ref[Any]] = [await actor.ask(Fenced.sibling) for _ in range(3)]
        try:
            for one in made:
                assert grow(await fences(one, 2))
        finally:
            async with anyio.create_task_group() as tasks:
                for one in made:
                    tasks.start_soon(partial(one.stop, grace=0))
