"""How what a system does looks on a terminal: `top`, `events` and `stack`.

Rule: text in, text out; nothing here asks anybody or knows where facts come from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from actors.cli.client.print import memory, table

__all__ = ["as_event", "as_stacks", "as_top"]

_LONG: Final = ("traceback", "stack")
"""Facts of many lines, which the log and `--json` have."""
_PLAIN: Final = frozenset("_-./:@~+*<>()[]%,|")
_MINUTE: Final = 60.0


def as_top(facts: dict[str, Any]) -> str:
    """Return what nodes did and the busiest actors, as two tables."""
    nodes, actors = facts["nodes"], facts["actors"]
    total = sum(node["actors"] or 0 for node in nodes)
    rate = sum(node["rate"] or 0 for node in nodes)
    head = f"system {facts['pid']}: {_count(len(nodes), 'node')}, {_count(total, 'actor')}, "
    titles = (
        "NODE KIND STATE PID RESTARTS MEMORY CPU LAG ACTORS MESSAGES/S".split()  # noqa: SIM905 - a row
    )
    parts = [f"{head}{rate:.1f} messages/s", "", *table(titles, [_node(node) for node in nodes])]
    if actors:
        titles = "ACTOR CLASS NODE MAILBOX MESSAGES/S HANDLING WAITS-FOR RESTARTS".split()  # noqa: SIM905 - a row
        parts += ["", *table(titles, [_actor(actor) for actor in actors])]
    return "\n".join(parts)


def _node(node: dict[str, Any]) -> tuple[str, ...]:
    known = (node["name"], node["kind"], node["state"], _or_dash(node["pid"]))
    cpu = "-" if node["cpu"] is None else f"{100 * node['cpu']:.0f} %"
    figures: tuple[str, ...] = ("-", "-", "-")
    if node["answering"]:
        figures = (f"{1000 * node['lag']:.1f} ms", str(node["actors"]), f"{node['rate']:.1f}")
    elif node["pid"] is not None and node["state"] == "READY":
        figures = ("not answering", "?", "?")
    return (*known, str(node["restarts"]), memory(node["rss"]), cpu, *figures)


def _actor(actor: dict[str, Any]) -> tuple[str, ...]:
    return (
        actor["name"],
        actor["class"].rpartition(":")[2],
        actor["node"],
        str(actor["mailbox"]),
        f"{actor['rate']:.1f}",
        _handling(actor),
        ", ".join(actor["waiting_for"]) or "-",
        str(actor["restarts"]),
    )


def _handling(actor: dict[str, Any]) -> str:
    beside = f"{actor['beside']} beside" if actor["beside"] else ""
    if actor["handling"] is not None:
        shown = f"{actor['handling']} {_seconds(actor['handling_seconds'])}"
        return f"{shown}, {beside}" if beside else shown
    idle = "-" if actor["state"] == "ready" else f"({actor['state']})"
    return beside or idle


def _seconds(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def as_event(event: dict[str, Any]) -> str:
    """Return one event as one line: when, what, and its facts that fit."""
    told = {key: value for key, value in event["facts"].items() if value not in (None, "")}
    shown = " ".join(f"{key}={_word(told[key])}" for key in told if key not in _LONG)
    return f"{event['at']}  {event['kind']}  {shown}".rstrip()


def _word(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    plain = all(sign.isalnum() or sign in _PLAIN for sign in text)
    return text if plain else json.dumps(text.splitlines()[0], ensure_ascii=False)


def as_stacks(facts: dict[str, Any]) -> str:
    """Return what the threads and tasks of a node are at, the most recent call first."""
    lines = [f"node {facts['name']} ({facts['kind']}, pid {facts['pid']}), {facts['state']}"]
    for thread in facts["threads"]:
        lines += ["", f"thread {thread['thread']}", *_frames(thread["stack"])]
    if facts["tasks"] is None:
        lines += ["", "its tasks cannot be shown: its loop does not get to it"]
    for task in facts["tasks"] or ():
        lines += ["", _tasks(task), *_frames(task["stack"])]
    return "\n".join(lines)


def _tasks(task: dict[str, Any]) -> str:
    names = ", ".join(task["names"])
    if task["count"] == 1:
        return f"task {names}"
    more = task["count"] - len(task["names"])
    return f"{task['count']} tasks at the same place: {names}{f' and {more} more' if more else ''}"


def _frames(stack: list[str]) -> Iterator[str]:
    for frame in stack:
        yield f"  {frame}"
