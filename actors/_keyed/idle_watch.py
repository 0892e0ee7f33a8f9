"""Which actors of this node have had nothing to do for long enough to be stopped.

Rule 1: an actor is busy while it starts or ends, handles a message or has one queued, makes items of a
stream, or has a task. What it sends itself (ticks of timers, notices) does not keep it.
Rule 2: messages cost nothing: since when an actor has had none, its message loop notes when it waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._actor.cell import CellState
from actors._remoting import directory_operations as directory
from actors.supervisors import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._actor.cell import Cell
    from actors._actor.idle import Idleness
    from actors._remoting.actor_host import ActorHost
    from actors._remoting.link import Link

__all__ = ["IdleWatch"]

_LOOKS: Final = 4
"""How often a busy actor is looked at within the seconds after which it counts as idle."""


class _Watched:
    """An actor that is looked at, and when it was last seen busy, or reported."""

    __slots__ = ("book", "idle", "since")

    def __init__(self, book: int, idle: float, since: float) -> None:
        self.book = book
        self.idle = idle
        self.since = since


class IdleWatch:
    """Looks at the keyed actors of one node.

    Args:
        host: the node.
        report: told the book's number and the actor's, each time that the actor has been idle for long enough.
    """

    def __init__(self, host: ActorHost, report: Callable[[int, int], object]) -> None:
        self._host = host
        self._report = report
        self._watched: dict[int, _Watched] = {}

    def serve(self) -> None:
        """Take what the parent says over the link."""
        handlers = self._host.handlers
        handlers.on_note(directory.watch_idle, lambda _, *given: self.watch(*given))
        handlers.on_call(directory.stop_if_idle, self._stop_if_idle)

    def watch(self, book: int, uid: int, seconds: float) -> None:
        """Report the actor *uid*, which has just started, whenever it has had nothing to do for *seconds*."""
        if uid not in self._watched:
            self._host.loop.call_later(seconds, self._look, uid)
        self._watched[uid] = _Watched(book, seconds, self._host.loop.now())
        _idleness(self._host.cells.get(uid))  # it is noted from now on

    def _look(self, uid: int) -> None:
        cell, watched = self._host.cells.get(uid), self._watched[uid]
        if cell is None:
            del self._watched[uid]
            return
        now, idleness = self._host.loop.now(), _idleness(cell)
        if idleness is None or not _is_idle(cell):
            watched.since = now
            self._host.loop.call_later(watched.idle / _LOOKS, self._look, uid)
            return
        left = max(watched.since, idleness.since) + watched.idle - now
        if left <= 0:
            watched.since, left = now, watched.idle
            self._report(watched.book, uid)
        self._host.loop.call_later(left, self._look, uid)

    def stop_if_idle(self, uid: int) -> bool:
        """Stop an actor that has nothing to do at this moment; return whether it stops, or has ended."""
        cell = self._host.cells.get(uid)
        if cell is not None and not _is_idle(cell):
            return False
        if cell is not None:
            cell.request_stop(Exit.SHUTDOWN, None, drain=True)
        return True

    async def _stop_if_idle(self, _link: Link, uid: int) -> bool:
        return self.stop_if_idle(uid)


def _idleness(cell: Cell | None) -> Idleness | None:
    """Return since when an actor has had no message; None while it does not run."""
    run: Any = None if cell is None else cell.incarnation
    return None if run is None else run.message_loop.idleness()


def _is_idle(cell: Cell) -> bool:
    run: Any = cell.incarnation
    ready = run is not None and cell.state is CellState.READY
    queued = len(cell.mailbox) or cell.mailbox.wait_queue.waiting
    return ready and not queued and cell.at_rest and not run.message_loop.streaming
