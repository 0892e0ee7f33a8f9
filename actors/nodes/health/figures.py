"""Figures of one node that are added up and kept by others: of its actors by class, and of its links.

Rule: reading them costs a look at each actor and nothing else; nothing is kept between two readings.
"""

from __future__ import annotations

import heapq
import os
import resource
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from actors.nodes.health.stats import resident_memory
from actors.nodes.health.user_metrics import user_metrics

if TYPE_CHECKING:
    from actors._remoting.actor_host import ActorHost

__all__ = ["LOOKED_AT", "node_figures", "node_readings"]


LOOKED_AT: Final = 90.0
"""Seconds for which the times of handlers are measured after somebody has asked for figures."""
_MOST_FULL: Final = 20
"""Actors with full mailboxes that are told at once."""


def _class_figures(host: ActorHost) -> dict[str, list[int]]:
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

    ``classes`` is as `_class_figures` says, ``handlers`` as `HandlerTimes.raw`;
    ``sent`` has the messages sent by each mode of transport.
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
        "classes": _class_figures(host),
        "handlers": host.times.raw(),
        "sent": dict(sent),
        "lent": host.memory.stats()["held"],
        "user": user_metrics(),
    }


def node_readings(host: ActorHost, lag: float, mailbox: float) -> dict[str, Any]:
    """Return what may have thresholds: memory in bytes, *lag* in seconds, and the fullest mailboxes.

    Those with more than *mailbox* messages, by the names of their actors.
    """
    full = [
        (len(cell.mailbox), cell.ref.name)
        for cell in host.cells.values()
        if len(cell.mailbox) > mailbox
    ]
    fullest = [[name, many] for many, name in heapq.nlargest(_MOST_FULL, full)]
    return {"rss": resident_memory(), "lag": lag, "full": fullest}
