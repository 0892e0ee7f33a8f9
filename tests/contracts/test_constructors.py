"""An actor is made of a class, positional arguments and a partial's keywords, on every kind of node."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from actors import Actor, Ref, child, dynamic, pool
from actors.errors import InvalidSpec
from tests.contracts.node_under_test import NodeUnderTest


class Shelf(Actor):
    """Shows what it was made of, and makes others like it."""

    def __init__(self, *books: str, name: str = "", on: int = 0, tags: Any = None) -> None:
        self.made_of = (books, name, on, tags)

    async def show(self) -> tuple[Any, ...]:
        return self.made_of

    async def tag(self, tag: str) -> None:
        self.made_of[3].append(tag)

    async def fall(self) -> None:
        raise RuntimeError("fell")

    async def beside(self, *books: str) -> Ref[Shelf]:
        return await self.context.spawn(partial(Shelf, name="beside", on=2), *books)


async def test_a_partial_gives_the_constructor_its_keywords(node: NodeUnderTest) -> None:
    with anyio.fail_after(20):
        shelf = await node.spawn(partial(Shelf, "a", name="mine", on=3), "b")
        assert await shelf.ask(Shelf.show) == (("a", "b"), "mine", 3, None)
        beside = await shelf.ask(Shelf.beside, "c", "d")
        assert await beside.ask(Shelf.show) == (("c", "d"), "beside", 2, None)


async def test_what_a_partial_holds_is_copied_at_the_call_and_at_each_restart(
    node: NodeUnderTest,
) -> None:
    tags = ["new"]
    with anyio.fail_after(20):
        shelf = await node.spawn(partial(Shelf, tags=tags))
        tags.append("changed after the call")
        await shelf.ask(Shelf.tag, "lost by the restart")
        await shelf.tell(Shelf.fall)
        assert await shelf.ask(Shelf.show) == ((), "", 0, ["new"])


async def test_a_child_and_the_members_of_a_pool_are_made_of_partials_too(
    node: NodeUnderTest,
) -> None:
    with anyio.fail_after(30):
        try:
            await node.system.start(dynamic("shelves"))
            spec = child(partial(Shelf, name="inner"), "a", name="shelf", on=node.on)
            shelf = await node.system.supervisor("shelves").start_child(spec)
            assert await shelf.ask(Shelf.show) == (("a",), "inner", 0, None)
            spread = pool(partial(Shelf, name="copy"), "b", name="library", on=node.on, size=2)
            library = await node.system.start(spread)
            assert await library.ask_all(Shelf.show) == [(("b",), "copy", 0, None)] * 2
        finally:
            for name in ("shelves", "library"):
                await node.system.supervisor("").stop_child(name)
                await node.system.supervisor("").delete_child(name)


async def test_a_wrong_constructor_is_refused_by_an_actor_where_it_runs(
    node: NodeUnderTest,
) -> None:
    with anyio.fail_after(20):
        shelf = await node.spawn(Maker)
        with pytest.raises(InvalidSpec, match=r"^spawn\(Shelf\) has no option 'tag'; a keyword of"):
            await shelf.ask(Maker.make_with, {"tag": 1})


class Maker(Actor):
    """Passes options on as they come."""

    async def make_with(self, options: dict[str, Any]) -> None:
        await self.context.spawn(Shelf, **options)
