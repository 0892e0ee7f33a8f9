"""The arenas of the thread that asks: what buffers are made of and what links lend from.

A node is a thread, so its buffers and its links find the same arenas here, and nobody has to be told.
"""

import threading
from typing import Any
from weakref import WeakSet

from actors.transport.memory.pool import SegmentPool

__all__ = ["arenas_here", "close_arenas", "open_arenas", "set_arenas"]


class _ThreadPool(threading.local):
    arenas: SegmentPool | None = None

    def __init__(self) -> None:
        self.nodes: WeakSet[Any] = WeakSet()


_here = _ThreadPool()


def arenas_here() -> SegmentPool:
    """This thread's arenas, made when first asked for; they take no memory before they are used."""
    if _here.arenas is None:
        _here.arenas = SegmentPool()
    return _here.arenas


def open_arenas(node: object) -> SegmentPool:
    """As `arenas_here`, for a node that begins in this thread."""
    _here.nodes.add(node)
    return arenas_here()


def close_arenas(node: object) -> None:
    """A node of this thread has ended; after the last one nothing is lent any more.

    One that was forgotten without being ended is no node any more, either.

    Buffers keep what they have until they are gone; the next one finds new arenas.
    """
    _here.nodes.discard(node)
    if not _here.nodes and _here.arenas is not None:
        _here.arenas.close()
        _here.arenas = None


def set_arenas(arenas: SegmentPool | None) -> None:
    """Use other arenas in this thread; None makes new ones when next asked for."""
    _here.arenas = arenas
