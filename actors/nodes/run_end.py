"""Why a run of a node ends: what asked for it, and what its supervisor and the log are told.

Rule 1: only an end that was asked for is final; any other is followed by another run.
Rule 2: a run that its parent ends for others' sake is no crash, and its restart is charged to nobody.
"""

from __future__ import annotations

from typing import Final

from actors._base.errors import ActorsError
from actors.supervisors import Exit

__all__ = ["IN_ORDER", "LAST_READ", "NodeDied", "RunEnd"]

IN_ORDER: Final = 0.8
"""The part of `shutdown` in which a node that is replaced finishes what it has."""
LAST_READ: Final = 0.25
"""Seconds to read a dead node's link to its end; after that somebody else holds it open."""


class NodeDied(ActorsError):
    """A node ended without having been asked to."""


class RunEnd:
    """What is known of the end of one run, before and when it comes.

    Args:
        node: the name of its node.
        shutdown: seconds in which it has to end in order when it is replaced.

    Attributes:
        asked: what its supervisor, or whoever killed it, asked it to end as; None if nobody did.
        to_restart: whether another run follows although this one was asked to end.
        by: who had it killed so, or "".
        hung: why it is killed as one that hangs, or "".
        for_others: why its parent kills it for others' sake, or "".
        replaced: why another run takes its place, or "".
        overdue: whether it was killed because it was not replaced in time.
        place_lost: why its machine is lost, or "".
        uncharged: whether its end is no fault of the node, so that the next run is started at once.
        killed_actors: the numbers of the actors for whose kill it is ended.
    """

    def __init__(self, node: str, shutdown: float) -> None:
        self._node = node
        self._shutdown = shutdown
        self.asked: Exit | None = None
        self.to_restart = False
        self.by = ""
        self.hung = self.for_others = self.replaced = self.place_lost = ""
        self.overdue: bool = False
        self.uncharged: bool = False
        self.killed_actors: set[int] = set()

    def decide(self, how: str, *, clean: bool, last_lines: str = "") -> tuple[str, Exit]:
        """Return why it ended, and the exit that its supervisor is given.

        Args:
            how: what was seen of the end: an exit code, a signal.
            clean: whether that looked like an end in order.
            last_lines: what it wrote last, for the error of a crash.
        """
        if self.asked is not None:
            self.uncharged = False
            return how, self.asked
        if self.place_lost:
            self.uncharged = True
            return self.place_lost, Exit.SHUTDOWN  # charged to the place
        if self.replaced and self.overdue:
            late = f"killed because it took over {self._shutdown:g} s"
            return f"{self.replaced}; {late}", Exit.SHUTDOWN
        if self.replaced and clean:
            return self.replaced, Exit.SHUTDOWN
        if self.for_others:
            return self.for_others, Exit.SHUTDOWN  # as when it is replaced
        self.uncharged = False
        why = self.hung or how
        return why, Exit.CRASHED(NodeDied(f"node {self._node}: {why}{last_lines}"))
