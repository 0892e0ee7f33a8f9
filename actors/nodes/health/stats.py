"""Figures of one node, read on request; they cost nothing otherwise."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors._base.durations import Histogram
from actors._messaging.deadlock import pending_waits

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from actors._actor.cell import Cell
    from actors._remoting.actor_host import ActorHost

__all__ = ["handler_stats", "loop_seconds", "node_stats", "resident_memory"]


def _actor_stats(cell: Cell, cpu: float | None) -> dict[str, Any]:
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
        "cpu_seconds": None if cpu is None else round(cpu, 6),
    }


def handler_stats(rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return how long the messages of each handler waited and ran, from the `HandlerTimes.raw` of some nodes.

    Of each: class, method, the `Durations` ``wait`` and ``run``, and ``cpu_seconds``. Those that took most CPU
    time come first.
    """
    found: dict[tuple[str, str], tuple[Histogram, Histogram, list[float]]] = {}
    for path, name, waited, ran, cpu in rows:
        key = (path, name)
        wait, run, seconds = found.setdefault(key, (Histogram(), Histogram(), []))
        wait.merge(waited)
        run.merge(ran)
        seconds.append(cpu)
    stats = [
        {
            "class": path,
            "method": name,
            "wait": asdict(wait.read()),
            "run": asdict(run.read()),
            "cpu_seconds": round(sum(seconds), 6),
        }
        for (path, name), (wait, run, seconds) in found.items()
    ]
    return sorted(stats, key=lambda shown: -shown["cpu_seconds"])


def loop_seconds() -> float:
    """Return how many seconds the calling thread has run or waited for a CPU; the first alone off Linux.

    Without the second, a loop that never rests would seem idle on a machine that is busy otherwise.
    """
    try:
        ran, waited = Path("/proc/thread-self/schedstat").read_bytes().split()[:2]
    except OSError:
        return time.thread_time()
    return (int(ran) + int(waited)) / 1e9


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
        "actors": [_actor_stats(cell, host.times.cpu.get(uid)) for uid, cell in host.cells.items()],
        "handlers": handler_stats(host.times.raw()),
        "links": links,
        "memory": host.memory.stats(),
    }
