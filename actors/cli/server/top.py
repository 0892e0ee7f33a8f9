"""What `actors top` shows, as plain data: what nodes did within some seconds, and the busiest actors.

Rule: the reply does not wait for a node that does not answer; its process is shown as the kernel knows it.
"""

from __future__ import annotations

import heapq
import os
from contextlib import suppress
from typing import Any, Final

import anyio

from actors._base.errors import ActorsError, InvalidSpec
from actors._system.coordinator import Coordinator
from actors.cli.server.ps import NODE_TIMEOUT, node_facts
from actors.nodes import ORDERS, RemoteNode, busiest_first, process_figures

__all__ = ["top"]

_LONGEST: Final = 60.0
_MOST_ROWS: Final = 1000


async def top(
    core: Coordinator, seconds: float = 1.0, rows: int = 20, by: str = "mailbox"
) -> dict[str, Any]:
    """Observe every node of *core* for *seconds*; return what they did, and the busiest actors.

    Args:
        core: of the system to observe.
        seconds: for how long.
        rows: how many actors to return.
        by: which actors are the busiest, one of `ORDERS`.

    Raises:
        InvalidSpec: a value that cannot work.
    """
    _check(seconds, rows, by)
    facts = [
        {**node_facts(node), "cpu": None, "lag": None, "rate": None} for node in core.nodes.values()
    ]
    busiest: list[dict[str, Any]] = []
    async with anyio.create_task_group() as tasks:
        for node, shown in zip(core.nodes.values(), facts, strict=True):
            if node.pid is not None:
                tasks.start_soon(_observe, node, shown, busiest, (seconds, rows, by))
    return {
        "pid": os.getpid(),
        "seconds": seconds,
        "by": by,
        "nodes": facts,
        "actors": heapq.nlargest(rows, busiest, key=lambda item: busiest_first(item, by)),
    }


def _check(seconds: object, rows: object, by: object) -> None:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not (number and 0 < seconds <= _LONGEST):  # type: ignore[operator] # checked above
        raise InvalidSpec(f"seconds must be more than 0 and at most {_LONGEST:g}, got {seconds!r}")
    if type(rows) is not int or not 0 <= rows <= _MOST_ROWS:
        raise InvalidSpec(f"rows must be 0 to {_MOST_ROWS}, got {rows!r}")
    if by not in ORDERS:
        raise InvalidSpec(f"by must be one of {', '.join(ORDERS)}, got {by!r}")


async def _observe(
    node: RemoteNode,
    facts: dict[str, Any],
    busiest: list[dict[str, Any]],
    request: tuple[float, int, str],
) -> None:
    """Add to *facts* what the node reports, or, if it does not answer, what the kernel knows of its process."""
    seconds = request[0]
    before = _process_figures(node)
    began = anyio.current_time()
    with anyio.move_on_after(seconds + NODE_TIMEOUT):
        try:
            now = await node.sample(*request)
        except ActorsError:
            return  # it has just ended, or does not run yet
        busiest.extend(now.pop("busiest"))
        facts |= {**now, "answering": True}
        return
    after = _process_figures(node)
    if before is not None and after is not None:
        cpu = (after[0] - before[0]) / (anyio.current_time() - began)
        facts |= {"rss": after[1], "cpu": round(cpu, 3)}


def _process_figures(node: RemoteNode) -> tuple[float, int] | None:
    """Return CPU seconds and memory in bytes, or None if the node has no process of its own."""
    if node.kind != "process" or node.pid is None:
        return None
    with suppress(OSError):  # it has just ended
        return process_figures(node.pid)
    return None
