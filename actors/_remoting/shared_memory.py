"""The shared memory of one node: what it lends, what it has mapped, and the upkeep of both.

Rule 1: one thread owns it; only the wake that a lease has ended may come from elsewhere.
Rule 2: upkeep runs while there is something to do, a little at a time, and not at all otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from actors._remoting import protocol as wire
from actors.transport import Attachments, SegmentMappings, close_arenas, open_arenas

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop, Timer

__all__ = ["SharedMemory"]

_TRIM_EVERY: Final = 2.0
"""Seconds between two looks for memory that nobody uses any more."""
_PAUSE: Final = 0.001
"""Seconds the loop has between two steps of warming, each of which takes about as long."""


class SharedMemory:
    """The arenas and mappings of one node."""

    def __init__(self, loop: Loop) -> None:
        # Buffers that actors make on this thread come from the same arenas.
        self.arenas = open_arenas(self)
        self._loop = loop
        self._mappings = SegmentMappings(self._wake)
        self._cargos: WeakKeyDictionary[Attachments, Callable[[int, list[int]], object]] = (
            WeakKeyDictionary()
        )
        self._trimming: Timer | None = None
        self._warming = False

    def new_cargo(self, tell: Callable[[int, list[int]], object]) -> Attachments:
        """Make the cargo of a link; *tell* sends plain numbers to the other end."""
        cargo = Attachments(self.arenas, self._mappings, wanted=self._warm_soon)
        self._cargos[cargo] = tell
        return cargo

    def forget(self, cargo: Attachments) -> None:
        """Its link is at its end: nothing is told over it any more."""
        self._cargos.pop(cargo, None)

    def stats(self) -> dict[str, Any]:
        """Return the watermarks of what this node lends, in bytes, and what it has of others."""
        return {**self.arenas.stats()._asdict(), "mapped_leases": self._mappings.count()}

    def close(self) -> None:
        """Let go of everything: every other node is gone."""
        if self._trimming is not None:
            self._trimming.cancel()
        for cargo in list(self._cargos):
            cargo.close()
            cargo.reclaim()
        self._mappings.returned()
        close_arenas(self)

    # -- leases that ended ---------------------------------------------------------------------

    def _wake(self) -> None:
        try:
            self._loop.call_threadsafe(self._give_back)
        except RuntimeError:
            return  # the loop is over, and the other ends with it

    def _give_back(self) -> None:
        for cargo, batch in self._mappings.returned().items():
            tell = self._cargos.get(cargo)  # type: ignore[call-overload] # peers are cargos here
            if tell is not None:
                tell(wire.BACK, batch)

    # -- upkeep ----------------------------------------------------------------------------------

    def _warm_soon(self) -> None:
        if not self._warming:
            self._warming = True
            self._loop.call_later(_PAUSE, self._warm)
        if self._trimming is None:
            self._trimming = self._loop.call_later(_TRIM_EVERY, self._trim)

    def _warm(self) -> None:
        if self.arenas.warm():
            self._loop.call_later(_PAUSE, self._warm)
        else:
            self._warming = False

    def _trim(self) -> None:
        self._trimming = None
        self.arenas.trim()
        for cargo, tell in list(self._cargos.items()):
            numbers = cargo.retired() if cargo.open else []
            if numbers:
                tell(wire.RETIRED, numbers)
        if self.arenas.stats().resident:
            self._trimming = self._loop.call_later(_TRIM_EVERY, self._trim)
