"""Keeps the processors from sleeping while something is measured.

An idle virtual processor takes tens of microseconds to wake up, more than the messages measured here take,
and how often that happens varies. One busy loop of idle priority for each processor prevents it for both
sides, and gives way to every other thread.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["awake"]

_LOOP = """
import os
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
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
    command = [sys.executable, "-c", _LOOP.format(parent=os.getpid())]
    loops = [subprocess.Popen(command) for _ in os.sched_getaffinity(0)]
    try:
        yield True
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
