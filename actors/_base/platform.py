"""Which platforms actors run on; `import actors` checks it before anything else."""

from __future__ import annotations

import os
import sys
from typing import Final

__all__ = ["check_platform", "open_standard_descriptors"]

_PLATFORMS: Final = ("linux", "darwin")


def check_platform(platform: str = sys.platform) -> None:
    """Refuse a *platform* without AF_UNIX socket pairs, fd passing and process groups.

    Raises:
        ImportError: it is neither Linux nor macOS.
    """
    if platform not in _PLATFORMS:
        raise ImportError(
            f"actors runs on Linux, and on macOS where a primitive exists, not on {platform!r}"
        )


def open_standard_descriptors() -> None:
    """Open ``/dev/null`` in the place of those of descriptors 0 to 2 that were closed when the process started.

    Otherwise the next sockets and files have these numbers: then a library writes an error message into a
    connection, a child process gets a socket as its standard output, and uvloop aborts.
    """
    for fd, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(
                os.open(os.devnull, os.O_RDWR), True
            )  # the lowest that is free: *fd*
            if getattr(sys, name) is None:
                setattr(sys, name, open(fd, mode, errors="backslashreplace", closefd=False))  # noqa: SIM115 - like Python's own
