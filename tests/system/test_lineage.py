"""Who started an actor, and who waits for it, can be told (C41)."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Actor, Ref, System, Topology, child, nodes, supervisor
from actors.errors import CallCycle, StartFailed


class Parent(Actor):
    """Starts others."""

    async def start_child(self) -> Ref[Any]:
        return await self.context.spawn(Parent, name="child")

    async def start_tasks(self, count: int, on: str) -> None:
        await self.context.system.spawn(Started, count, name=f"task {count}", on=on)

    async def start_through(self, other: Ref[Parent], asked: str) -> None:
        await other.ask(Parent.start_asking, asked)

    async def start_asking(self, asked: str) -> None:
        """Start an actor that asks one which waits for this start."""
        await self.context.system.spawn(Asking, asked, name="asking", on="box")

    async def answer(self) -> str:
        return "answer"


class Started(Actor):
    """Starts another one while it starts itself."""

    def __init__(self, more: int) -> None:
        self.more = more

    async def on_start(self) -> None:
        if self.more:
            await self.context.system.spawn(Started, self.more - 1, name=f"task {self.more - 1}")

    async def callers(self) -> tuple[str, ...]:
        return self.context.callers

    async def crash(self) -> None:
        raise ValueError


class Asking(Actor):
    def __init__(self, asked: str) -> None:
        self.asked = asked

    async def on_start(self) -> None:
        found: Any = await self.context.system.lookup(self.asked)
        await found.ask(Parent.answer)


def ancestors(tree: dict[str, Any], name: str) -> list[str] | None:
    """Return the names above an actor in the tree, the nearest first."""
    for inner in tree.get("children", ()):
        if inner["name"] == name:
            return [tree["name"]]
        above = ancestors(inner, name)
        if above is not None:
            return [*above, tree["name"]]
    return None


async def test_c41_the_tree_shows_the_ancestors_of_an_actor_that_another_has_started() -> None:
    tree = [supervisor("outer", [supervisor("inner", [child(Parent, name="parent", on="box")])])]
    with anyio.fail_after(30):
        async with System(Topology(nodes=[nodes("box")], children=tree)) as system:
            parent: Any = await system.lookup("parent")
            await parent.ask(Parent.start_child)

            above = ["parent", "outer/inner", "outer", "system"]
            found = ancestors(await system.tree(), "child")
            assert found is not None
            assert [name.rpartition("/")[2] for name in found] == [
                name.rpartition("/")[2] for name in above
            ]


async def test_c41_the_callers_for_whom_an_actor_starts_are_known_over_nodes() -> None:
    """The first asks the second, which starts a third one, which would ask the first: its error names them."""
    topology = Topology(nodes=[nodes("box")], children=[child(Parent, name="first")])
    with anyio.fail_after(30):
        async with System(topology) as system:
            first: Any = await system.lookup("first")
            second = await system.spawn(Parent, name="second", on="box")
            with pytest.raises(StartFailed) as failed:
                await first.ask(Parent.start_through, second, "first")

    assert isinstance(failed.value.__cause__, CallCycle)
    assert "first -> second -> asking" in str(failed.value)


async def test_c41_an_actor_knows_its_callers_over_nodes_and_restarts() -> None:
    topology = Topology(nodes=[nodes("box")], children=[child(Parent, name="P1")])
    with anyio.fail_after(30):
        async with System(topology) as system:
            parent: Any = await system.lookup("P1")
            await parent.ask(Parent.start_tasks, 1, "box")
            first, second = await system.lookup("task 1"), await system.lookup("task 0")
            assert first is not None
            assert second is not None
            assert await first.ask(Started.callers) == ("P1",)
            assert await second.ask(Started.callers) == ("task 1", "P1")
            await second.tell(Started.crash)
            assert await second.ask(Started.callers) == ("task 1", "P1")
            alone = await system.spawn(Started, 0)
            assert await alone.ask(Started.callers) == ()
