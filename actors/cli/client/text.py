"""What a system answers, as text for a terminal or as JSON for programs.

Rule 1: data in, text out; nothing here asks a system or prints.
Rule 2: whatever names and errors contain, the text is printable: clients choose some of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from actors._base.printable import printable, printable_facts, printable_json
from actors.cli.client.flame_graph import busiest
from actors.cli.client.tables import (
    ACTORS,
    HANDLERS,
    LISTENERS,
    NODES,
    PLACES,
    PROGRAMS,
    REQUESTS,
    actor_cells,
    blocked_line,
    boot,
    class_name,
    count_of,
    handler_cells,
    listener_cells,
    node_cells,
    node_figures,
    or_dash,
    percent,
    place_cells,
    program_cells,
    request_cells,
    status_figures,
    table,
)

__all__ = [
    "ASCII",
    "UNICODE",
    "as_advice",
    "as_ended",
    "as_event",
    "as_groups",
    "as_json",
    "as_late",
    "as_log_line",
    "as_message",
    "as_nodes",
    "as_profile",
    "as_raw_line",
    "as_stacks",
    "as_started",
    "as_state",
    "as_status",
    "as_top",
    "as_tree",
    "line_drawing",
]

_MULTILINE_FACTS: Final = ("traceback", "stack")
"""Facts that do not fit into one line; the log and `--json` have them."""
_UNQUOTED: Final = frozenset("_-./:@~+*<>()[]%,|")
"""The signs that a fact of an event may hold without being quoted, besides letters and digits."""
_WITH_LINES: Final = frozenset({"last_exit", "stack"})
"""Facts whose newlines are ours."""
_MOST_FUNCTIONS: Final = 10
"""Functions of a profile that are listed."""
_MOST_LATE: Final = 10
"""Actors that are listed because they have not ended, or are not back."""
_BELOW: Final = frozenset({"traceback", "exception", "stack"})
"""Facts of a record that stand below its line."""


class LineDrawing(NamedTuple):
    """What a tree is drawn with."""

    branch: str
    last: str
    down: str
    empty: str


UNICODE: Final = LineDrawing("├─ ", "└─ ", "│  ", "   ")
ASCII: Final = LineDrawing("|- ", "`- ", "|  ", "   ")


def line_drawing(encoding: str | None) -> LineDrawing:
    """Return what a terminal of that encoding can show."""
    try:
        "".join(UNICODE).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def as_json(value: Any, *, indent: int | None = 2) -> str:
    """Return *value* as JSON; in one line if *indent* is None."""
    utf_8 = (sys.stdout.encoding or "ascii").lower() == "utf-8"
    return printable_json(json.dumps(value, indent=indent, ensure_ascii=not utf_8))


def _printable(facts: Any) -> Any:
    return printable_facts(facts, _WITH_LINES)


def as_status(facts: dict[str, Any]) -> str:
    """Return the nodes and listeners of a system as two tables."""
    facts = _printable(facts)
    nodes = [(*node_cells(node), *status_figures(node), boot(node)) for node in facts["nodes"]]
    parts = [f"system {facts['pid']}", "", *table((*NODES, "ACTORS", "BOOT"), nodes)]
    parts += [
        f"of the {count['wanted']} nodes of {group}, {count['ready']} are ready"
        for group, count in facts.get("groups", {}).items()
        if count["ready"] < count["wanted"]
    ]
    parts += [
        f"{node['name']} waits for {node['waits_for']} since {node['waits_since']}"
        for node in facts["nodes"]
        if "waits_for" in node
    ]
    if facts.get("places"):
        parts += ["", *table(PLACES, list(map(place_cells, facts["places"])))]
    if facts["listeners"]:
        parts += ["", *table(LISTENERS, list(map(listener_cells, facts["listeners"])))]
    if facts.get("programs"):
        parts += ["", *table(PROGRAMS, [program_cells(one) for one in facts["programs"]])]
    return "\n".join(parts)


def as_top(facts: dict[str, Any]) -> str:
    """Return what the nodes did, the busiest actors, and the times of handlers, as tables."""
    facts = _printable(facts)
    nodes, actors = facts["nodes"], facts["actors"]
    total = sum(node["actors"] or 0 for node in nodes)
    rate = sum(node["rate"] or 0 for node in nodes)
    summary = f"{count_of(len(nodes), 'node')}, {count_of(total, 'actor')}, {rate:.1f} messages/s"
    titles = (*NODES, "CPU", "LAG", "ACTORS", "MESSAGES/S")
    rows = [(*node_cells(node), *node_figures(node)) for node in nodes]
    parts = [f"system {facts['pid']}: {summary}", "", *table(titles, rows)]
    blocked = [blocked_line(node) for node in nodes if node["blocked"] is not None]
    if blocked:
        parts += ["", *blocked]
    if facts.get("places"):
        parts += ["", *table(PLACES, list(map(place_cells, facts["places"])))]
    if facts.get("programs"):
        shown = [(*program_cells(one), percent(one["cpu"])) for one in facts["programs"]]
        parts += ["", *table((*PROGRAMS, "CPU"), shown)]
    if actors:
        parts += ["", *table(ACTORS, [actor_cells(actor) for actor in actors])]
    if facts["requests"]:
        parts += ["", *table(REQUESTS, list(map(request_cells, facts["requests"])))]
    if facts["handlers"]:
        parts += ["", *table(HANDLERS, list(map(handler_cells, facts["handlers"])))]
    return "\n".join(parts)


def as_nodes(nodes: Sequence[dict[str, Any]]) -> str:
    """Return nodes that a command started or renewed, one per line."""
    nodes = _printable(nodes)
    rows = [(node["name"], node["kind"], f"pid {node['pid']}", node["state"]) for node in nodes]
    return "\n".join(table(rows[0], rows[1:])) if rows else "nothing: there is none"


def as_ended(done: dict[str, Any]) -> str:
    """Return which node or actors a command stopped, restarted or killed."""
    done = _printable(done)
    did = _DONE[done["verb"]]
    if "programs" in done:
        names = ", ".join(one["name"] for one in done["programs"])
        return f"{did} {names or 'nothing: it has no instances'}"
    if "nodes" in done:
        node = done["nodes"][0]["name"]
        return f"node {node} {_OF_NODE[done['verb']]}"
    names = done["actors"]
    return f"{did} {len(names)} actor{'s' * (len(names) != 1)}: {', '.join(names)}"


def as_late(done: dict[str, Any]) -> str:
    """Return which actors a command could not wait for any longer, and why."""
    done = _printable(done)
    late, many = done["late"], len(done["actors"])
    what = "not back" if done["verb"] == "restart" else "not gone"
    those = "".join(f"\n  {name} {why}" for name, why in sorted(late.items())[:_MOST_LATE])
    more = f"\n  and {len(late) - _MOST_LATE} more" if len(late) > _MOST_LATE else ""
    return f"{len(late)} of {many} actors {what} after {done['within']:g} s:{those}{more}"


_DONE: Final = {"stop": "stopped", "restart": "restarted", "kill": "killed"}
_OF_NODE: Final = {
    "stop": "has stopped",
    "restart": "was replaced by a new process",
    "kill": "was killed; its supervisor restarts it",
}


def as_message(message: dict[str, Any]) -> str:
    """Return a message that an actor has handled, or how many were not shown."""
    message = _printable(message)
    if "dropped" in message:
        return f"... and {message['dropped']} more"
    if message["outcome"] == "begins":
        return f"{message['method']}  begins  from {message['from']}"
    took = f"{message['seconds'] * 1000:.3f} ms"
    return f"{message['method']}  {message['outcome']}  {took}  from {message['from']}"


def as_log_line(line: str) -> str:
    """Return a line of the log for people: what is JSON as time, level, node, event and the other facts."""
    record = _record(line)
    if record is None:
        return line  # it was made for a terminal
    record = printable_facts(record, _BELOW)
    below = [record.pop(key) for key in _BELOW if isinstance(record.get(key), str)]
    first = [record.pop(key, "") for key in ("timestamp", "level", "node", "event")]
    facts = [f"{key}={_fact(value)}" for key, value in record.items()]
    at, level, node, event = map(str, first)
    head = "  ".join(filter(None, (at, f"{level:<8}", node, event, *facts)))
    return "\n    ".join([head, *(text for part in below for text in part.splitlines())])


def as_raw_line(line: str) -> str:
    """Return a line of the log as JSON, which it is unless it was made for a terminal."""
    return line if _record(line) is not None else as_json({"line": line}, indent=None)


def _record(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def as_state(found: dict[str, Any]) -> str:
    """Return what an actor says of itself."""
    found = _printable(found)
    head = f"{found['name']}  {found['class']} on {found['node']}"
    state = found["state"]
    if not isinstance(state, dict):
        return f"{head}\n{as_json(state)}"
    width = max(map(len, state), default=0)
    rows = [
        f"  {name:{width}}  {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in state.items()
    ]
    return "\n".join([head, *rows])


def as_started(child: dict[str, Any]) -> str:
    """Return what was added to a supervisor."""
    child = _printable(child)
    where = f" on {child['node']}" if child["node"] else ""
    return f"started {child['name']} under {child['supervisor'] or 'the top supervisor'}{where}"


def as_groups(groups: dict[str, list[dict[str, Any]]]) -> str:
    """Return groups and the nodes that each has now."""
    groups = _printable(groups)
    return "\n".join(
        f"{name}: " + (", ".join(node["name"] for node in nodes) or "none")
        for name, nodes in groups.items()
    )


def as_tree(root: dict[str, Any], lines: LineDrawing = UNICODE) -> str:
    """Return a supervision tree, one child per line in start order."""
    root = _printable(root)
    return "\n".join([_tree_item(root), *_tree_children(root, lines, "")])


def _tree_children(parent: dict[str, Any], lines: LineDrawing, indent: str) -> Iterator[str]:
    children = parent.get("children", [])
    for number, child in enumerate(children, 1):
        last = number == len(children)
        yield indent + (lines.last if last else lines.branch) + _tree_item(child)
        yield from _tree_children(child, lines, indent + (lines.empty if last else lines.down))


def _tree_item(item: dict[str, Any]) -> str:
    """Return one line: name, kind, state, restarts and last exit."""
    kind = item["kind"]
    if kind == "actor":
        kind = f"{class_name(item)} on {item['node']}"
    elif kind == "node" and item["pid"] is not None:
        kind = f"node, pid {item['pid']}"
    elif kind == "program":
        port = "" if item["port"] is None else f", port {item['port']}"
        kind = f"program, pid {or_dash(item['pid'])}{port}"
    line = f"{item['name']}  ({kind})  {item['state']}"
    if item.get("answering") is False:
        line += "  not answering"
    if item.get("restarts"):
        line += f"  restarts: {item['restarts']}"
    if item.get("last_exit"):
        line += f"  last exit: {item['last_exit'].partition(chr(10))[0]}"
    return line


def as_event(event: dict[str, Any]) -> str:
    """Return one event as one line: its time, its name, and the facts that fit into a line."""
    facts = " ".join(
        f"{name}={_fact(value)}"
        for name, value in event["facts"].items()
        if value not in (None, "") and name not in _MULTILINE_FACTS
    )
    return printable(f"{event['at']}  {event['kind']}  {facts}".rstrip())


def _fact(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if all(sign.isalnum() or sign in _UNQUOTED for sign in text):
        return text
    return printable_json(json.dumps(text.partition("\n")[0], ensure_ascii=False))


def as_admin(found: dict[str, Any]) -> str:
    """Return the URL of the dashboard with its token, which browsers keep to themselves behind the #."""
    address = found["address"]
    if address.startswith("unix:"):
        return f"{address}  (token {found['token']})"
    return f"{found['scheme']}://{address}/#token={found['token']}"


def as_advice(found: list[dict[str, Any]]) -> str:
    """Return what `actors doctor` has found, two lines each."""
    found = _printable(found)
    return "\n".join(f"{one['about']}: {one['what']}\n  {one['why']}" for one in found)


def as_stacks(facts: dict[str, Any]) -> str:
    """Return where the threads and tasks of a node are, the most recent call first."""
    facts = _printable(facts)
    lines = [f"node {facts['name']} ({facts['kind']}, pid {facts['pid']}), {facts['state']}"]
    for thread in facts["threads"]:
        lines += ["", f"thread {thread['thread']}", *_frames(thread)]
    if facts["tasks"] is None:
        lines += ["", "its tasks cannot be shown: its loop does not get to it"]
    for task in facts["tasks"] or ():
        lines += ["", _task_names(task), *_frames(task)]
    return "\n".join(lines)


def _task_names(task: dict[str, Any]) -> str:
    names = ", ".join(task["names"])
    if task["count"] == 1:
        return f"task {names}"
    more = task["count"] - len(task["names"])
    return f"{task['count']} tasks at the same place: {names}{f' and {more} more' if more else ''}"


def as_profile(profile: dict[str, Any]) -> str:
    """Return for each node the functions that used most CPU time."""
    parts: list[str] = []
    for node in _printable(profile)["nodes"]:
        head = f"node {node['name']} ({node['kind']}, pid {node['pid']})"
        if "error" in node:
            parts += [f"{head}: {node['error']}", ""]
            continue
        busy = 100 * node["cpu"] / (node["seconds"] or 1)
        parts.append(f"{head}: {busy:.0f} % of a CPU, {count_of(node['samples'], 'sample')}")
        rows = [
            (f"{own:.3f} s", f"{whole:.3f} s", name, place)
            for name, place, own, whole in busiest(node, _MOST_FUNCTIONS)
        ]
        parts += [*table(("SELF", "TOTAL", "FUNCTION", "PLACE"), rows), ""]
    return "\n".join(parts).rstrip()


def _frames(of: dict[str, Any]) -> list[str]:
    return [f"  {frame}" for frame in of["stack"]]
