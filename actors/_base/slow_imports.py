"""Imports a module of the user, and says so if that took long: whoever waits for a node waits for it."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

from actors._base.log import system_logger

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["SLOW", "Stopwatch", "advice_for", "timed_import"]

SLOW: Final = 1.0
"""Seconds from which an import is worth a line, without those in which there was no CPU for it."""


class Stopwatch:
    """Measures seconds on this thread, without those in which it could run and had no CPU."""

    def __init__(self) -> None:
        self._began = perf_counter() - _waited()

    def read(self) -> float:
        """Return the seconds since it was made."""
        return round(perf_counter() - _waited() - self._began, 3)


def _waited() -> float:
    """Return for how long this thread has waited for a CPU; 0 where the kernel does not say it."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def timed_import(name: str) -> ModuleType:
    """Import a module; a warning `slow import` names one that took `SLOW` seconds or more.

    Raises:
        BaseException: as the import itself.
    """
    if name in sys.modules:
        return import_module(name)
    watch = Stopwatch()
    try:
        return import_module(name)
    finally:
        seconds = watch.read()
        if seconds >= SLOW:
            system_logger().warning(
                "slow import", module=name, seconds=seconds, advice=advice_for(name)
            )


def advice_for(module: str) -> str:
    """Return what to do about a slow import."""
    return (
        f'`python -X importtime -c "import {module}"` shows what takes the time; import it where it is '
        "used, or once for all nodes: nodes(preload=)"
    )
