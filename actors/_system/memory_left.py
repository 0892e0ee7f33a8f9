"""Which part of its memory this machine, or the control group of this process, has left."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from actors._base.control_groups import groups_with

__all__ = ["memory_left"]

_ROOT: Final = Path("/")


def memory_left(root: Path = _ROOT) -> float:
    """Return the part of the memory that is available, 0 to 1; the least of the machine's and its groups'.

    It is 1 where the system does not say.

    Args:
        root: the file system to look at, for tests.
    """
    shares = [_of_machine(root), *map(_of_group, groups_with("memory", root))]
    return min((share for share in shares if share is not None), default=1.0)


def _of_machine(root: Path) -> float | None:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        kib = {name: int(rest.split()[0]) for name, _, rest in (li.partition(":") for li in lines)}
        return kib["MemAvailable"] / kib["MemTotal"]
    except (OSError, KeyError, ValueError, IndexError, ZeroDivisionError):
        return None


def _of_group(group: Path) -> float | None:
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
        return None if limit == "max" else max(0.0, 1 - used / int(limit))
    except (OSError, ValueError, ZeroDivisionError):
        return None
