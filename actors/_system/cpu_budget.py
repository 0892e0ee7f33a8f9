"""How many CPUs this process may really use, and whether a topology asks for more."""

from __future__ import annotations

import os
from math import ceil, inf
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from actors._system.control_groups import groups_with

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors.nodes import NodesSpec

__all__ = ["cpu_budget", "cpu_quota", "usable_cpus"]

_ROOT: Final = Path("/")
_POOLS: Final = 2
"""Members of pools for each CPU without a warning: some of them wait at any time."""


def cpu_quota(root: Path = _ROOT) -> float:
    """Return the CPUs that the control groups of this process allow, infinity for no limit.

    The limit of a group holds for all groups below it, so the least one counts. Version 2 has it in
    ``cpu.max``, version 1 in two files of the hierarchy of the controller ``cpu``.

    Args:
        root: the file system to look at, for tests.
    """
    return min(map(_limit, groups_with("cpu", root)), default=inf)


def _limit(group: Path) -> float:
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (group / "cpu.cfs_period_us").read_text(encoding="ascii")
        unlimited = quota == "max" or int(quota) <= 0
        return inf if unlimited else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return inf


def usable_cpus() -> int:
    """Return the CPUs this process may use, by affinity and by control group, at least 1."""
    affinity = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = cpu_quota()
    return max(1, affinity if quota == inf else min(affinity, ceil(quota)))


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
