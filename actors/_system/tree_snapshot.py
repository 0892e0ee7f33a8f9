"""The whole tree of a running system: what is supervised here, and what nodes supervise themselves.

Rule: a node that does not answer holds the picture up for a moment only; it is marked in it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio import create_task_group, move_on_after

from actors._base.errors import ActorsError
from actors.nodes import child_actors_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors._system.supervision_tree import SupervisionTree
    from actors._system.system_state import SystemState
    from actors.nodes import RemoteNode

__all__ = ["whole_tree"]

_PATIENCE: Final = 0.5
"""Seconds that a node has to answer."""


async def whole_tree(state: SystemState, tree: SupervisionTree) -> dict[str, Any]:
    """Return the tree as plain data, in start order, with children of actors under their parents.

    Below a node stands what is its own: actors that cannot leave it.
    """
    _, children = child_actors_of(state.host, None)
    own: dict[str, list[dict[str, Any]] | None] = {}
    async with create_task_group() as tasks:
        for node in list(state.nodes.values()):
            if node.run is not None and node.run.link is not None:
                tasks.start_soon(partial(_ask, node, own, children))
    root = tree.describe()
    for item in _all(root):
        below = own.get(item["name"], []) if item["kind"] == "node" else children.get(_uid(item))
        if below is None and item["kind"] == "node":
            item["answering"] = False
        elif below:
            item["children"] = below
    return root


async def _ask(
    node: RemoteNode,
    own: dict[str, list[dict[str, Any]] | None],
    children: dict[int, list[dict[str, Any]]],
) -> None:
    own[node.name] = None
    with move_on_after(_PATIENCE):
        try:
            own[node.name], below = await node.child_actors()
        except ActorsError:
            return  # it has just ended
        children.update(below)


def _all(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give every part of the tree, what is added to one after it included."""
    left = [root]
    while left:
        item = left.pop()
        yield item
        left.extend(item.get("children", ()))


def _uid(item: dict[str, Any]) -> int:
    uid: int = item.get("uid", 0)
    return uid
