"""The lines above the lists: how the system is, which page is shown, and by which column it is sorted."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from actors.cli.client.tables import blocked_line, count_of
from actors.cli.top.pages import PAGES, Facts, Page

__all__ = ["summary", "tabs", "titled"]


def summary(label: str, look: Facts, lost: str) -> tuple[str, str]:
    """Return the first line, and its style."""
    name = f"system {label or look['pid']}"
    if lost:
        return f"{name} LOST, dialing again: {lost}", "bold red"
    nodes: Sequence[Facts] = look["nodes"]
    total = sum(node["actors"] or 0 for node in nodes)
    rate = sum(node["rate"] or 0 for node in nodes)
    blocked = [blocked_line(node) for node in nodes if node["blocked"]]
    parts = [name, count_of(len(nodes), "node"), count_of(total, "actor"), f"{rate:.1f} messages/s"]
    return "  ".join([*parts, *blocked]), "bold"


def tabs(title: str, width: int, match: str, *, tree: bool) -> Text:
    """Return the titles of the pages, that of the one shown reversed, and the filter.

    Without room for all titles, only that one.
    """
    names = {one: "Tree" if tree and one == title else one for one in PAGES}
    filtered = (f"  /{match}" if match else "", "yellow")
    if sum(cell_len(name) + 2 for name in names.values()) > width:
        number = f" {list(PAGES).index(title) + 1}/{len(PAGES)}, Tab"
        return Text.assemble((f" {names[title]} ", "reverse"), number, filtered)
    shown = [(f" {name} ", "reverse" if one == title else "") for one, name in names.items()]
    return Text.assemble(*shown, filtered)


def titled(page: Page, order: str) -> tuple[str, ...]:
    """Return the titles of the columns, the one that rows are sorted by with a mark."""
    at = page.orders[order]
    mark = "▲" if order in {"name", "class", "node"} else "▼"
    return tuple(
        f"{title}{mark}" if index == at else title for index, title in enumerate(page.titles)
    )
