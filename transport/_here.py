"""The arenas of the thread that asks: what buffers are made of and what links lend from.

A node is a thread, so its buffers and its links find the same arenas here, and nobody has to be told.
"""

import threading

from transport._arenas import Arenas

__all__ = ["arenas_here", "set_arenas"]


class _Here(threading.local):
    arenas: Arenas | None = None


_here = _Here()


def arenas_here() -> Arenas:
    """This thread's arenas, made when first asked for; they take no memory before they are used."""
    if _here.arenas is None:
        _here.arenas = Arenas()
    return _here.arenas


def set_arenas(arenas: Arenas | None) -> None:
    """Use other arenas in this thread; None makes new ones when next asked for."""
    _here.arenas = arenas
