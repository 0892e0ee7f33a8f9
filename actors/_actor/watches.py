"""Whom an incarnation watches: each final end is heard once, and only by who still wants to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._messaging.ref import Ref, RefHost
    from actors.supervisors import Exit

__all__ = ["Watches"]


class Watches:
    """The refs one incarnation watches; `clear` ends them all with it."""

    def __init__(self, host: RefHost, hear: Callable[[Ref[Any], Exit], None]) -> None:
        self._host = host
        self._hear = hear
        self._cancels: dict[Ref[Any], Callable[[], None]] = {}

    def add(self, ref: Ref[Any]) -> None:
        """Watch *ref*; watching it twice is watching it once."""
        if ref in self._cancels:
            return

        def notice(end: Exit) -> None:
            if ref in self._cancels:
                self._hear(ref, end)

        self._cancels[ref] = _nothing
        cancel = self._host.watch(ref, notice)
        if ref in self._cancels:
            self._cancels[ref] = cancel

    def drop(self, ref: Ref[Any]) -> bool:
        """Watch *ref* no more; return whether it was watched."""
        cancel = self._cancels.pop(ref, None)
        if cancel is not None:
            cancel()
        return cancel is not None

    def clear(self) -> None:
        """Watch nobody any more."""
        for ref in list(self._cancels):
            self.drop(ref)


def _nothing() -> None:
    """There is nothing to cancel yet."""
