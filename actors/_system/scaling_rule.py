"""When a group of nodes that scales itself gets a node more or less; pure, the time is handed in.

Rule 1: load counts when it lasts: a node more after seconds of pressure, one less after a minute of rest.
Rule 2: a node less only if the others could do its work and still be far from the limit, so that the group
does not swing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["GroupLoad", "ScalingRule"]

BUSY: Final = 0.75
"""The mean part of their time that loops compute, from which a node more is wanted."""
WAITING: Final = 100
"""Messages and connections that wait, for each node, from which a node more is wanted."""
AT_REST: Final = 0.5
"""The part of its time that a loop may compute after a node has left."""
GROW_AFTER: Final = 3.0
SHRINK_AFTER: Final = 60.0
"""Seconds that the reason has to last; the group was not changed in that time."""
MEMORY: Final = 0.1
"""The part of the memory that must be left for a node more."""


@dataclass(frozen=True, slots=True)
class GroupLoad:
    """What the nodes of a group do now.

    Attributes:
        nodes: how many there are.
        busy: the mean part of their time that their loops compute, 0 to 1.
        waiting: messages in mailboxes, and connections that no node has.
        memory_left: the part of the memory that is available, 0 to 1.
    """

    nodes: int
    busy: float
    waiting: int
    memory_left: float


class ScalingRule:
    """Decides for one group.

    Args:
        least: how many nodes it has at least.
        most: at most.
        now: the time, in seconds.

    Attributes:
        why: the reason of the last decision.
    """

    def __init__(self, least: int, most: int, now: float) -> None:
        self.least = least
        self.most = most
        self.why = ""
        self._pressed_since: float | None = None
        self._rests_since: float | None = None
        self._changed = now

    def changed(self, now: float) -> None:
        """Note that the group has more or fewer nodes, or could not get them."""
        self._changed = now
        self._pressed_since = self._rests_since = None

    def wanted(self, load: GroupLoad, now: float) -> int:
        """Return how many nodes there should be: as many, one more or one less."""
        pressed = load.busy >= BUSY or load.waiting >= WAITING * load.nodes
        others = max(1, load.nodes - 1)
        rests = load.busy * load.nodes / others < AT_REST and load.waiting < WAITING
        self._pressed_since = _since(self._pressed_since, now, holds=pressed)
        self._rests_since = _since(self._rests_since, now, holds=rests)
        if self._due(self._pressed_since, GROW_AFTER, now) and load.nodes < self.most:
            if load.memory_left < MEMORY:
                return load.nodes
            self.why = (
                f"its loops compute {load.busy:.0%} of their time"
                if load.busy >= BUSY
                else f"{load.waiting} messages and connections wait"
            )
            return load.nodes + 1
        if self._due(self._rests_since, SHRINK_AFTER, now) and load.nodes > self.least:
            self.why = f"its loops compute {load.busy:.0%} of their time"
            return load.nodes - 1
        return load.nodes

    @property
    def pressed(self) -> bool:
        """Whether a node more was wanted at the last look."""
        return self._pressed_since is not None

    def _due(self, since: float | None, after: float, now: float) -> bool:
        return since is not None and now - max(since, self._changed) >= after


def _since(since: float | None, now: float, *, holds: bool) -> float | None:
    if not holds:
        return None
    return now if since is None else since
