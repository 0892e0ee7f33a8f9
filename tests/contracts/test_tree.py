"""The tree of a system shows children of actors under their parents, on every kind of node."""

from __future__ import annotations

from typing import Any

import anyio

from actors import Actor, Backoff, Ref, current, local
from tests.contracts.node_under_test import NodeUnderTest


class Member(Actor):
    """One of a family; a child crashes as often as it is told to."""

    async def grow(self, name: str) -> Ref[Member]:
        return await self.context.spawn(Member, name=name, backoff=Backoff(first=0))

    async def crash(self) -> None:
        raise RuntimeError("a bad day")

    async def adopt(self, name: str) -> Ref[Bound]:
        # What holds local values is supervised by its node, not by this actor.
        return await current().spawn(Bound, local(object()), name=name, on=current().node)


class Eve(Member):
    async def look(self) -> dict[str, Any]:
        return await current().tree()


class Bound(Actor):
    def __init__(self, held: object) -> None:
        self.held = held


def parts(root: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return every part of a tree, by its way from the top."""
    found: dict[str, dict[str, Any]] = {}
    left = [("", root)]
    while left:
        way, item = left.pop()
        left.extend((f"{way}/{child['name']}", child) for child in item.get("children", ()))
        found[way] = item
    return found


async def test_children_of_an_actor_stand_under_it_with_what_happened_to_them(
    node: NodeUnderTest,
) -> None:
    with anyio.fail_after(20):
        eve = await node.spawn(Eve, name="eve")
        abel = await eve.ask(Eve.grow, "abel")
        await abel.ask(Member.grow, "enoch")
        await eve.ask(Eve.grow, "seth")
        await abel.tell(Member.crash)
        await abel.wait_ready()
        await abel.ask(Member.grow, "irad")

        found = parts(await node.system.tree())
        seen_by_eve = parts(await eve.ask(Eve.look))

    family = [way for way in found if way.startswith("/spawned/eve")]
    assert sorted(family) == [
        "/spawned/eve",
        "/spawned/eve/abel",
        "/spawned/eve/abel/irad",
        "/spawned/eve/seth",
    ]
    assert [way for way in seen_by_eve if way.startswith("/spawned/eve")] == family
    shown = found["/spawned/eve/abel"]
    assert (shown["kind"], shown["node"], shown["state"]) == ("actor", node.on, "RUNNING")
    assert (shown["restarts"], shown["last_exit"]) == (1, "CRASHED(RuntimeError: a bad day)")
    assert shown["class"].endswith(":Member")


async def test_what_cannot_leave_its_node_stands_under_the_node(node: NodeUnderTest) -> None:
    # The local node is the system's own process: what is spawned there, the system supervises.
    above = f"/nodes/{node.on}" if node.remote else "/spawned"
    with anyio.fail_after(20):
        parent = await node.spawn(Member)
        bound = await parent.ask(Member.adopt, "bound")
        found = parts(await node.system.tree())
        await bound.stop()
        await bound.wait()
    assert found[f"{above}/bound"]["class"].endswith(":Bound")
