"""The segment pool of this thread: its buffers take memory from it, its links lease from it.

A node runs in one thread, so its buffers and its links find the same pool without handing it around.
"""

import threading
from typing import Any
from weakref import WeakSet

from actors.transport.memory.pool import SegmentPool

__all__ = ["attach_node", "detach_node", "set_thread_pool", "thread_pool"]


class _ThreadPool(threading.local):
    pool: SegmentPool | None = None

    def __init__(self) -> None:
        self.nodes: WeakSet[Any] = WeakSet()


_local = _ThreadPool()


def thread_pool() -> SegmentPool:
    """This thread's pool, made at the first call; it takes no memory before it is used."""
    if _local.pool is None:
        _local.pool = SegmentPool()
    return _local.pool


def attach_node(node: object) -> SegmentPool:
    """Register a node that starts in this thread; returns the thread's pool."""
    _local.nodes.add(node)
    return thread_pool()


def detach_node(node: object) -> None:
    """A node of this thread has ended; the pool is closed with the last one.

    A node that was garbage-collected counts as detached. Buffers keep their memory after that; the next
    buffer makes a new pool.
    """
    _local.nodes.discard(node)
    if not _local.nodes and _local.pool is not None:
        _local.pool.close()
        _local.pool = None


def set_thread_pool(pool: SegmentPool | None) -> None:
    """Replace this thread's pool; with None the next `thread_pool` call makes a new one."""
    _local.pool = pool
