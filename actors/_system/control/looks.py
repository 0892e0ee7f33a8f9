"""What `actors top` and the dashboard ask for besides `top`: what serves, parts of the tree, and single actors.

Rule: an answer is as long as what is shown of it: the children of one supervisor, and not all of many.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import anyio

from actors._base.errors import ActorsError, InvalidSpec
from actors._remoting import admin_operations as admin_ops
from actors._system.control.ended_nodes import link_of, settled
from actors._system.control.ps import NODE_TIMEOUT, listener_facts
from actors._system.coordinator import Coordinator
from actors._system.supervision_tree import child_row
from actors.nodes import RemoteNode

__all__ = ["children", "queued", "serving"]

_MOST_CHILDREN: Final = 200
_MOST_MESSAGES: Final = 100


async def serving(core: Coordinator) -> dict[str, Any]:
    """Return the figures of listeners and pools; no node is asked for them."""
    return {
        "listeners": [listener_facts(listening) for listening in core.listeners],
        "pools": [asdict(stats) for stats in core.pools.stats()],
    }


async def children(
    core: Coordinator, path: str = "", start: int = 0, count: int = _MOST_CHILDREN
) -> dict[str, Any]:
    """Return some of the children of a supervisor, and how many there are.

    Raises:
        InvalidSpec: no supervisor runs there, or a number that cannot work.
    """
    if not (type(start) is int and start >= 0 and type(count) is int and count >= 0):
        raise InvalidSpec(f"start and count must be whole numbers, got {start!r}, {count!r}")
    if not isinstance(path, str):
        raise InvalidSpec(f"path must be the names of supervisors with / between, got {path!r}")
    rows = core.tree.children_at(path)
    part = rows[start : start + min(count, _MOST_CHILDREN)]
    return {
        "path": path,
        "total": len(rows),
        "start": start,
        "children": list(map(child_row, part)),
    }


async def queued(core: Coordinator, name: str, node: str | None = None) -> dict[str, Any]:
    """Return what an actor has queued, asked of its node.

    Args:
        core: of the system.
        name: of the actor.
        node: the name of its node; without, it is looked up, which finds no children of other actors.

    Raises:
        ActorsError: it does not run, or its node does not, or does not answer.
    """
    place = _place_of(core, name) if node is None else core.nodes.get(node)
    if not isinstance(place, RemoteNode):
        raise ActorsError(f"there is no actor {name!r} on a node that runs")
    link = link_of(place)
    await settled(core, link, NODE_TIMEOUT)
    found = None
    with anyio.move_on_after(NODE_TIMEOUT) as limit:
        found = await link.call(admin_ops.queued, name, _MOST_MESSAGES)
    if limit.cancelled_caught:
        raise ActorsError(f"node {place.name} has not answered for {NODE_TIMEOUT:g} s")
    if found is None:
        raise ActorsError(f"actor {name!r} is not running")
    return {**found, "node": place.name}


def _place_of(core: Coordinator, name: str) -> object:
    actor = next((one for one in core.supervised.values() if one.ref.name == name), None)
    return None if actor is None else actor.place
