"""The users' own metrics of all nodes, added up.

Rule 1: a counter never falls because a node has ended: what its processes had counted when they were last
asked stays in the sum.
Rule 2: a gauge is of the nodes that live: added up, the least or the greatest, as its multiprocess mode says;
in every other mode it is shown for each node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

__all__ = ["Family", "UserMetrics"]

Labels: TypeAlias = tuple[tuple[str, str], ...]
_Sums: TypeAlias = "dict[tuple[str, Labels], float]"
_SUMMED: Final = frozenset({"counter", "histogram", "summary", "gaugehistogram"})
_BY_MODE: Final[Mapping[str, Callable[[float, float], float]]] = {
    "sum": lambda one, other: one + other,
    "livesum": lambda one, other: one + other,
    "min": min,
    "livemin": min,
    "max": max,
    "livemax": max,
}


class Family(NamedTuple):
    """One metric of all nodes.

    Attributes:
        name: as the user gave it.
        kind: ``counter``, ``gauge`` ...
        text: what it means, in the user's words.
        samples: name, labels and value each.
    """

    name: str
    kind: str
    text: str
    samples: _Sums


class UserMetrics:
    """Adds up what the nodes said when they were last asked, and what those that have ended had counted."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[str, list[list[Any]]]] = {}
        self._ended: dict[str, Family] = {}

    def take(self, nodes: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the figures of all nodes; those that did not answer in time are as they were.

        Args:
            nodes: by name, with ``pid`` and ``figures``. Nodes of one process have the same metrics.
        """
        living: dict[int, tuple[str, list[list[Any]]]] = {}
        for name, facts in nodes.items():
            pid = facts["pid"]
            if facts["figures"] is not None and facts["figures"]["user"]["metrics"]:
                living.setdefault(pid, (name, facts["figures"]["user"]["metrics"]))
            elif pid in self._last:
                living.setdefault(pid, self._last[pid])
        for pid in self._last.keys() - living.keys():
            for metric in self._last[pid][1]:
                if metric[1] in _SUMMED:
                    _add(self._ended, "", metric)
        self._last = living

    def families(self) -> list[Family]:
        """Return the metrics, each once."""
        found = {
            name: family._replace(samples=dict(family.samples))
            for name, family in self._ended.items()
        }
        for node, metrics in self._last.values():
            for metric in metrics:
                _add(found, node, metric)
        return list(found.values())


def _add(found: dict[str, Family], node: str, metric: Iterable[Any]) -> None:
    """Add one node's samples of a metric; those of another kind than the first are left out."""
    name, kind, text, mode, samples = metric
    family = found.setdefault(name, Family(name, kind, text, {}))
    if family.kind != kind:
        return
    together = _BY_MODE["sum"] if kind in _SUMMED else _BY_MODE.get(mode)
    for sample, labels, value in samples:
        known: Labels = tuple((key, text) for key, text in labels)
        key = (sample, known if together is not None else (*known, ("node", node)))
        before = family.samples.get(key)
        family.samples[key] = (
            value if before is None or together is None else together(before, value)
        )
