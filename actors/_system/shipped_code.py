"""Which distribution has the user's code: its version says whether two machines have the same."""

from __future__ import annotations

from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING

from actors._system.tree_specs import ActorSpec, SupervisorSpec, path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actors._system.topology import Topology

__all__ = ["distribution_of"]

_OWN = "actors"


def distribution_of(topology: Topology) -> str:
    """Return the name of the distribution that has the code of a topology, "" if none has.

    That is the one of its first listener, or else of its first actor, whose package is installed.
    """
    packages = dict.fromkeys(_packages(topology))
    installed = packages_distributions() if packages else {}
    return next((installed[name][0] for name in packages if name in installed), "")


def _packages(topology: Topology) -> Iterator[str]:
    paths = [listener.path for listener in topology.listeners]
    for path in (*paths, *_classes(topology.children)):
        package = path.partition(":")[0].partition(".")[0]
        if package not in {"__main__", _OWN}:
            yield package


def _classes(specs: Iterable[object]) -> Iterator[str]:
    for spec in specs:
        if isinstance(spec, ActorSpec):
            yield path_of(spec)
        elif isinstance(spec, SupervisorSpec):
            yield from _classes(spec.children)
