"""Deadlock probes: they find waits that began independently and form a circle over several nodes.

Rule 1: when an actor has waited for another node's actor for a while, its node sends one probe, which
follows the waits from actor to actor and from node to node.
Rule 2: the wait that closes the circle is probed last, when all other waits of it exist, so one probe
per wait is enough. A probe that comes back to its actor fails the wait it was sent for.
Rule 3: the parent alone knows who starts with a name; a probe of somebody who waits for that goes to it.
Rule 4: one timer serves all waits, and runs only while there are waits that were not probed yet.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

from actors._base.errors import CallCycle
from actors._messaging.deadlock import StartingActor, cycle_text, wait_edges
from actors._remoting.remote_actor import RemoteActor

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._actor.cell import Cell
    from actors._base.loop import Loop
    from actors._messaging.mailbox import Envelope
    from actors._messaging.turn import Target

__all__ = ["DeadlockProbe"]

_EVERY: Final = 0.05
"""Seconds between two checks: a wait is probed when it is one to two of them old."""
_LONGEST: Final = 64
"""Actors that a probe visits at most."""


class DeadlockProbe:
    """Sends the probes of one node, and passes on those of others.

    Attributes:
        pass_to_start: passes a probe on to whoever starts with a name: the name, the number, the way so far.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.pass_to_start: Callable[[str, int, list[Any]], None]
        # By actor: its waits at the last check, and whether each has been probed.
        self._waiting: dict[Target, dict[Envelope, bool]] = {}
        self._scheduled = False
        self._numbers = itertools.count(1)
        # Which probe visited which actor, since the last check and before: it visits each once.
        self._visited: set[tuple[int, int, int]] = set()
        self._visited_before: set[tuple[int, int, int]] = set()

    def add(self, cell: Target) -> None:
        """Check the waits of *cell*, which now waits for an actor of another node."""
        if cell not in self._waiting:
            self._waiting[cell] = {}
            if not self._scheduled:
                self._schedule()

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_later(_EVERY, self._check)

    def _check(self) -> None:
        self._visited, self._visited_before = set(), self._visited
        for cell, before in list(self._waiting.items()):
            now = {
                envelope: target
                for envelope, target in wait_edges(cell)
                if not before.get(envelope)
            }
            asked = {envelope: envelope in before for envelope in now}
            kept = {envelope: True for envelope, _ in wait_edges(cell) if before.get(envelope)}
            if now:
                self._waiting[cell] = kept | asked
            else:
                del self._waiting[cell]
            for envelope, target in now.items():
                if asked[envelope]:
                    path = [[cell.ref.uid, cell.ref.name]]
                    self._pass_on(envelope, target, next(self._numbers), path)
        self._scheduled = False
        if self._waiting or self._visited or self._visited_before:
            self._schedule()

    def _pass_on(self, envelope: Envelope, target: Target, number: int, path: list[Any]) -> None:
        """Pass a probe to the actor that is waited for, here or on another node."""
        other: Any = target
        if isinstance(target, RemoteActor):
            target.probe(envelope, number, path)
        elif isinstance(other, StartingActor):
            self.pass_to_start(other.name, number, path)
        else:
            self._visit(target, number, path)

    def arrived(self, cell: Cell, number: int, path: list[Any]) -> None:
        """Take a probe of another node, whose last actor waits for *cell*."""
        self._visit(cell, number, path)
        if not self._scheduled:
            self._schedule()

    def _visit(self, cell: Target, number: int, path: list[Any]) -> None:
        uid, name = cell.ref.uid, cell.ref.name
        if uid == path[0][0]:
            self._fail_wait(cell, path)
            return
        key = (path[0][0], number, uid)
        if key in self._visited or key in self._visited_before or len(path) >= _LONGEST:
            return
        self._visited.add(key)
        for envelope, target in wait_edges(cell):
            self._pass_on(envelope, target, number, [*path, [uid, name]])

    def _fail_wait(self, cell: Target, path: list[Any]) -> None:
        """Fail the wait that a probe was sent for: it came back, so the wait would never end."""
        names = [name for _, name in path]
        for envelope, target in wait_edges(cell):
            if envelope.reply is not None and len(path) > 1 and _is_at(target, *path[1]):
                why = cycle_text("asking", [*names, names[0]])
                target.withdraw(envelope)
                envelope.reply.set_exception(CallCycle(target.ref, why, envelope.message))


def _is_at(target: Any, uid: int, name: str) -> bool:
    """Whether *target* is that actor, of which the name is enough while it starts."""
    return bool(
        target.ref.uid == uid or (isinstance(target, StartingActor) and target.name == name)
    )
