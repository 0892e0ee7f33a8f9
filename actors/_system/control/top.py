"""What `actors top` shows, as plain data: what nodes did within some seconds, and the busiest actors.

Rule: the reply does not wait for a node that does not answer. Its process is shown as the kernel knows it,
its actors as their supervisors here know them, with what keeps its loop.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from heapq import nlargest
from typing import Any, Final

import anyio

from actors._base.durations import Histogram, raw_since
from actors._base.errors import InvalidSpec
from actors._base.log import iso_time
from actors._system.control.ps import NODE_TIMEOUT, node_facts, program_facts
from actors._system.coordinator import Coordinator
from actors._system.failed_looks import telling_failures
from actors.nodes import (
    ORDERS,
    RemoteNode,
    SupervisedActor,
    first_rows,
    handler_stats,
    matches,
    process_figures,
)

__all__ = ["request_figures", "top"]

_LONGEST: Final = 60.0
_SHORTEST: Final = 0.01
_MOST_ROWS: Final = 1000
_LONGEST_MATCH: Final = 200


async def top(
    core: Coordinator,
    seconds: float = 1.0,
    rows: int = 20,
    by: str = "mailbox",
    match: str = "",
) -> dict[str, Any]:
    """Observe every node of *core* for *seconds*; return what they did, and the busiest actors.

    Args:
        core: of the system to observe.
        seconds: for how long.
        rows: how many actors to return.
        by: which actors come first, one of `ORDERS`.
        match: text that their names or classes contain; "" is in all.

    Raises:
        InvalidSpec: a value that cannot work.
    """
    _check(seconds, rows, by, match)
    facts = [
        {**node_facts(node), "cpu": None, "lag": None, "rate": None, "blocked": None}
        for node in core.nodes.values()
    ]
    seen = _Seen()
    programs = [{**one, "cpu": None} for one in program_facts(core)]
    async with anyio.create_task_group() as tasks:
        for node, shown in zip(core.nodes.values(), facts, strict=True):
            if node.pid is not None:
                tasks.start_soon(_observe, core, node, shown, seen, (seconds, rows, by, match))
        if programs:
            tasks.start_soon(_observe_programs, core, programs, seconds)
    return {
        "pid": os.getpid(),
        "seconds": seconds,
        "by": by,
        "nodes": facts,
        "programs": programs,
        "matching": seen.matching,
        "actors": first_rows(seen.actors, rows, by, lambda item: item),
        "handlers": handler_stats(seen.handlers)[:rows],
        "requests": [_requests(name, parts, seconds) for name, parts in seen.serves.items()],
        "served": {name: _served(parts) for name, parts in seen.serves.items()},
        **({"places": places} if (places := core.machines.shown) else {}),
    }


class _Seen:
    """What the nodes have said together."""

    def __init__(self) -> None:
        self.actors: list[dict[str, Any]] = []
        self.matching = 0
        self.handlers: list[list[Any]] = []
        self.serves: dict[str, list[Any]] = {}

    def take(self, said: dict[str, Any]) -> None:
        self.actors.extend(said.pop("busiest"))
        self.matching += said.pop("matching")
        self.handlers.extend(said.pop("handlers"))
        for name, part in said.pop("serves").items():
            self.serves.setdefault(name, []).append(part)


def _served(parts: list[Any]) -> list[Any]:
    """Return how many requests of a listener there were in all, and their times (`Histogram.raw`)."""
    times = Histogram()
    for _, after in parts:
        times.merge(after[1])
    return [sum(after[0] for _, after in parts), times.raw()]


def _requests(name: str, parts: list[Any], seconds: float) -> dict[str, Any]:
    """Return how many requests of a listener there were, and how long those took that have ended."""
    times = Histogram()
    for before, after in parts:
        times.merge(raw_since(after[1], before[1]) if before else after[1])
    count = sum(after[0] - (before or [0])[0] for before, after in parts)
    return request_figures(name, count / seconds, times)


def request_figures(name: str, rate: float, times: Histogram) -> dict[str, Any]:
    """Return what is shown of the requests of a listener: *rate* of them a second, which took *times*."""
    took = times.read()
    return {
        "listener": name,
        "rate": round(rate, 1),
        "p50": took.p50 if took.count else None,
        "p99": took.p99 if took.count else None,
    }


async def _observe_programs(
    core: Coordinator, programs: list[dict[str, Any]], seconds: float
) -> None:
    """Add to the facts of instances the CPU time that each has used meanwhile, and its memory now."""
    with telling_failures(core.event, "programs"):
        before, began = core.programs.usage(), anyio.current_time()
        await anyio.sleep(seconds)
        passed, after = anyio.current_time() - began, core.programs.usage()
        for facts in programs:
            name = facts["name"]
            if name in before and name in after:
                used = after[name][0] - before[name][0]
                # It is less than nothing if another process has taken its place.
                facts |= {"cpu": round(max(0.0, used) / passed, 3), "rss": after[name][1]}


def _check(seconds: object, rows: object, by: object, match: object) -> None:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not (number and _SHORTEST <= seconds <= _LONGEST):  # type: ignore[operator] # checked above
        raise InvalidSpec(f"seconds must be {_SHORTEST:g} to {_LONGEST:g}, got {seconds!r}")
    if type(rows) is not int or not 0 <= rows <= _MOST_ROWS:
        raise InvalidSpec(f"rows must be 0 to {_MOST_ROWS}, got {rows!r}")
    if by not in ORDERS:
        raise InvalidSpec(f"by must be one of {', '.join(ORDERS)}, got {by!r}")
    if not isinstance(match, str) or len(match) > _LONGEST_MATCH:
        raise InvalidSpec(
            f"match must be at most {_LONGEST_MATCH} letters, got {str(match)[:60]!r}"
        )


async def _observe(
    core: Coordinator,
    node: RemoteNode,
    facts: dict[str, Any],
    seen: _Seen,
    request: tuple[float, int, str, str],
) -> None:
    """Add to *facts* what the node reports, or, if it does not answer, what is known here."""
    with telling_failures(core.event, node.name):
        seconds = request[0]
        before = _process_figures(node)
        began = anyio.current_time()
        with anyio.move_on_after(seconds + NODE_TIMEOUT):
            now = await node.sample(*request)
            seen.take(now)
            facts |= {**now, "answering": True}
            return
        after = _process_figures(node)
        if before is not None and after is not None:
            cpu = (after[0] - before[0]) / (anyio.current_time() - began)
            facts |= {"rss": after[1], "cpu": round(cpu, 3)}
        if node.ready:
            there = [actor for actor in core.supervised.values() if actor.place is node]
            facts |= {"actors": len(there), "blocked": _block(node)}
            found = [one for one in there if matches(request[3], one.ref.name, one.ref.cls_path)]
            seen.matching += len(found)
            seen.actors.extend(_known_actors(node, found, facts["blocked"], request[1]))


def _block(node: RemoteNode) -> dict[str, Any] | None:
    """Return which actor keeps the loop of *node* by which message, and since when; None if nothing does."""
    block = node.block
    if "actor" not in block:
        return None
    since = block["since"]
    return {
        "actor": block["actor"],
        "message": block["message"],
        "since": iso_time(since),
        "seconds": round(time.time() - since, 3),
    }


def _known_actors(
    node: RemoteNode, there: list[SupervisedActor], blocked: dict[str, Any] | None, rows: int
) -> list[dict[str, Any]]:
    """Return *rows* of the actors on a node that does not answer; what only it knows is None."""
    keeps = "" if blocked is None else blocked["actor"]

    def order(actor: SupervisedActor) -> tuple[bool, int]:
        return actor.ref.name == keeps, actor.incarnation

    return [
        {
            "name": actor.ref.name,
            "class": actor.ref.cls_path,
            "node": node.name,
            "state": None,
            "mailbox": None,
            "mailbox_bytes": None,
            "handling": blocked["message"] if blocked and actor.ref.name == keeps else None,
            "handling_seconds": blocked["seconds"] if blocked and actor.ref.name == keeps else None,
            "rate": None,
            "cpu": None,
            "restarts": max(0, actor.incarnation - 1),
            "concurrent": None,
            "waiting_for": None,
        }
        for actor in nlargest(rows, there, key=order)
    ]


def _process_figures(node: RemoteNode) -> tuple[float, int] | None:
    """Return CPU seconds and memory in bytes, or None if the node has no process of its own."""
    if node.kind != "process" or node.pid is None or node.place:
        return None
    with suppress(OSError):  # it has just ended
        return process_figures(node.pid)
    return None
