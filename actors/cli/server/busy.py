"""What `actors top` shows, as plain data: what nodes did over a moment, and the busiest actors.

Rule 1: nobody is held up: a node that does not answer is shown by what the kernel knows of it.
"""

from __future__ import annotations

import heapq
import os
from typing import Any, Final

import anyio

from actors._base.errors import ActorsError, InvalidSpec
from actors._system.coordinator import Coordinator
from actors.cli.server.status import node_facts
from actors.nodes import ORDERS, RemoteNode, busiest_first, process_figures
from actors.transport import TransportError

__all__ = ["LONGEST", "MOST", "top"]

LONGEST: Final = 60.0
MOST: Final = 1000
_PATIENCE: Final = 1.0
"""Seconds that a node has to answer beyond those it was looked at."""


async def top(
    core: Coordinator, seconds: float = 1.0, rows: int = 20, by: str = "mailbox"
) -> dict[str, Any]:
    """Look at every node of *core* for *seconds*; return what they did, and the busiest actors.

    Raises:
        InvalidSpec: a value that can never work.
    """
    _check(seconds, rows, by)
    facts = [_of(node) for node in core.nodes.values()]
    busiest: list[dict[str, Any]] = []
    async with anyio.create_task_group() as tasks:
        for node, shown in zip(core.nodes.values(), facts, strict=True):
            if node.pid is not None:
                tasks.start_soon(_look, node, shown, busiest, (seconds, rows, by))
    return {
        "pid": os.getpid(),
        "seconds": seconds,
        "by": by,
        "nodes": facts,
        "actors": heapq.nlargest(rows, busiest, key=lambda item: busiest_first(item, by)),
    }


def _check(seconds: object, rows: object, by: object) -> None:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not (number and 0 < seconds <= LONGEST):  # type: ignore[operator] # checked just now
        raise InvalidSpec(f"seconds must be more than 0 and at most {LONGEST:g}, got {seconds!r}")
    if type(rows) is not int or not 0 <= rows <= MOST:
        raise InvalidSpec(f"rows must be 0 to {MOST}, got {rows!r}")
    if by not in ORDERS:
        raise InvalidSpec(f"by must be one of {', '.join(ORDERS)}, got {by!r}")


def _of(node: RemoteNode) -> dict[str, Any]:
    return {**node_facts(node), "cpu": None, "lag": None, "rate": None}


async def _look(
    node: RemoteNode,
    facts: dict[str, Any],
    busiest: list[dict[str, Any]],
    asked: tuple[float, int, str],
) -> None:
    """Add to *facts* what the node says of itself, or else what the kernel says of its process."""
    seconds, _, _ = asked
    alone = node.kind == "process" and node.pid is not None
    before = _figures(node.pid) if alone else None
    began = anyio.current_time()
    with anyio.move_on_after(seconds + _PATIENCE):
        try:
            now = await node.sampled(*asked)
        except (ActorsError, TransportError):
            return  # it has just ended, or is not there yet
        busiest.extend(now.pop("busiest"))
        facts |= {**now, "answering": True}
        return
    after = _figures(node.pid) if before is not None else None
    if before is not None and after is not None:
        cpu = (after[0] - before[0]) / (anyio.current_time() - began)
        facts |= {"rss": after[1], "cpu": round(cpu, 3)}


def _figures(pid: int | None) -> tuple[float, int] | None:
    try:
        return None if pid is None else process_figures(pid)
    except OSError:
        return None
