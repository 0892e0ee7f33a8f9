"""What a test may not leave behind: children, descriptors, threads, shared memory."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from actors.nodes.boot.kept_fork_server import KEPT

_SHARED = Path("/dev/shm")
# Browsers and `multiprocessing`, of other suites on this machine; ours have no names at all.
_OF_OTHERS = (".org.chromium", "sem.mp-")

_PATIENCE = 3.0
_MOMENT = 0.02

_TRIO_CACHE = "Trio thread"  # anyio's runner waits in one; trio keeps it for ten idle seconds


def _children() -> set[str]:
    kept = KEPT.pid
    found = psutil.Process().children(recursive=True)
    return {f"process {child.pid}" for child in found if child.pid != kept}


def _descriptors() -> set[str]:
    kept = str(KEPT.fileno)
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        if entry.name == kept:
            continue
        try:
            found.add(f"fd {entry.name} -> {entry.readlink()}")
        except FileNotFoundError:
            continue  # the descriptor that was listing the folder
    return found


def _threads() -> set[str]:
    return {
        f"thread {thread.name} {thread.ident}"
        for thread in threading.enumerate()
        if not thread.name.startswith(_TRIO_CACHE)
    }


def _shared_memory() -> set[str]:
    entries = _SHARED.iterdir() if _SHARED.is_dir() else ()
    return {str(entry) for entry in entries if not entry.name.startswith(_OF_OTHERS)}


def census() -> set[str]:
    """Everything of this process that could outlive a test, in words."""
    return _children() | _descriptors() | _threads() | _shared_memory()


@contextmanager
def nothing_left() -> Iterator[None]:
    """Fail if there is more afterwards than there was before."""
    before = census()
    yield
    patience = time.monotonic() + _PATIENCE
    # An error's traceback may hold what it passed, and other threads have their own finalisers to run.
    while census() - before and time.monotonic() < patience:
        gc.collect()
        time.sleep(_MOMENT)
    left = census() - before
    assert not left, f"left behind: {sorted(left)}"
