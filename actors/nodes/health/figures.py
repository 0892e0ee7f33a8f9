"""Figures of one node that are added up and kept by others: of its actors by class, and of its links.

Rule: reading them costs a look at each actor and nothing else; nothing is kept between two readings.
"""

from __future__ import annotations

import os
import resource
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

from actors._messaging.deadlock import pending_waits
from actors._messaging.mailbox import Envelope
from actors.nodes.health.stats import resident_memory

if TYPE_CHECKING:
    from actors._actor.cell import Cell
    from actors._remoting.actor_host import ActorHost

__all__ = ["class_figures", "node_figures", "queued_messages"]


def class_figures(host: ActorHost) -> dict[str, list[int]]:
    """Return for each class how many actors of it there are, and their queued messages and bytes."""
    figures: dict[str, list[int]] = {}
    for cell in host.cells.values():
        path = cell.ref.cls_path
        found = figures.get(path)
        if found is None:
            found = figures[path] = [0, 0, 0]
        found[0] += 1
        found[1] += len(cell.mailbox)
        found[2] += cell.mailbox.bytes
    return figures


def node_figures(host: ActorHost, lag: float) -> dict[str, Any]:
    """Return the figures of a node: memory in bytes, CPU time and *lag* in seconds, and the rest as counts.

    ``classes`` is as `class_figures` says; ``sent`` has the messages sent by each mode of transport.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    sent: Counter[str] = Counter()
    for peer in host.peers.values():
        if peer.link is not None:
            sent.update({mode.value: count for mode, count in peer.link.attachments.modes.items()})
    return {
        "pid": os.getpid(),
        "rss": resident_memory(),
        "cpu": usage.ru_utime + usage.ru_stime,
        "lag": lag,
        "classes": class_figures(host),
        "sent": dict(sent),
        "lent": host.memory.stats()["held"],
    }


def queued_messages(host: ActorHost, name: str, most: int) -> dict[str, Any] | None:
    """Return what an actor of this node has queued, without values; None if there is none of that name.

    Args:
        host: the node.
        name: of the actor.
        most: how many of the oldest messages are listed; all are counted.
    """
    cell = next((cell for cell in host.cells.values() if cell.ref.name == name), None)
    return None if cell is None else _queued(cell, most)


def _queued(cell: Cell, most: int) -> dict[str, Any]:
    names = [Envelope.of(item).handler.name for item in cell.mailbox.queue]
    loop = None if cell.incarnation is None else cell.incarnation.message_loop
    handling = None if loop is None else loop.handling
    return {
        "name": cell.ref.name,
        "class": cell.ref.cls_path,
        "state": cell.state.value,
        "restarts": max(0, cell.number - 1),
        "queued": len(cell.mailbox),
        "queued_bytes": cell.mailbox.bytes,
        "by_method": dict(Counter(names)),
        "oldest": list(islice(names, most)),
        "handling": None if handling is None else handling[0],
        "handling_seconds": None if handling is None else round(handling[1], 6),
        "concurrent": 0 if loop is None else loop.concurrent,
        "waiting_for": [target.ref.name for _, target in pending_waits(cell)],
    }
