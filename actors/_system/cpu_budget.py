"""How many CPUs this process may really use, and whether a topology asks for more."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.nodes import NodesSpec

__all__ = ["cpu_budget", "usable_cpus"]


def _quota() -> float:
    """Return the CPUs that the control group allows, infinity for no limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return float("inf") if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return float("inf")


def usable_cpus() -> int:
    """Return the CPUs this process may use, by affinity and by control group, at least 1."""
    affinity = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = _quota()
    return max(1, affinity if quota == float("inf") else min(affinity, ceil(quota)))


def cpu_budget(groups: Sequence[NodesSpec]) -> dict[str, Any] | None:
    """Return the facts of a warning if *groups* have more process nodes than there are CPUs, else None."""
    groups = [group for group in groups if group.kind == "process"]
    wanted = sum(group.count for group in groups)
    usable = usable_cpus()
    if wanted <= usable:
        return None
    shares = ", ".join(f"{group.name}={group.count}" for group in groups)
    return {
        "nodes": wanted,
        "cpus": usable,
        "groups": shares,
        "advice": "more busy processes than CPUs only switch",
    }
