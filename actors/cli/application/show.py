"""Application files and their changes, as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from actors._base.printable import printable
from actors._system.application.plan import described, part_of, tree_items
from actors._system.topology import Topology

__all__ = ["as_changes", "as_done", "as_topology"]

_MARKS: Final = {
    "start": "+",
    "stop": "-",
    "scale": "~",
    "renew": "~",
    "revive": "+",
    "change": "~",
}
_HOW: Final = {"renew": "nodes are replaced one by one: ", "revive": "is started again: "}


def as_topology(topology: Topology) -> str:
    """Return what a topology starts, a line each."""
    rows = [("group", spec.name, described(spec)) for spec in topology.nodes]
    rows += [(part_of(item), path, described(item)) for path, item in tree_items(topology.children)]
    rows += [("listener", spec.name, described(spec)) for spec in topology.listeners]
    if topology.dashboard is not None:
        rows.append(("admin", "", topology.dashboard.address))
    return _columns(rows) or "nothing"


def as_changes(changes: Sequence[Mapping[str, Any]], parts: int) -> str:
    """Return changes, a line each; one that stops and starts the same is one line."""
    again = {
        (one["part"], one["name"]): one
        for one in changes
        if one["action"] == "start" and one["again"]
    }
    rows = [row for one in changes for row in _row(one, again.get((one["part"], one["name"])))]
    touched = {
        (one["part"], one["name"]) for one in changes if one["action"] != "stop" or one["again"]
    }
    rest = f"{parts - len(touched)} of {parts} parts are as they are to be"
    return f"{_columns(rows)}\n{rest}" if rows else f"nothing to change: {rest}"


def _row(one: Mapping[str, Any], then: Mapping[str, Any] | None) -> Iterable[tuple[str, str, str]]:
    if one is then:
        return
    mark = "±" if one["again"] else _MARKS[one["action"]]
    text = one["why"] or one["what"]
    serves = "; clients notice" if one["serves"] else ""
    yield f"{mark} {one['part']}", one["name"], f"{_HOW.get(one['action'], '')}{text}{serves}"


def as_done(change: Mapping[str, Any]) -> str:
    """Return a change that has been made, as a line."""
    done = {
        "start": "started",
        "stop": "stopped",
        "scale": "scaled",
        "renew": "renewed",
        "change": "changed",
    }
    made = done.get(change["action"], "started again")
    return printable(f"{change['part']} {change['name']}: {made}")


def _columns(rows: Sequence[tuple[str, str, str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)] if rows else [0, 0]
    lines = (
        f"{part:{widths[0]}}  {name:{widths[1]}}  {text}".rstrip() for part, name, text in rows
    )
    return "\n".join(map(printable, lines))
