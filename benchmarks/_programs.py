"""What both sides of the benchmark of program managers run, and how it is measured.

A program that listens on a port is killed until it has come back several times; a hundred that only wait are
started together.
"""

import os
import select
import signal
import socket
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.ours._figures import figure

__all__ = ["MANY", "PORT", "SERVER", "WAITS", "measure_crashes", "report_many", "wait_for_port"]

MANY: Final = 100
PORT: Final = 39_617
SERVER: Final = (
    sys.executable,
    "-S",
    "-E",
    "-c",
    f"import signal, socket; s = socket.create_server(('127.0.0.1', {PORT})); signal.pause()",
)
WAITS: Final = ("/bin/sleep", "3600")
_CRASHES: Final = 7
_PAUSE: Final = 1.2
"""Seconds between two crashes: PM2 takes a program for started after one."""
_WITHIN: Final = 60.0
_ANSWERS: Final = 0.02


def wait_for_port() -> None:
    """Wait until the server accepts."""
    until = time.monotonic() + _WITHIN
    while time.monotonic() < until:
        if _accepts():
            return
        time.sleep(0.0005)
    raise TimeoutError("the server has not come back")


def measure_crashes(pid: Callable[[], int]) -> None:
    """Kill the server again and again; time until it accepts again.

    Args:
        pid: returns its number.
    """
    wait_for_port()
    took = []
    for _ in range(_CRASHES):
        time.sleep(_PAUSE)
        number = pid()
        ended = os.pidfd_open(number)
        start = time.perf_counter()
        os.kill(number, signal.SIGKILL)
        select.select([ended], [], [], _WITHIN)
        wait_for_port()
        os.close(ended)
        took.append(time.perf_counter() - start)
    figure("crash to TCP ready ms", "one program", 1e3 * statistics.median(took))


def _accepts() -> bool:
    """Ask once, and briefly: what a socket that is about to close has missed is sent again after a second."""
    with socket.socket() as probe:
        probe.settimeout(_ANSWERS)
        return probe.connect_ex(("127.0.0.1", PORT)) == 0


def report_many(started: float, manager: int) -> None:
    """Report how long a hundred programs took to start, and the memory of what manages them.

    Args:
        started: seconds it took.
        manager: the number of its process.
    """
    figure("start ms", f"{MANY} programs", 1e3 * started)
    time.sleep(1.0)  # for what it does right after a start
    pages = Path(f"/proc/{manager}/statm").read_text().split()[1]
    figure("manager MiB", f"{MANY} programs", int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20)
