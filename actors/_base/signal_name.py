"""The name of a signal, for people."""

from __future__ import annotations

import signal
from contextlib import suppress

__all__ = ["signal_name"]


def signal_name(number: int) -> str:
    """Return what signal *number* is called: ``SIGKILL``, or ``signal 50`` where it has no name."""
    with suppress(ValueError):  # one of the realtime signals
        return signal.Signals(number).name
    return f"signal {number}"
