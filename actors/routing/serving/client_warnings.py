"""Limits how often a server warns of what clients send, since any client can cause such a line at any rate."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

__all__ = ["ClientWarnings"]

_EVERY: Final = 10.0
"""Seconds between two warnings with the same text."""
_TEXTS: Final = 64
"""Texts that are counted; one more, and all counts start again."""


class ClientWarnings(logging.Filter):
    """Lets one warning of each text pass in `_EVERY` seconds, with the number of those between.

    Errors pass: they are the application's. So do warnings that a logger of the application makes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._counts: dict[object, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether *record* is logged."""
        if record.levelno != logging.WARNING:
            return True
        now = self._clock()
        if len(self._counts) >= _TEXTS:
            self._counts.clear()
        last, suppressed = self._counts.get(record.msg, (float("-inf"), 0))
        if now - last < _EVERY:
            self._counts[record.msg] = (last, suppressed + 1)
            return False
        self._counts[record.msg] = (now, 0)
        if suppressed:
            record.msg = f"{record.msg} (and {suppressed} more like this)"
        return True
