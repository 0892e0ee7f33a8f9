"""Receive signals in the event loop of this process, and not those of the processes that are forked from it.

A fork has the handlers of its parent and writes to the same pipe: without this, `Process.terminate` of
multiprocessing would end the system that runs in the parent, and not the process.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["received_signals"]

_RECEIVED: Final[list[signal.Signals]] = []
_BEFORE: Final = threading.local()


@contextmanager
def received_signals(*numbers: signal.Signals) -> Iterator[AsyncIterator[signal.Signals]]:
    """Collect these signals while the block runs; what is forked meanwhile does by them what Python does."""
    with anyio.open_signal_receiver(*numbers) as signals:
        _RECEIVED.extend(numbers)
        try:
            yield signals
        finally:
            for number in numbers:
                _RECEIVED.remove(number)


def _hold() -> None:
    """Before a fork: let none of them reach it while it has the handlers of its parent."""
    _BEFORE.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _RECEIVED) if _RECEIVED else None


def _release() -> None:
    if _BEFORE.mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _BEFORE.mask)


def _in_fork() -> None:
    if _RECEIVED:
        signal.set_wakeup_fd(-1)
        for number in _RECEIVED:
            interrupt = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if interrupt else signal.SIG_DFL)
    _release()


os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_in_fork)
