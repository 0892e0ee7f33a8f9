"""The tables of figures that commands show: their titles, and the cells of a row from the facts about it.

Rule: data in, text out. `actors ps`, both forms of `actors top` and what else shows them have no others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

__all__ = [
    "ACTORS",
    "HANDLERS",
    "LISTENERS",
    "NODES",
    "PLACES",
    "POOLS",
    "PROGRAMS",
    "REQUESTS",
    "actor_cells",
    "blocked_line",
    "boot",
    "class_name",
    "count_of",
    "duration",
    "handler_cells",
    "listener_cells",
    "memory",
    "node_cells",
    "node_figures",
    "or_dash",
    "percent",
    "place_cells",
    "pool_cells",
    "program_cells",
    "request_cells",
    "status_figures",
    "table",
]

NODES: Final = ("NODE", "KIND", "STATE", "PID", "RESTARTS", "MEMORY")
ACTORS: Final = (
    "ACTOR",
    "CLASS",
    "NODE",
    "MAILBOX",
    "MESSAGES/S",
    "CPU",
    "HANDLING",
    "WAITS-FOR",
    "RESTARTS",
)
REQUESTS: Final = ("LISTENER", "REQUESTS/S", "P50", "P99")
HANDLERS: Final = (
    "HANDLER",
    "MESSAGES",
    "WAIT-P50",
    "WAIT-P99",
    "RUN-P50",
    "RUN-P99",
    "CPU-TIME",
)
_FAILURES: Final = ("refused", "redispatched", "dropped", "lost_unread")
LISTENERS: Final = (
    *("LISTENER", "POLICY", "NODES", "ACCEPTED", "PENDING"),
    *(name.upper().replace("_", "-") for name in _FAILURES),
    "OPEN",
)
PROGRAMS: Final = ("PROGRAM", "STATE", "PID", "PORT", "RESTARTS", "MEMORY")
PLACES: Final = (
    *("PLACE", "ENGINE", "MACHINE", "STATE", "AGENT", "ROUND-TRIP", "LEASE-LEFT"),
    *("PYTHON", "RELEASE", "LABELS"),
)
POOLS: Final = (
    *("POOL", "WORKERS", "QUEUED", "RUNNING", "COMPLETED", "FAILED", "BUSY"),
    *("WAIT-P50", "WAIT-P99", "RUN-P50", "RUN-P99"),
)
_MINUTE: Final = 60.0
_MIB: Final = 1024 * 1024


def program_cells(program: dict[str, Any]) -> tuple[str, ...]:
    """Return the row of an instance of a program."""
    return (
        program["name"],
        program["state"],
        or_dash(program["pid"]),
        or_dash(program["port"]),
        str(program["restarts"]),
        memory(program["rss"]),
    )


def place_cells(place: dict[str, Any]) -> tuple[str, ...]:
    """Return the row of a place on another machine."""
    trip, left = place["round_trip"], place["lease_left"]
    return (
        place["name"],
        place["engine"],
        place["machine"],
        place["state"],
        str(place["pid"]),
        "-" if trip is None else f"{1000 * trip:.1f} ms",
        "-" if left is None else f"{left:.1f} s",
        *(place.get(name) or "-" for name in ("python", "release", "labels")),
    )


def node_cells(node: dict[str, Any]) -> tuple[str, ...]:
    """Return the row of a node as far as the parent knows it, all but `NODES[-1]`."""
    pid = "-" if node["pid"] is None else str(node["pid"])
    kind = f"{node['kind']} at {node['place']}" if "place" in node else node["kind"]
    return (node["name"], kind, node["state"], pid, str(node["restarts"]))


def status_figures(node: dict[str, Any]) -> tuple[str, str]:
    """Return the memory of a node and the number of its actors, as `actors ps` shows them."""
    if node["answering"]:
        return (memory(node["rss"]), str(node["actors"]))
    return ("not answering", "?") if node["state"] == "READY" else ("-", "-")


def boot(node: dict[str, Any]) -> str:
    """Return how long a node took to get ready, imports included."""
    seconds = node.get("boot_seconds")
    return "-" if seconds is None else duration(seconds)


def listener_cells(listener: dict[str, Any]) -> tuple[str, ...]:
    """Return the row of a listener."""
    open_by_node = ", ".join(f"{name}: {count}" for name, count in listener["open"].items())
    shown = open_by_node or "no node is ready"
    if listener["passing"]:
        shown += f", {listener['passing']} of them passed on"
    if not listener["accepting"]:
        shown += " (not accepting)"
    pending = listener["pending"] + listener["peeking"]
    counts = (listener["accepted"], pending, *(listener[name] for name in _FAILURES))
    return (
        listener["address"],
        listener["policy"],
        listener["nodes"],
        *map(str, counts),
        shown,
    )


def node_figures(node: dict[str, Any]) -> tuple[str, ...]:
    """Return what `actors top` shows of a node besides `node_cells`."""
    known = (memory(node["rss"]), percent(node["cpu"]))
    if node["answering"]:
        return (*known, f"{1000 * node['lag']:.1f} ms", str(node["actors"]), f"{node['rate']:.1f}")
    if node["pid"] is not None and node["state"] == "READY":
        return (*known, "not answering", or_dash(node["actors"]), "-")
    return (*known, "-", "-", "-")


def percent(part: float | None) -> str:
    """Return a part of one as per cent."""
    return "-" if part is None else f"{100 * part:.0f} %"


def handler_cells(handler: dict[str, Any]) -> tuple[str, ...]:
    """Return the row of the handlers of one message of one class."""
    return (
        f"{class_name(handler)}.{handler['method']}",
        str(handler["run"]["count"]),
        *_wait_and_run(handler),
        f"{handler['cpu_seconds']:.2f} s",
    )


def pool_cells(pool: dict[str, Any]) -> tuple[str, ...]:
    """Return the row of a pool."""
    ready = sum(worker["ready"] for worker in pool["workers"])
    counts = [pool[name] for name in ("queued", "running", "completed", "failed")]
    return (
        pool["name"],
        f"{ready}/{len(pool['workers'])}",
        *map(str, counts),
        percent(pool["utilisation"]),
        *_wait_and_run(pool),
    )


def _wait_and_run(of: dict[str, Any]) -> list[str]:
    return [
        f"{1000 * of[kind][part]:.1f} ms" if of[kind]["count"] else "-"
        for kind in ("wait", "run")
        for part in ("p50", "p99")
    ]


def request_cells(listener: dict[str, Any]) -> tuple[str, ...]:
    """Return the row of the requests of a listener."""
    times = [listener["p50"], listener["p99"]]
    shown = ["-" if seconds is None else f"{1000 * seconds:.1f} ms" for seconds in times]
    return (listener["listener"], f"{listener['rate']:.1f}", *shown)


def blocked_line(node: dict[str, Any]) -> str:
    """Return the line about what keeps the loop of a node."""
    block = node["blocked"]
    lasts = f"{duration(block['seconds'])}, since {block['since']}"
    return f"{node['name']} is blocked by {block['actor']} ({block['message']}): {lasts}"


def actor_cells(actor: dict[str, Any]) -> tuple[str, ...]:
    """Return the row of an actor."""
    return (
        actor["name"],
        class_name(actor),
        actor["node"],
        _mailbox(actor),
        "-" if actor["rate"] is None else f"{actor['rate']:.1f}",
        percent(actor["cpu"]),
        _handling(actor),
        ", ".join(actor["waiting_for"] or ()) or "-",
        str(actor["restarts"]),
    )


def _mailbox(actor: dict[str, Any]) -> str:
    size = f" ({memory(actor['mailbox_bytes'])})" if actor["mailbox_bytes"] else ""
    return or_dash(actor["mailbox"]) + size


def _handling(actor: dict[str, Any]) -> str:
    concurrent = f"{actor['concurrent']} concurrent" if actor["concurrent"] else ""
    if actor["handling"] is not None:
        shown = f"{actor['handling']} {duration(actor['handling_seconds'])}"
        return f"{shown}, {concurrent}" if concurrent else shown
    return concurrent or ("-" if actor["state"] in {"ready", None} else f"({actor['state']})")


def class_name(actor: dict[str, Any]) -> str:
    """Return the name of the class of an actor, without its module."""
    name: str = actor["class"]
    return name.rpartition(":")[2]


def duration(seconds: float) -> str:
    """Return seconds as text."""
    if seconds < _MINUTE:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"


def or_dash(figure: int | None) -> str:
    """Return a number as text, a dash for one that is not known."""
    return "-" if figure is None else str(figure)


def count_of(number: int, noun: str) -> str:
    """Return a number of things as text."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def memory(size: int | None) -> str:
    """Return bytes as text."""
    return "-" if size is None else f"{size / _MIB:.1f} MiB"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Give the lines of a table, each column as wide as its widest cell."""
    lines = (titles, *rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(map(str.ljust, line, widths)).rstrip()
