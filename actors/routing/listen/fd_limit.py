"""Whether this process has nearly used up its file descriptors.

Rule 1: judged by the number of a new descriptor: the kernel gives the lowest free one, so a high number
means that the table is nearly full.
"""

from __future__ import annotations

import os
import resource
from typing import Final

__all__ = ["nearly_full", "scarce"]

_RESERVE: Final = 32
"""Descriptors kept free for files, pipes and links to other nodes."""


def nearly_full(fd: int) -> bool:
    """Whether *fd*, just received, is among the last that this process may have."""
    return fd >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _RESERVE


def scarce() -> bool:
    """Whether the next descriptor would be among the last."""
    try:
        fd = os.open("/", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return True
    os.close(fd)
    return nearly_full(fd)
