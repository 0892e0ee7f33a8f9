"""What ends a node when its lease is over, whatever the node is doing and whether or not its agent runs.

Rule 1: the kernel ends it, by a timer of the process itself whose signal is SIGKILL, on a clock that runs on
while the machine is suspended. So an agent that is stopped, a loop that spins, and C code that does not return
change nothing.
Rule 2: a thread only ever moves the timer, to what the agent has written into the shared page since.

The thread is C code where the extension was compiled. Its twin here is a thread of Python's: it cannot move the
timer while C code of a library keeps the interpreter's lock, so that a node whose lock is kept for most of a
lease is ended by mistake.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
import threading
import time
from typing import Any, Final

from actors._extensions import load

__all__ = ["hold_lease"]

_TIMER: Final[Any] = load("actors.machines._lease_timer")
_NANOSECONDS: Final = 1_000_000_000
_ABSOLUTE: Final = 1
"""TIMER_ABSTIME."""
_AS_SIGNAL: Final = 0
"""SIGEV_SIGNAL."""


class _SignalEvent(ctypes.Structure):
    """`struct sigevent`, which has 64 bytes."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    )


class _TimerTimes(ctypes.Structure):
    """`struct itimerspec`: the interval, and the first time."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("first_s", ctypes.c_long),
        ("first_ns", ctypes.c_long),
    )


def hold_lease(path: str, every: float) -> None:
    """End this process when the lease is over; for the whole life of the process.

    Args:
        path: of the agent's `LeasePage`.
        every: seconds after which the page is looked at again, much less than a lease.

    Raises:
        OSError: there is no page, so the agent has ended; or the kernel gives no timer.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _TIMER is None:
            _hold(fd, every)
        else:
            _TIMER.hold(fd, every)
    finally:
        os.close(fd)


def _hold(fd: int, every: float) -> None:
    page = mmap.mmap(fd, mmap.PAGESIZE, prot=mmap.PROT_READ)
    libc = ctypes.CDLL(None, use_errno=True)
    timer = ctypes.c_void_p()
    event = _SignalEvent(signo=signal.SIGKILL, notify=_AS_SIGNAL)
    if libc.timer_create(time.CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(timer)):
        number = ctypes.get_errno()
        raise OSError(number, f"timer_create: {os.strerror(number)}")

    def move() -> None:
        # A time of 0 would take the timer away: it means that there is no lease.
        until = max(1, struct.unpack_from("=Q", page)[0])
        times = _TimerTimes(first_s=until // _NANOSECONDS, first_ns=until % _NANOSECONDS)
        libc.timer_settime(timer, _ABSOLUTE, ctypes.byref(times), None)

    def keep_moving() -> None:
        while True:
            time.sleep(every)
            move()

    move()
    # Daemon, because it ends with the process only.
    threading.Thread(target=keep_moving, name="actors lease", daemon=True).start()
