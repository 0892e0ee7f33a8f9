"""Probes: waits that began independently and lead in a circle over several nodes.

Rule 1: an actor that waits for one of another node asks once, when the wait is no longer brief,
whether it waits for itself: the question follows the waits from node to node.
Rule 2: whoever closes a circle asks last and meets no wait that is missing, so one question per wait
is enough; a question that comes back fails the wait it set out from.
Rule 3: nothing runs while no wait is young, and no wait costs a timer of its own.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

from actors._base.errors import CallCycle
from actors._messaging.deadlock import cycle_text, wait_edges
from actors._remoting.remote_actor import RemoteActor

if TYPE_CHECKING:
    from actors._actor.cell import Cell
    from actors._base.loop import Loop
    from actors._messaging.mailbox import Envelope
    from actors._messaging.turn import Target

__all__ = ["DeadlockProbe"]

_EVERY: Final = 0.05
"""Seconds between two looks: a wait is asked about when it has been there for one to two of them."""
_LONGEST: Final = 64


class DeadlockProbe:
    """The questions of one node, and its answers to those of others."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        # By actor: its waits at the last look, and whether they have been asked about.
        self._suspects: dict[Target, dict[Envelope, bool]] = {}
        self._looking = False
        self._numbers = itertools.count(1)
        # Which question met which actor, now and a look ago: it follows the waits of each once.
        self._met: set[tuple[int, int, int]] = set()
        self._met_before: set[tuple[int, int, int]] = set()

    def add(self, cell: Target) -> None:
        """Look after the waits of *cell*, which has a new one that leads to another node."""
        if cell not in self._suspects:
            self._suspects[cell] = {}
            if not self._looking:
                self._look_later()

    def _look_later(self) -> None:
        self._looking = True
        self._loop.call_later(_EVERY, self._look)

    def _look(self) -> None:
        self._met, self._met_before = set(), self._met
        for cell, before in list(self._suspects.items()):
            now = {
                envelope: target
                for envelope, target in wait_edges(cell)
                if not before.get(envelope)
            }
            asked = {envelope: envelope in before for envelope in now}
            kept = {envelope: True for envelope, _ in wait_edges(cell) if before.get(envelope)}
            if now:
                self._suspects[cell] = kept | asked
            else:
                del self._suspects[cell]
            for envelope, target in now.items():
                if asked[envelope]:
                    path = [[cell.ref.uid, cell.ref.name]]
                    self._follow(envelope, target, next(self._numbers), path)
        self._looking = False
        if self._suspects or self._met or self._met_before:
            self._look_later()

    def _follow(self, envelope: Envelope, target: Target, number: int, path: list[Any]) -> None:
        """Take a question over one wait, to this node or to another."""
        if isinstance(target, RemoteActor):
            target.probe(envelope, number, path)
        else:
            self._meet(target, number, path)

    def arrived(self, cell: Cell, number: int, path: list[Any]) -> None:
        """Take the question of another node, whose last actor waits for *cell*."""
        self._meet(cell, number, path)
        if not self._looking:
            self._look_later()

    def _meet(self, cell: Target, number: int, path: list[Any]) -> None:
        uid, name = cell.ref.uid, cell.ref.name
        if uid == path[0][0]:
            self._close(cell, path)
            return
        key = (path[0][0], number, uid)
        if key in self._met or key in self._met_before or len(path) >= _LONGEST:
            return
        self._met.add(key)
        for envelope, target in wait_edges(cell):
            self._follow(envelope, target, number, [*path, [uid, name]])

    def _close(self, cell: Target, path: list[Any]) -> None:
        """A question came back: the wait it set out from would never end."""
        names = [name for _, name in path]
        for envelope, target in wait_edges(cell):
            if envelope.reply is not None and len(path) > 1 and target.ref.uid == path[1][0]:
                why = cycle_text("asking", [*names, names[0]])
                target.withdraw(envelope)
                envelope.reply.set_exception(CallCycle(target.ref, why, envelope.message))
