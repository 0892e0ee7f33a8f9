"""Whether a topology asks for more CPUs than this process may really use."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from actors._base.cpus import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.nodes import NodesSpec

__all__ = ["cpu_budget"]

_POOLS: Final = 2
"""Members of pools for each CPU without a warning: some of them wait at any time."""


def cpu_budget(
    groups: Sequence[NodesSpec], pools: Mapping[str, int] = MappingProxyType({})
) -> dict[str, Any] | None:
    """Return the facts of a warning if *groups* or *pools* ask for more than there are CPUs, else None.

    A node counts as one, in a process or a thread of its own; so do two members of a pool.

    Args:
        groups: the groups of nodes.
        pools: the number of members of each pool, by name.
    """
    wanted = sum(group.count for group in groups)
    members = sum(pools.values())
    usable = usable_cpus()
    if wanted <= usable and members <= _POOLS * usable:
        return None
    shares = ", ".join(f"{group.name}={group.count}" for group in groups)
    sizes = ", ".join(f"{name}={size}" for name, size in pools.items())
    return {
        "nodes": wanted,
        "cpus": usable,
        "groups": shares,
        "pools": sizes,
        "advice": "more busy nodes and pool members than CPUs only switch",
    }
