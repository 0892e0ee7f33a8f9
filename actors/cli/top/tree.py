"""The supervision tree as far as it is open: its rows, and what has to be asked for them. Pure.

Rule: only supervisors that are open are asked about, and of each as many children as were wanted so far.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from actors.cli.client.tables import class_name, or_dash

__all__ = ["TITLES", "Branch", "Tree"]

TITLES: Final = ("NAME", "STATE", "RESTARTS", "WHAT", "LAST-EXIT")
_PART: Final = 200
"""Children that are asked for at once."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One row of the tree.

    Attributes:
        path: the names of the supervisors above and its own, by which it is known.
        depth: how many supervisors are above it.
        facts: what is known of it; a row that stands for more children has only their number, ``more``.
    """

    path: str
    depth: int
    facts: dict[str, Any]

    @property
    def kind(self) -> str:
        """What it is."""
        kind: str = "more" if "more" in self.facts else self.facts["kind"]
        return kind


class Tree:
    """The part of the tree that is open."""

    def __init__(self) -> None:
        self._wanted: dict[str, int] = {"": _PART}
        self._known: dict[str, tuple[int, list[dict[str, Any]]]] = {}

    def questions(self) -> list[tuple[str, int, int]]:
        """Return what has to be asked to show it: paths, the first child, and how many."""
        return [
            (path, start, _PART)
            for path, wanted in self._wanted.items()
            for start in range(0, wanted, _PART)
        ]

    def take(self, path: str, start: int, answer: dict[str, Any] | None) -> None:
        """Take what was asked for; None if there is no such supervisor any more."""
        if answer is None:
            self._known.pop(path, None)
            if path:
                self._wanted.pop(path, None)
            return
        children = self._known.get(path, (0, []))[1][:start] + answer["children"]
        self._known[path] = answer["total"], children

    def toggle(self, branch: Branch) -> bool:
        """Open a supervisor, or close it; of a row for more children, ask for them. Return whether to ask."""
        if branch.kind == "more":
            above = branch.path.rpartition("/")[0]
            self._wanted[above] = self._wanted.get(above, 0) + _PART
            return True
        if branch.kind != "supervisor":
            return False
        if branch.path in self._wanted:
            for path in [
                one for one in self._wanted if one and f"{one}/".startswith(f"{branch.path}/")
            ]:
                self._wanted.pop(path)
                self._known.pop(path, None)
            return False
        self._wanted[branch.path] = _PART
        return True

    def rows(self, match: str = "") -> list[Branch]:
        """Return its rows from top to bottom; with *match*, those whose names contain it, and what is above."""
        rows = list(self._below("", 0))
        if not match:
            return rows
        wanted = match.casefold()
        kept = {row.path for row in rows if wanted in str(row.facts.get("name", "")).casefold()}
        return [row for row in rows if any(f"{one}/".startswith(f"{row.path}/") for one in kept)]

    def _below(self, path: str, depth: int) -> Iterator[Branch]:
        total, children = self._known.get(path, (0, []))
        for child in children:
            own = f"{path}/{child['name']}" if path else child["name"]
            yield Branch(own, depth, child)
            if child["kind"] == "supervisor" and own in self._wanted:
                yield from self._below(own, depth + 1)
        if len(children) < total:
            yield Branch(f"{path}/…", depth, {"more": total - len(children)})

    def cells(self, branch: Branch) -> tuple[str, ...]:
        """Return the cells of a row."""
        indent, facts = "  " * branch.depth, branch.facts
        if branch.kind == "more":
            return (f"{indent}… {facts['more']} more", "", "", "", "")
        mark = "" if branch.kind != "supervisor" else "▾ " if branch.path in self._wanted else "▸ "
        exit_line = (facts.get("last_exit") or "-").partition("\n")[0]
        return (
            f"{indent}{mark}{facts['name']}",
            facts["state"],
            str(facts.get("restarts") or 0),
            _what(facts),
            exit_line,
        )


def _what(facts: dict[str, Any]) -> str:
    kind: str = facts["kind"]
    if kind == "actor":
        return f"{class_name(facts)} on {facts['node']}"
    if kind in {"node", "program"}:
        return f"{kind}, pid {or_dash(facts['pid'])}"
    return kind
