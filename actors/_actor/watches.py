"""The refs an incarnation watches: `on_exit` is called once for each, unless the watch was cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._messaging.ref import Ref, RefHost
    from actors.supervisors import Exit

__all__ = ["Watches"]


class Watches:
    """The refs one incarnation watches; `clear` ends them all with it."""

    def __init__(self, host: RefHost, on_exit: Callable[[Ref[Any], Exit], None]) -> None:
        self._host = host
        self._on_exit = on_exit
        self._cancels: dict[Ref[Any], Callable[[], None]] = {}

    def add(self, ref: Ref[Any]) -> None:
        """Watch *ref*; a second watch of it changes nothing."""
        if ref in self._cancels:
            return

        def notice(end: Exit) -> None:
            if ref in self._cancels:
                self._on_exit(ref, end)

        self._cancels[ref] = _nothing
        cancel = self._host.watch(ref, notice)
        if ref in self._cancels:
            self._cancels[ref] = cancel

    def remove(self, ref: Ref[Any]) -> bool:
        """Cancel the watch of *ref*; return whether there was one."""
        cancel = self._cancels.pop(ref, None)
        if cancel is not None:
            cancel()
        return cancel is not None

    def clear(self) -> None:
        """Cancel all watches."""
        for ref in list(self._cancels):
            self.remove(ref)


def _nothing() -> None:
    """Stand in until `watch` has returned what cancels."""
