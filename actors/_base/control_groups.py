"""The control groups that this process is in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["groups_with"]


def groups_with(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folder of each control group that this process is in, or below, of one controller.

    Args:
        controller: such as "cpu"; version 2 has one hierarchy for all of them.
        root: the file system to look at.
    """
    mounts = root / "sys/fs/cgroup"
    try:
        # Folders have names of any bytes.
        lines = os.fsdecode((root / "proc/self/cgroup").read_bytes()).rstrip("\n").split("\n")
    except OSError:
        lines = ["0::/"]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # In a container the path may be one of the host, which is not to be seen: the root is.
        inner = Path(path.lstrip("/"))
        names = ["", "unified"] if not controllers else [controller, controllers]
        for mount in (mounts / name for name in names):
            yield from (mount / part for part in (inner, *inner.parents))
