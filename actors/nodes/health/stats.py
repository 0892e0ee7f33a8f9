"""Figures of one node, read on request; they cost nothing otherwise."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors._messaging.deadlock import pending_waits

if TYPE_CHECKING:
    from actors._actor.cell import Cell
    from actors._remoting.actor_host import ActorHost

__all__ = ["node_stats", "resident_memory"]


def _actor_stats(cell: Cell) -> dict[str, Any]:
    handling = cell.incarnation.message_loop.handling if cell.incarnation is not None else None
    return {
        "name": cell.ref.name,
        "uid": cell.ref.uid,
        "class": cell.ref.cls_path,
        "state": cell.state.value,
        "mailbox": len(cell.mailbox),
        "mailbox_bytes": cell.mailbox.bytes,
        "incarnation": cell.number,
        "waiting_for": [target.ref.name for _, target in pending_waits(cell)],
        "handling": None if handling is None else handling[0],
        "handling_seconds": None if handling is None else round(handling[1], 6),
    }


def resident_memory() -> int:
    """Return the resident memory of this process in bytes."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def node_stats(host: ActorHost) -> dict[str, Any]:
    """Return the node's figures: its actors, its links, its memory (bytes) and CPU time (seconds)."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    links = {}
    for peer in host.peers.values():
        if peer.link is not None and (stats := peer.link.stats()) is not None:
            figures = {name: getattr(stats, name) for name in stats.__slots__}
            attachments = peer.link.attachments
            modes = {mode.value: count for mode, count in attachments.modes.items()}
            links[peer.name] = {**figures, "modes": modes, "bytes_lent": attachments.bytes_lent}
    return {
        "node": host.name,
        "pid": os.getpid(),
        "rss": resident_memory(),
        "cpu": round(usage.ru_utime + usage.ru_stime, 3),
        "actors": [_actor_stats(cell) for cell in host.cells.values()],
        "links": links,
        "memory": host.memory.stats(),
    }
