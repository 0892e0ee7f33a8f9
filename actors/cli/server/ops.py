"""What a running system can be asked over its control socket, by name.

Rule 1: whoever asks is told what was wrong with the question, or what failed; the system goes on.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from actors._base.errors import ActorsError, InvalidSpec
from actors._system.coordinator import Coordinator
from actors._system.tree_snapshot import whole_tree
from actors.cli._failure import did_you_mean
from actors.cli.server.busy import top
from actors.cli.server.status import status
from actors.nodes import Node, RemoteNode, nodes

__all__ = ["OPS", "Op", "Refused", "refusal"]


class Refused(Exception):
    """This request is not served; the text says why."""


@dataclass(frozen=True, slots=True)
class Op:
    """What a request may ask for.

    Attributes:
        answer: takes the core and, by name, what else the request holds.
        afterwards: happens when the reply is out.
        takes: what a request may hold beside the name of the op.
        follows: whether the answer goes on, as `Followers` say.
    """

    answer: Callable[..., Awaitable[Any]]
    afterwards: Callable[[Coordinator], object] | None = None
    takes: frozenset[str] = frozenset()
    follows: bool = False


def refusal(error: Exception) -> dict[str, str]:
    """Return what whoever asked is told of *error*: its text, and whose it is to mend."""
    if isinstance(error, Refused):
        return {"error": str(error)}
    if isinstance(error, ActorsError):
        return {"error": str(error), "why": "wrong" if isinstance(error, InvalidSpec) else "failed"}
    return {"error": f"{type(error).__name__}: {error}"}


async def _tree(core: Coordinator) -> dict[str, Any]:
    return await whole_tree(core)


async def _pid(_core: Coordinator) -> dict[str, Any]:
    return {"pid": os.getpid()}


async def _stack(core: Coordinator, node: str) -> dict[str, Any]:
    found = _node(core, node)
    run = found.run or found.front
    if run is None:
        raise ActorsError(f"node {node} is not running: it is {found.state.value}")
    return {**_facts(found), **await run.stacks()}


async def _spawn(core: Coordinator, **options: Any) -> list[dict[str, Any]]:
    return [_facts(node) for node in await core.groups.start(nodes(**options))]


async def _scale(core: Coordinator, groups: dict[str, int]) -> dict[str, list[dict[str, Any]]]:
    for name, count in groups.items():  # all are looked at before any is changed
        core.groups.check(name, count)
    return {
        name: [_facts(node) for node in await core.groups.scale(name, count)]
        for name, count in groups.items()
    }


async def _reload(
    core: Coordinator,
    nodes: list[str] | None = None,
    *,
    surge: bool = False,
    ready_timeout: float | None = None,
) -> list[dict[str, Any]]:
    renewed = await core.reloading.reload(
        nodes or (), surge=surge, ready_timeout=ready_timeout, by="`actors reload`"
    )
    return [_facts(node) for node in renewed]


async def _stop_node(core: Coordinator, node: str) -> dict[str, Any]:
    facts = _facts(_node(core, node))
    await core.stop_node(node, None)
    return {**facts, "state": "EXITED", "pid": None}


async def _kill(core: Coordinator, node: str) -> dict[str, Any]:
    found = _node(core, node)
    if found.pid is None:
        raise ActorsError(f"node {node} is not running: it is {found.state.value}")
    facts = _facts(found)
    core.kill_node(node)
    return facts


def _node(core: Coordinator, name: str) -> RemoteNode:
    found = core.nodes.get(name)
    if found is None:
        known = ", ".join(core.nodes) or "none"
        hint = did_you_mean(name, core.nodes)
        raise InvalidSpec(f"there is no node {name!r}; the nodes are {known}{hint}")
    return found


def _facts(node: Node) -> dict[str, Any]:
    return {"name": node.name, "kind": node.kind, "state": node.state.value, "pid": node.pid}


OPS: Final[dict[str, Op]] = {
    "ps": Op(status),
    "tree": Op(_tree),
    "top": Op(top, takes=frozenset({"seconds", "rows", "by"})),
    "events": Op(_pid, takes=frozenset({"messages"}), follows=True),
    "stack": Op(_stack, takes=frozenset({"node"})),
    "stop": Op(_pid, afterwards=lambda core: core.end()),
    "spawn": Op(_spawn, takes=frozenset({"name", "count", "kind", "backend", "env", "nice"})),
    "scale": Op(_scale, takes=frozenset({"groups"})),
    "reload": Op(_reload, takes=frozenset({"nodes", "surge", "ready_timeout"})),
    "stop_node": Op(_stop_node, takes=frozenset({"node"})),
    "kill": Op(_kill, takes=frozenset({"node"})),
}
