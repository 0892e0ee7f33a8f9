"""An actor that reports what its process inherited and has open; nodes import it from here."""

from __future__ import annotations

import os
import random
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Any

from actors import Actor

OWN = Path("/proc/self")


class ProcessInspector(Actor):
    """Lives on a process node and looks around."""

    async def process(self) -> dict[str, Any]:
        return process()

    async def surroundings(self) -> dict[str, Any]:
        return surroundings()

    async def descriptors(self) -> list[str]:
        return descriptors()

    async def chance(self) -> float:
        return random.random()


def process() -> dict[str, Any]:
    """Return what the kernel and Python take this process for."""
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "group": os.getpgid(0),
        "main thread": threading.main_thread().native_id,
        "its clock": ~(time.pthread_getcpuclockid(threading.get_ident()) >> 3),
        "name": (OWN / "comm").read_text().strip(),
        "stdin": str((OWN / "fd/0").readlink()),
        "forked": b"actors.nodes.boot.fork_server_main" in (OWN / "cmdline").read_bytes(),
        "program": Path(sys.argv[0]).name,
    }


def surroundings() -> dict[str, Any]:
    """Return what this process has inherited."""
    lines = (OWN / "status").read_text().splitlines()
    status = dict(line.partition(":\t")[::2] for line in lines)
    return {
        "colour": os.environ.get("COLOUR"),
        "shape": os.environ.get("SHAPE"),
        "cwd": str(Path.cwd()),
        "umask": int(status["Umask"], 8),
        "cpus": sorted(os.sched_getaffinity(0)),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }


def descriptors() -> list[str]:
    """Return its open descriptors, by what kind of thing they are."""
    kinds = []
    for entry in (OWN / "fd").iterdir():
        try:
            kinds.append(str(entry.readlink()).partition(":[")[0])
        except FileNotFoundError:
            continue  # the descriptor that was listing the folder
    return sorted(kinds)
