"""The pages of the full-screen `actors top`: what each lists of a look, in which columns and orders.

Rule: pure; the cells are those of `client.tables`, which `actors top` as text prints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from actors.cli.client.tables import (
    ACTORS,
    HANDLERS,
    LISTENERS,
    NODES,
    POOLS,
    PROGRAMS,
    REQUESTS,
    actor_cells,
    class_name,
    handler_cells,
    listener_cells,
    node_cells,
    node_figures,
    percent,
    pool_cells,
    program_cells,
    request_cells,
)

__all__ = ["PAGES", "Facts", "Page", "in_order", "matching", "name_of", "tone_of"]

Facts: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """One list.

    Attributes:
        kind: what it lists, in the singular.
        title: of the page.
        titles: of its columns.
        orders: the orders that rows may have, each with the column that shows it.
        importance: the columns, those first that a narrow terminal shows.
        text: the columns that begin at their left edge; the others are figures.
        rows: returns the facts of each row of a look.
        cells: returns the cells of a row.
        keys: for each order, what is compared; none where the system itself puts rows in order.
    """

    kind: str
    title: str
    titles: tuple[str, ...]
    orders: dict[str, int]
    importance: tuple[int, ...]
    text: frozenset[int]
    rows: Callable[[Facts], list[Facts]]
    cells: Callable[[Facts], tuple[str, ...]]
    keys: dict[str, Callable[[Facts], Any]]

    @property
    def right(self) -> frozenset[int]:
        """The columns of figures."""
        return frozenset(range(len(self.titles))) - self.text


def _by(*path: str) -> Callable[[Facts], Any]:
    """Return what reads one fact, a figure that is not known as less than all."""

    def read(facts: Facts) -> Any:
        found: Any = facts
        for name in path:
            found = found[name]
        return -1 if found is None else found

    return read


def _by_name(facts: Facts) -> str:
    return name_of(facts).casefold()


def name_of(facts: Facts) -> str:
    """Return by which name a row is known from one look to the next."""
    if "method" in facts:
        return f"{class_name(facts)}.{facts['method']}"
    name: str = facts["name"]
    return name


def _listeners(look: Facts) -> list[Facts]:
    asked = {one["listener"]: one for one in look["requests"]}
    return [{**one, "served": asked.get(one["name"])} for one in look["listeners"]]


def _listener(facts: Facts) -> tuple[str, ...]:
    *counts, opened = listener_cells(facts)
    served = facts["served"]
    requests = ("-", "-", "-") if served is None else request_cells(served)[1:]
    return (facts["name"], *counts, *requests, opened)


def _program(facts: Facts) -> tuple[str, ...]:
    return (*program_cells(facts), percent(facts["cpu"]), facts["health"] or "-")


def _open(facts: Facts) -> int:
    return sum(facts["open"].values())


def _rate(facts: Facts) -> float:
    return 0.0 if facts["served"] is None else float(facts["served"]["rate"])


_PAGES: Final = (
    Page(
        kind="actor",
        title="Actors",
        titles=ACTORS,
        orders={
            "name": 0,
            "class": 1,
            "node": 2,
            "mailbox": 3,
            "memory": 3,
            "rate": 4,
            "cpu": 5,
            "handling": 6,
            "restarts": 8,
        },
        importance=(0, 3, 5, 4, 6, 2, 8, 1, 7),
        text=frozenset({0, 1, 2, 6, 7}),
        rows=lambda look: list(look["actors"]),
        cells=actor_cells,
        keys={},
    ),
    Page(
        kind="node",
        title="Nodes",
        titles=(*NODES, "CPU", "LAG", "ACTORS", "MESSAGES/S"),
        orders={
            "name": 0,
            "restarts": 4,
            "memory": 5,
            "cpu": 6,
            "lag": 7,
            "actors": 8,
            "rate": 9,
        },
        importance=(0, 2, 6, 5, 7, 9, 8, 3, 4, 1),
        text=frozenset({0, 1, 2}),
        rows=lambda look: list(look["nodes"]),
        cells=lambda facts: (*node_cells(facts), *node_figures(facts)),
        keys={
            "name": _by_name,
            "restarts": _by("restarts"),
            "memory": _by("rss"),
            "cpu": _by("cpu"),
            "lag": _by("lag"),
            "actors": _by("actors"),
            "rate": _by("rate"),
        },
    ),
    Page(
        kind="listener",
        title="Listeners",
        titles=("NAME", *LISTENERS[:-1], *REQUESTS[1:], LISTENERS[-1]),
        orders={"name": 0, "accepted": 4, "pending": 5, "rate": 10, "open": 13},
        importance=(0, 1, 10, 4, 12, 13, 5, 2, 3, 11, 6, 7, 8, 9),
        text=frozenset({0, 1, 2, 3, 13}),
        rows=_listeners,
        cells=_listener,
        keys={
            "name": _by_name,
            "accepted": _by("accepted"),
            "pending": _by("pending"),
            "rate": _rate,
            "open": _open,
        },
    ),
    Page(
        kind="pool",
        title="Pools",
        titles=POOLS,
        orders={"name": 0, "queued": 2, "running": 3, "completed": 4, "failed": 5, "cpu": 6},
        importance=(0, 2, 3, 1, 5, 6, 4, 10, 8, 9, 7),
        text=frozenset({0}),
        rows=lambda look: list(look["pools"]),
        cells=pool_cells,
        keys={
            "name": _by_name,
            "queued": _by("queued"),
            "running": _by("running"),
            "completed": _by("completed"),
            "failed": _by("failed"),
            "cpu": _by("utilisation"),
        },
    ),
    Page(
        kind="program",
        title="Programs",
        titles=(*PROGRAMS, "CPU", "HEALTH"),
        orders={"name": 0, "restarts": 4, "memory": 5, "cpu": 6},
        importance=(0, 1, 6, 5, 4, 3, 2, 7),
        text=frozenset({0, 1, 7}),
        rows=lambda look: list(look["programs"]),
        cells=_program,
        keys={
            "name": _by_name,
            "restarts": _by("restarts"),
            "memory": _by("rss"),
            "cpu": _by("cpu"),
        },
    ),
    Page(
        kind="handler",
        title="Handlers",
        titles=HANDLERS,
        orders={"name": 0, "rate": 1, "mailbox": 3, "handling": 5, "cpu": 6},
        importance=(0, 6, 5, 3, 1, 4, 2),
        text=frozenset({0}),
        rows=lambda look: list(look["handlers"]),
        cells=handler_cells,
        keys={
            "name": _by_name,
            "rate": _by("run", "count"),
            "mailbox": _by("wait", "p99"),
            "handling": _by("run", "p99"),
            "cpu": _by("cpu_seconds"),
        },
    ),
)
PAGES: Final = {page.title: page for page in _PAGES}


def in_order(page: Page, rows: Sequence[Facts], order: str) -> list[Facts]:
    """Return rows in an order: names alphabetically, of figures the largest first."""
    key = page.keys.get(order)
    if key is None:
        return list(rows)
    return sorted(sorted(rows, key=_by_name), key=key, reverse=order != "name")


def matching(rows: Sequence[Facts], match: str) -> list[Facts]:
    """Return the rows of which the name, the class or the node contains *match*, in any case."""
    wanted = match.casefold()
    return [
        facts
        for facts in rows
        if any(
            wanted in str(facts.get(part, "")).casefold()
            for part in ("name", "class", "node", "method", "address")
        )
    ]


def tone_of(kind: str, facts: Facts) -> str:
    """Return how a row is coloured: ``bad``, ``busy`` or not at all."""
    if kind == "node":
        hangs = facts["state"] == "READY" and not facts["answering"]
        return "bad" if facts["blocked"] or hangs else _tone_of_state(facts["state"])
    if kind == "listener":
        return "" if facts["accepting"] else "bad"
    if kind == "pool":
        return "busy" if facts["queued"] else ""
    if kind == "program":
        return _tone_of_state(facts["state"])
    return "busy" if facts.get("mailbox") or facts.get("handling") else ""


def _tone_of_state(state: str) -> str:
    return "" if state in {"READY", "RUNNING"} else "bad"
