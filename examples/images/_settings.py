"""The settings, from the environment variables `IMAGES_PORT` and `IMAGES_FOLDER`, and the CPUs there are."""

import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

__all__ = ["FOLDER", "POOL", "cpus", "folder", "port"]

POOL: Final = "resize"
FOLDER: Final = "IMAGES_FOLDER"
_HIGHEST_PORT: Final = 65535


def port() -> int:
    """Return the port to listen on; 0 lets the operating system choose.

    Raises:
        ValueError: `IMAGES_PORT` is not a port number.
    """
    value = os.environ.get("IMAGES_PORT", "8000")
    if not (value.isascii() and value.isdecimal() and int(value) <= _HIGHEST_PORT):
        raise ValueError(f"IMAGES_PORT must be a number from 0 to {_HIGHEST_PORT}, got {value!r}")
    return int(value)


def folder() -> str:
    """Return the absolute path of the folder that all web nodes share: a temporary one unless it is set.

    Raises:
        ValueError: `IMAGES_FOLDER` is not a folder that exists.
    """
    value = os.environ.get(FOLDER)
    if value is None:
        return _temporary().name
    if not Path(value).is_dir():
        raise ValueError(f"{FOLDER} must be a folder that exists, got {value!r}")
    return str(Path(value).absolute())


@cache
def _temporary() -> TemporaryDirectory[str]:
    """Make the folder that is removed when this process ends."""
    return TemporaryDirectory(prefix="images-")


def cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
