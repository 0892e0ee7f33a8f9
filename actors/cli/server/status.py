"""What `actors ps` shows, as plain data: the nodes and listeners of a running system.

Rule 1: a node that does not answer is shown as such; it never holds up the rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Final

import anyio

from actors._base.errors import ActorsError
from actors._system.coordinator import Coordinator
from actors._system.listeners import ListenerController
from actors.nodes import RemoteNode
from actors.routing import NodeStats
from actors.transport import TransportError

__all__ = ["node_facts", "status"]

_PATIENCE: Final = 1.0
"""Seconds that a node has to answer."""
_COUNTED: Final = ("accepted", "pending", "peeking", "refused", "redispatched", "dropped")


async def status(core: Coordinator) -> dict[str, Any]:
    """Return the facts about every node and listener of *core*."""
    nodes = {name: node_facts(node) for name, node in core.nodes.items()}
    async with anyio.create_task_group() as tasks:
        for name, node in core.nodes.items():
            if node.ready:
                tasks.start_soon(_ask, node, nodes[name])
    return {
        "pid": os.getpid(),
        "nodes": list(nodes.values()),
        "listeners": [_listener(listening) for listening in core.listeners],
    }


def node_facts(node: RemoteNode) -> dict[str, Any]:
    """Return what is known of a node without asking it."""
    return {
        "name": node.name,
        "kind": node.kind,
        "state": node.state.value,
        "pid": node.pid,
        "restarts": node.restarts,
        "answering": False,
        "rss": None,
        "actors": None,
    }


async def _ask(node: RemoteNode, facts: dict[str, Any]) -> None:
    """Add to *facts* what only the node knows."""
    with anyio.move_on_after(_PATIENCE):
        try:
            now = await node.sampled(0, 0, "mailbox")
        except (ActorsError, TransportError):
            return  # it has just ended
        facts |= {"answering": True, "rss": now["rss"], "actors": now["actors"]}


def _listener(listening: ListenerController) -> dict[str, Any]:
    spec, router = listening.spec, listening.router
    facts: dict[str, Any] = {
        "name": spec.name,
        "address": spec.address,
        "policy": str(spec.policy),
        "nodes": spec.nodes,
        "accepting": False,
        "open": {},
        **dict.fromkeys(_COUNTED, 0),
    }
    if router is not None:
        now = router.snapshot()
        facts |= {
            "address": str(now.address),
            "accepting": now.accepting,
            "open": _by_node(now.nodes),
            **{name: getattr(now, name) for name in _COUNTED},
        }
    return facts


def _by_node(places: Iterable[NodeStats]) -> dict[str, int]:
    """Return the open connections of each node, those of a process that it replaces included."""
    counts: dict[str, int] = {}
    for place in places:
        node = place.name.partition("~")[0]
        counts[node] = counts.get(node, 0) + place.open
    return counts
