"""Samples: what a node does over a short while, and which of its actors are the busiest.

Rule 1: a node that is not sampled pays nothing, and nothing is kept between two samples.
Rule 2: only the busiest actors are described, as there may be a hundred thousand.
"""

from __future__ import annotations

import heapq
import os
from contextlib import nullcontext
from time import thread_time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from anyio import sleep

from actors._messaging.deadlock import pending_waits
from actors.nodes.health.stats import resident_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from actors._actor.cell import Cell
    from actors._remoting.actor_host import ActorHost

__all__ = ["ORDERS", "actor_facts", "first_rows", "matches", "sample"]

T = TypeVar("T")

ORDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "mailbox": ("mailbox", "handling_seconds", "rate"),
    "handling": ("handling_seconds", "mailbox", "rate"),
    "rate": ("rate", "mailbox", "handling_seconds"),
    "cpu": ("cpu", "rate", "mailbox"),
    "memory": ("mailbox_bytes", "mailbox", "rate"),
    "restarts": ("restarts", "mailbox", "rate"),
    "name": ("name",),
    "class": ("class", "name"),
    "node": ("node", "name"),
}
"""For each order, the facts by which actors are compared, the first one first."""
_ALPHABETIC: Final = frozenset({"name", "class", "node"})
"""The orders by text, the smallest first; by figures the largest come first."""
_EVERY: Final = 0.1
"""Seconds between two measurements of how late the loop is."""


def first_rows(
    items: Iterable[T], rows: int, by: str, facts: Callable[[T], Mapping[str, Any]]
) -> list[T]:
    """Return the first *rows* of actors in an order.

    Args:
        items: the actors.
        rows: how many are returned at most.
        by: one of `ORDERS`.
        facts: returns what is known of one; a figure that is not known counts as 0.
    """
    names = ORDERS[by]
    if by in _ALPHABETIC:
        return heapq.nsmallest(
            rows, items, key=lambda item: [facts(item).get(name, "") for name in names]
        )
    return heapq.nlargest(rows, items, key=lambda item: [facts(item)[name] or 0 for name in names])


def matches(match: str, name: str, path: str) -> bool:
    """Return whether an actor's name or the path of its class contains *match*, in any case."""
    wanted = match.casefold()
    return wanted in name.casefold() or wanted in path.casefold()


async def sample(
    host: ActorHost, seconds: float, rows: int, by: str, match: str = ""
) -> dict[str, Any]:
    """Watch this node for *seconds* and say what it did.

    Args:
        host: the node.
        seconds: how long; with 0 there are no rates.
        rows: how many of the busiest actors are described.
        by: one of `ORDERS`.
        match: text that the names or classes of those contain; "" is in all.
    """
    before = {uid: _handled(cell) for uid, cell in host.cells.items()} if seconds else {}
    used = dict(host.times.cpu)
    cpu, began = thread_time(), host.loop.now()
    with host.times.looking() if seconds else nullcontext():
        lag = await _lag(host, seconds)
    cpu, took = thread_time() - cpu, host.loop.now() - began
    cells = list(host.cells.items()) if seconds or rows else []
    rates = {
        uid: _handled_since(cell, before.get(uid, 0)) / took if seconds else 0.0
        for uid, cell in cells
    }
    shares = {
        uid: (seconds_now - used.get(uid, 0.0)) / took
        for uid, seconds_now in host.times.cpu.items()
        if seconds
    }
    figures = [
        (cell, _figures(cell, rates[uid], shares.get(uid, 0.0) if seconds else None))
        for uid, cell in cells
        if rows and (not match or matches(match, cell.ref.name, cell.ref.cls_path))
    ]
    top = first_rows(figures, rows, by, lambda item: item[1])
    return {
        "pid": os.getpid(),
        "rss": resident_memory(),
        "cpu": round(cpu / took, 3) if seconds else None,
        "lag": round(lag, 6),
        "actors": len(host.cells),
        "matching": len(figures),
        "rate": round(sum(rates.values()), 1) if seconds else None,
        "handlers": host.times.raw() if rows else [],
        "library_threads": os.environ.get("OMP_NUM_THREADS", "") if rows else "",
        "busiest": [actor_facts(host, cell, facts) for cell, facts in top],
    }


async def _lag(host: ActorHost, seconds: float) -> float:
    """Wait, and return how many seconds the loop was late at most."""
    late = 0.0
    until = host.loop.now() + seconds
    while (now := host.loop.now()) < until:
        due = min(until, now + _EVERY)
        await sleep(due - now)
        late = max(late, host.loop.now() - due)
    return late


def _handled(cell: Cell) -> int:
    return 0 if cell.incarnation is None else cell.incarnation.message_loop.handled


def _handled_since(cell: Cell, before: int) -> int:
    """Return how many messages it has taken since; an actor that was restarted counts from 0."""
    handled = _handled(cell)
    return handled - before if handled >= before else handled


def _figures(cell: Cell, rate: float, cpu: float | None = None) -> dict[str, Any]:
    """Return the figures by which actors are compared; *cpu* is a part of one CPU, None if not measured."""
    handling = None if cell.incarnation is None else cell.incarnation.message_loop.handling
    return {
        "name": cell.ref.name,
        "class": cell.ref.cls_path,
        "mailbox": len(cell.mailbox),
        "mailbox_bytes": cell.mailbox.bytes,
        "handling": None if handling is None else handling[0],
        "handling_seconds": None if handling is None else round(handling[1], 6),
        "rate": round(rate, 1),
        "cpu": None if cpu is None else round(cpu, 4),
        "restarts": max(0, cell.number - 1),
    }


def actor_facts(
    host: ActorHost, cell: Cell, figures: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return what is shown of an actor, with its *figures* if they have been read."""
    figures = _figures(cell, 0.0) if figures is None else figures
    return {
        **figures,
        "node": host.name,
        "state": cell.state.value,
        "concurrent": 0 if cell.incarnation is None else cell.incarnation.message_loop.concurrent,
        "waiting_for": [target.ref.name for _, target in pending_waits(cell)],
    }
