"""How many CPUs this process may really use."""

from __future__ import annotations

import os
from math import ceil, inf
from pathlib import Path
from typing import Final

from actors._base.control_groups import groups_with

__all__ = ["cpu_quota", "has_second_cpu", "usable_cpus"]

_ROOT: Final = Path("/")


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


def has_second_cpu() -> bool:
    """Return whether another process runs while this one does, now."""
    return usable_cpus() > 1
