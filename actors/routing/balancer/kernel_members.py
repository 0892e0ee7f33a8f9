"""The nodes that get their work from a socket of their own, as the parent keeps them.

Rule 1: each node that is ready is given its socket once; one that cannot be reached is asked again.
Rule 2: what nodes serve is known by what they tell; it is a moment old.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from actors.routing.events import HandOverFailed
from actors.routing.interfaces import KernelNode, Report, RouterLoop, RouterTimer

__all__ = ["KernelMember", "KernelMembers"]

_AGAIN: Final = 0.5


@dataclass(slots=True, eq=False)
class KernelMember:
    """One node, and what it told last."""

    seat: KernelNode
    ready: bool = True
    """Cleared for good when it begins to leave."""
    open: int = 0
    total: int = 0
    retry: RouterTimer | None = None


class KernelMembers:
    """The nodes of one listener.

    Args:
        loop: the parent's event loop.
        listener: the listener's name, for facts.
        report: takes facts.
        give: gives a node its socket; may raise.
        taken: told the node that is to get no more work.
        changed: called when other nodes are ready than before.
    """

    def __init__(
        self,
        loop: RouterLoop,
        *,
        listener: str,
        report: Report,
        give: Callable[[KernelMember], None],
        taken: Callable[[KernelMember], None],
        changed: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._report = report
        self._give = give
        self._taken = taken
        self._changed = changed
        self._sitters: dict[str, KernelMember] = {}

    @property
    def sitters(self) -> list[KernelMember]:
        """The nodes, in order of slots."""
        return sorted(self._sitters.values(), key=lambda sitter: sitter.seat.slot)

    @property
    def ready(self) -> list[KernelMember]:
        """Those that get work, in order of slots."""
        return [sitter for sitter in self.sitters if sitter.ready]

    def joined(self, seat: KernelNode) -> None:
        """Give *seat* work from now on; one of its name is gone, another in its slot drains."""
        for sitter in list(self._sitters.values()):
            if sitter.seat.name == seat.name:
                self.left(seat.name, dead=True)
            elif sitter.seat.slot == seat.slot:
                self.left(sitter.seat.name, dead=False)
        sitter = self._sitters[seat.name] = KernelMember(seat)
        self._offer(sitter)
        self._changed()

    def left(self, name: str, *, dead: bool) -> None:
        """Give *name* no more; forget it if it is dead."""
        sitter = self._sitters.get(name)
        if sitter is None:
            return
        was_ready, sitter.ready = sitter.ready, False
        if sitter.retry is not None:
            sitter.retry.cancel()
        if was_ready:
            self._taken(sitter)
            if not dead:
                sitter.seat.unseat(self._listener)
        if dead:
            del self._sitters[name]
        self._changed()

    def counted(self, name: str, open_: int, total: int) -> None:
        """Note what a node told."""
        sitter = self._sitters.get(name)
        if sitter is not None:
            sitter.open, sitter.total = open_, total

    def unseat(self) -> None:
        """Give nobody any more."""
        for sitter in self.ready:
            self.left(sitter.seat.name, dead=False)

    def close(self) -> None:
        """Forget all nodes."""
        for name in list(self._sitters):
            self.left(name, dead=True)

    def _offer(self, sitter: KernelMember) -> None:
        sitter.retry = None
        try:
            self._give(sitter)
        except Exception as error:  # noqa: BLE001 - whatever ails one node, others serve
            self._report(HandOverFailed(self._listener, sitter.seat.name, error))
            sitter.retry = self._loop.call_later(_AGAIN, self._offer, sitter)
