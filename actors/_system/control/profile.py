"""What `actors profile` shows, as plain data: where nodes spend their CPU time.

Rule: a node that cannot be profiled is reported with the reason; the others are profiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio

from actors._base.errors import ActorsError, InvalidSpec
from actors._system.control.ended_nodes import not_running
from actors._system.control.ps import node_identity, node_named
from actors.nodes import RemoteNode

if TYPE_CHECKING:
    from actors._system.coordinator import Coordinator

__all__ = ["profile"]

_LONGEST: Final = 60.0
_ALL: Final = "all"


async def profile(core: Coordinator, node: str = _ALL, seconds: float = 5.0) -> dict[str, Any]:
    """Profile a node, the nodes of a group, or all nodes for *seconds*, all at the same time.

    Raises:
        InvalidSpec: there is no such node, or *seconds* cannot work.
        ActorsError: none of them could be profiled.
    """
    if type(seconds) not in {int, float} or not 0 < seconds <= _LONGEST:
        raise InvalidSpec(f"seconds must be more than 0 and at most {_LONGEST:g}, got {seconds!r}")
    meant = _meant(core, node)
    found: list[dict[str, Any]] = []
    async with anyio.create_task_group() as tasks:
        for one in meant:
            shown: dict[str, Any] = dict(node_identity(one))
            found.append(shown)
            tasks.start_soon(_profile, one, seconds, shown)
    errors = [one["error"] for one in found if "error" in one]
    if len(errors) == len(found):
        raise ActorsError("; ".join(errors))
    return {"seconds": seconds, "nodes": found}


def _meant(core: Coordinator, name: str) -> list[RemoteNode]:
    if name in core.nodes:
        return [core.nodes[name]]
    group = [node for node in core.nodes.values() if name in {node.group, _ALL}]
    return group or [node_named(core, name)]


async def _profile(node: RemoteNode, seconds: float, shown: dict[str, Any]) -> None:
    run = node.run or node.accepting_run
    if run is None:
        shown["error"] = str(not_running(node))
        return
    try:
        shown |= await run.profile(seconds)
    except ActorsError as error:
        shown["error"] = str(error)
