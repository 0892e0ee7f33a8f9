"""The whole supervision tree as plain data: what the parent supervises, and what nodes supervise themselves.

Rule: a node that does not answer within half a second is marked in it, and delays it no longer.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio import create_task_group, move_on_after

from actors._system.failed_looks import telling_failures
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

    Below a node are the actors that it supervises itself, because they cannot leave it.
    """
    _, children = child_actors_of(state.host, None)
    own: dict[str, list[dict[str, Any]] | None] = {}
    async with create_task_group() as tasks:
        for node in list(state.nodes.values()):
            if node.run is not None and node.run.link is not None:
                tasks.start_soon(partial(_ask, state, node, own, children))
    root = tree.describe()
    for item in _all(root):
        below = (
            own.get(item["name"], [])
            if item["kind"] == "node"
            else children.get(item.get("uid", 0))
        )
        if below is None and item["kind"] == "node":
            item["answering"] = False
        elif below:
            item["children"] = below
    return root


async def _ask(
    state: SystemState,
    node: RemoteNode,
    own: dict[str, list[dict[str, Any]] | None],
    children: dict[int, list[dict[str, Any]]],
) -> None:
    own[node.name] = None
    with move_on_after(_PATIENCE), telling_failures(state.event, node.name):
        own[node.name], below = await node.child_actors()
        children.update(below)


def _all(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every part of the tree, including children added to a part after it was yielded."""
    pending = [root]
    while pending:
        item = pending.pop()
        yield item
        pending.extend(item.get("children", ()))
