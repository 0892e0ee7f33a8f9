"""How what a system says looks on a terminal, or as JSON for programs.

Rule: text in, text out; nothing here asks anybody or knows where facts come from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

__all__ = [
    "ASCII",
    "UNICODE",
    "as_groups",
    "as_json",
    "as_nodes",
    "as_status",
    "as_tree",
    "lines_for",
    "memory",
    "table",
]

_MIB: Final = 1024 * 1024
_TROUBLE: Final = ("refused", "redispatched", "dropped")
_LISTENER: Final = (
    *("LISTENER", "POLICY", "NODES", "ACCEPTED", "PENDING"),
    *map(str.upper, _TROUBLE),
    "OPEN",
)


class Lines(NamedTuple):
    """What a tree is drawn with."""

    branch: str
    last: str
    down: str
    empty: str


UNICODE: Final = Lines("├─ ", "└─ ", "│  ", "   ")
ASCII: Final = Lines("|- ", "`- ", "|  ", "   ")


def lines_for(encoding: str | None) -> Lines:
    """Return what a terminal of that encoding can show."""
    try:
        "".join(UNICODE).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def as_json(value: Any) -> str:
    """Return *value* for programs."""
    return json.dumps(
        value, indent=2, ensure_ascii=(sys.stdout.encoding or "ascii").lower() != "utf-8"
    )


def as_status(facts: dict[str, Any]) -> str:
    """Return the nodes and listeners of a system as two tables."""
    nodes = [_node(node) for node in facts["nodes"]]
    head = ("NODE", "KIND", "STATE", "PID", "RESTARTS", "MEMORY", "ACTORS")
    parts = [f"system {facts['pid']}", "", *table(head, nodes)]
    if facts["listeners"]:
        rows = [_listener(listener) for listener in facts["listeners"]]
        parts += ["", *table(_LISTENER, rows)]
    return "\n".join(parts)


def _node(node: dict[str, Any]) -> tuple[str, ...]:
    figures = ("-", "-")
    if node["answering"]:
        figures = (memory(node["rss"]), str(node["actors"]))
    elif node["state"] == "READY":
        figures = ("not answering", "?")
    pid = "-" if node["pid"] is None else str(node["pid"])
    return (node["name"], node["kind"], node["state"], pid, str(node["restarts"]), *figures)


def _listener(listener: dict[str, Any]) -> tuple[str, ...]:
    shares = ", ".join(f"{name}: {count}" for name, count in listener["open"].items())
    shown = shares or "no node is ready"
    if not listener["accepting"]:
        shown += " (not accepting)"
    waiting = listener["pending"] + listener["peeking"]
    counts = (listener["accepted"], waiting, *(listener[name] for name in _TROUBLE))
    known = (listener["address"], listener["policy"], listener["nodes"])
    return (*known, *map(str, counts), shown)


def memory(size: int | None) -> str:
    """Return a number of bytes in MiB."""
    return "-" if size is None else f"{size / _MIB:.1f} MiB"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Give the lines of a table, each column as wide as its widest cell."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def as_nodes(nodes: Sequence[dict[str, Any]]) -> str:
    """Return nodes that were asked for, one per line."""
    rows = [(node["name"], node["kind"], f"pid {node['pid']}", node["state"]) for node in nodes]
    return "\n".join(table(rows[0], rows[1:])) if rows else ""


def as_groups(groups: dict[str, list[dict[str, Any]]]) -> str:
    """Return groups and the nodes that each has now."""
    return "\n".join(
        f"{name}: " + (", ".join(node["name"] for node in nodes) or "no nodes")
        for name, nodes in groups.items()
    )


def as_tree(root: dict[str, Any], lines: Lines = UNICODE) -> str:
    """Return a supervision tree, one child per line in start order."""
    return "\n".join([_named(root), *_below(root, lines, "")])


def _below(parent: dict[str, Any], lines: Lines, indent: str) -> Iterator[str]:
    children = parent.get("children", [])
    for number, child in enumerate(children, 1):
        last = number == len(children)
        yield indent + (lines.last if last else lines.branch) + _named(child)
        yield from _below(child, lines, indent + (lines.empty if last else lines.down))


def _named(item: dict[str, Any]) -> str:
    """Return one line: name, what it is, how it does, and what has happened to it."""
    kind = item["kind"]
    if kind == "actor":
        kind = f"{item['class'].rpartition(':')[2]} on {item['node']}"
    elif kind == "node" and item["pid"] is not None:
        kind = f"node, pid {item['pid']}"
    line = f"{item['name']}  ({kind})  {item['state']}"
    if item.get("answering") is False:
        line += "  not answering"
    if item.get("restarts"):
        line += f"  restarts: {item['restarts']}"
    if item.get("last_exit"):
        line += f"  last exit: {item['last_exit'].splitlines()[0]}"
    return line
