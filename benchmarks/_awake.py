"""Keep the processors awake while something is measured.

A virtual processor that has gone to sleep takes tens of microseconds to wake, more than the messages
measured here; how often that happens is chance. Loops of idle priority, one for each processor,
keep all awake and give way to everything else, for both sides alike.
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
    """Keep every processor we may use awake within the block; yields whether that was possible."""
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
