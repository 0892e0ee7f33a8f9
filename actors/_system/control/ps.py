"""What `actors ps` shows, as plain data: the nodes and listeners of a running system.

Rule: a node that does not answer in time is reported as not answering; the reply does not wait for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Final

import anyio

from actors._base.errors import InvalidSpec
from actors._base.suggestions import did_you_mean
from actors._system.coordinator import Coordinator
from actors._system.failed_looks import telling_failures
from actors._system.listeners import ListenerController
from actors.nodes import Node, RemoteNode
from actors.routing import NodeStats

__all__ = [
    "NODE_TIMEOUT",
    "listener_facts",
    "node_facts",
    "node_identity",
    "node_named",
    "program_facts",
    "ps",
]

NODE_TIMEOUT: Final = 1.0
"""Seconds that a node has to answer."""
_COUNTERS: Final = (
    "accepted",
    "pending",
    "peeking",
    "refused",
    "redispatched",
    "dropped",
    "lost_unread",
    "learned",
    "unlearned",
    "passed_on",
    "passing",
)


def node_named(core: Coordinator, name: str) -> RemoteNode:
    """Return the node of that name.

    Raises:
        InvalidSpec: there is none.
    """
    found = core.nodes.get(name)
    if found is None:
        known = ", ".join(core.nodes) or "none"
        hint = did_you_mean(name, core.nodes)
        raise InvalidSpec(f"there is no node {name!r}; the nodes are {known}{hint}")
    return found


async def ps(core: Coordinator) -> dict[str, Any]:
    """Return the facts about every node and listener of *core*."""
    nodes = {name: node_facts(node) for name, node in core.nodes.items()}
    async with anyio.create_task_group() as tasks:
        for name, node in core.nodes.items():
            if node.ready:
                tasks.start_soon(_ask, core, node, nodes[name])
    return {
        "pid": os.getpid(),
        "nodes": list(nodes.values()),
        "groups": _groups(core),
        "listeners": [listener_facts(listening) for listening in core.listeners],
        "programs": program_facts(core),
        **({"places": places} if (places := core.machines.shown) else {}),
    }


def _groups(core: Coordinator) -> dict[str, dict[str, int]]:
    """Return for each group how many nodes it is to have, and how many of them are ready."""
    groups: dict[str, dict[str, int]] = {}
    for node in core.nodes.values():
        if not node.leaving:
            counts = groups.setdefault(node.group, {"wanted": 0, "ready": 0})
            counts["wanted"] += 1
            counts["ready"] += node.ready
    return groups


def program_facts(core: Coordinator) -> list[dict[str, Any]]:
    """Return the facts about every instance of a program, with its memory, as the kernel knows it."""
    used = core.programs.usage()
    return [
        {**facts, "rss": used[name][1] if (name := facts["name"]) in used else None}
        for facts in core.programs.facts()
    ]


def node_identity(node: Node) -> dict[str, Any]:
    """Return the facts about a node that each command shows."""
    facts = {"name": node.name, "kind": node.kind, "state": node.state.value, "pid": node.pid}
    return {**facts, "place": node.place} if node.place else facts


def node_facts(node: RemoteNode) -> dict[str, Any]:
    """Return the facts about a node that the parent process knows."""
    return {
        **node_identity(node),
        **_waits(node.where),
        "restarts": node.restarts,
        "boot_seconds": None if node.run is None else node.run.boot_seconds,
        "answering": False,
        "rss": None,
        "actors": None,
    }


def _waits(where: dict[str, Any]) -> dict[str, Any]:
    """Return for what a node waits that has no place, and since when."""
    return {name: where[name] for name in ("waits_for", "waits_since") if name in where}


async def _ask(core: Coordinator, node: RemoteNode, facts: dict[str, Any]) -> None:
    """Add to *facts* what only the node knows, if it answers."""
    with anyio.move_on_after(NODE_TIMEOUT), telling_failures(core.event, node.name):
        now = await node.sample(0)
        facts |= {"answering": True, "rss": now["rss"], "actors": now["actors"]}


def listener_facts(listening: ListenerController) -> dict[str, Any]:
    """Return the facts about a listener."""
    spec, router = listening.spec, listening.any_router
    facts: dict[str, Any] = {
        "name": spec.name,
        "address": spec.address,
        "policy": str(spec.policy),
        "nodes": spec.nodes,
        "accepting": False,
        "open": {},
        **dict.fromkeys(_COUNTERS, 0),
    }
    if router is not None:
        now = router.snapshot()
        facts |= {
            "address": str(now.address),
            "accepting": now.accepting,
            "open": _open_by_node(now.nodes),
            **{name: getattr(now, name) for name in _COUNTERS},
        }
    if listening.far_router is not None:
        facts["places"] = listening.far_router.at_places
    return facts


def _open_by_node(nodes: Iterable[NodeStats]) -> dict[str, int]:
    """Count the open connections of each node, with those of a process that it is replacing."""
    counts: dict[str, int] = {}
    for stats in nodes:
        name = stats.name.partition("~")[0]
        counts[name] = counts.get(name, 0) + stats.open
    return counts
