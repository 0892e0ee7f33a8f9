"""How many descriptors this process has left.

Rule 1: a guess from one number, without a look at the whole table: the kernel gives the lowest
free descriptor, so a high one says that the table is nearly full.
"""

from __future__ import annotations

import os
import resource
from typing import Final

__all__ = ["nearly_full", "scarce"]

_RESERVE: Final = 32
"""Kept free for what is not a connection: files, pipes, sockets of other nodes."""


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
