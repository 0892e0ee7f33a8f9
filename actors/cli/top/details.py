"""The details of one actor, node, listener, pool, program or handler as lines of text. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actors.cli.client.tables import (
    ACTORS,
    HANDLERS,
    PLACES,
    actor_cells,
    blocked_line,
    count_of,
    duration,
    handler_cells,
    memory,
    place_cells,
    table,
)
from actors.cli.top.pages import PAGES, Facts

__all__ = ["about_actor", "about_row"]


def about_actor(found: Facts) -> list[str]:
    """Return what an actor does, what waits for it, and how long its handlers take."""
    handling = found["handling"]
    doing = "nothing" if handling is None else f"{handling} {duration(found['handling_seconds'])}"
    lines = [
        f"class      {found['class']}",
        f"node       {found['node']}",
        f"state      {found['state']}",
        f"restarts   {found['restarts']}",
        f"handling   {doing}",
        f"waits for  {', '.join(found['waiting_for']) or 'nobody'}",
        f"queued     {count_of(found['queued'], 'message')}, {memory(found['queued_bytes'])} of big ones",
        *(f"           {count} of {method}" for method, count in found["by_method"].items()),
    ]
    if found["oldest"]:
        lines += ["", "oldest first; age and sender of what has come since this was opened"]
        lines += [_message(number, one) for number, one in enumerate(found["oldest"], 1)]
    if found["handlers"]:
        lines += ["", "handlers of its class on its node"]
        lines += table(HANDLERS, list(map(handler_cells, found["handlers"])))
    return lines


def _message(number: int, message: Facts) -> str:
    age = "" if message["age"] is None else duration(message["age"])
    sender = "" if message["from"] is None else f"from {message['from']}"
    return f"{number:4}  {'  '.join(filter(None, (message['method'], age, sender)))}"


def about_row(kind: str, facts: Facts, look: Facts) -> list[str]:
    """Return a row of a page with all its columns, one below another, and what belongs to it."""
    page = next(page for page in PAGES.values() if page.kind == kind)
    width = max(map(len, page.titles))
    cells = zip(page.titles, page.cells(facts), strict=True)
    lines = [f"{title.lower():{width}}  {cell}" for title, cell in cells]
    if kind == "node":
        lines += _about_node(facts, look)
    elif kind == "pool":
        lines += ["", "workers", *map(_worker, facts["workers"])]
    elif kind == "handler":
        lines += ["", f"class {facts['class']}"]
    return lines


def _about_node(facts: Facts, look: Facts) -> Iterator[str]:
    if facts["boot_seconds"] is not None:
        yield f"{'booted in':10}  {duration(facts['boot_seconds'])}"
    places = [one for one in look.get("places", []) if one["name"] == facts.get("place")]
    if places:
        yield from ("", "its place", *table(PLACES, list(map(place_cells, places))))
    if facts["blocked"]:
        yield from ("", blocked_line(facts))
    there = [actor for actor in look["actors"] if actor["node"] == facts["name"]]
    if there:
        yield from ("", "the first of its actors")
        yield from table(ACTORS, list(map(actor_cells, there)))


def _worker(worker: Any) -> str:
    return "  " + "  ".join(f"{name} {value}" for name, value in worker.items())
