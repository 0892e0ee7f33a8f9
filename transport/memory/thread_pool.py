"""The pool of the thread that asks: what buffers are made of and what links lend from.

A node is a thread, so its buffers and its links find the same pool here, and nobody has to be told.
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
    """This thread's pool, made when first asked for; they take no memory before they are used."""
    if _local.pool is None:
        _local.pool = SegmentPool()
    return _local.pool


def attach_node(node: object) -> SegmentPool:
    """As `thread_pool`, for a node that begins in this thread."""
    _local.nodes.add(node)
    return thread_pool()


def detach_node(node: object) -> None:
    """A node of this thread has ended; after the last one nothing is lent any more.

    One that was forgotten without being ended is no node any more, either.

    Buffers keep what they have until they are gone; the next one finds new pool.
    """
    _local.nodes.discard(node)
    if not _local.nodes and _local.pool is not None:
        _local.pool.close()
        _local.pool = None


def set_thread_pool(pool: SegmentPool | None) -> None:
    """Use other pool in this thread; None makes new ones when next asked for."""
    _local.pool = pool
