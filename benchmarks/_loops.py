"""Processes that only compute, while something is measured: to keep the processors awake, or to keep them busy.

An idle virtual processor takes tens of microseconds to wake up, more than the messages measured here take,
and how often that happens varies. One busy loop of idle priority for each processor prevents it for both
sides, and gives way to every other thread. Each is a session of its own, with the least share: where the kernel
shares the processors among sessions (sched(7), autogroup), a thread of idle priority gives way within its own
session only, and a machine's agent has another one. Loops of the usual priority give way to nobody: they are
the other programs of a machine that has enough to do.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["awake", "busy"]

_IDLE: Final = """
os.setsid()
try:
    with open("/proc/self/autogroup", "w") as group:
        group.write("19")
except OSError:
    pass  # this kernel does not share them so
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
"""
_LOOP: Final = """
import os
{first}
while os.getppid() == {parent}:
    for _ in range(10**6):
        pass
"""


@contextmanager
def awake() -> Iterator[bool]:
    """Keep every usable processor awake within the block; yield whether that is possible here."""
    if not hasattr(os, "SCHED_IDLE"):
        yield False
        return
    with _loops(len(os.sched_getaffinity(0)), _IDLE):
        yield True


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Have *count* processes compute within the block."""
    with _loops(count, ""):
        yield


@contextmanager
def _loops(count: int, first: str) -> Iterator[None]:
    command = [sys.executable, "-c", _LOOP.format(first=first, parent=os.getpid())]
    loops = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
