"""The launchers of a system: one for all ordinary groups, and one for each `preload` that groups have.

Rule: a fork server that imports a large model keeps no other group waiting, and ends with the last node that
needs it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from actors.nodes.boot.launch import origin_of
from actors.nodes.boot.launcher import Launcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors._base.loop import Loop
    from actors.nodes.boot.launch import Launch, Origin, Started

__all__ = ["Launchers"]

_ORDINARY: Final = origin_of((), {})


class Launchers:
    """Starts processes, each by the launcher whose fork server has what it needs.

    Args:
        loop: the parent's.
        tell: called on the loop with the kind and facts of an event; see `Launcher`.
    """

    def __init__(self, loop: Loop, tell: Callable[[str, dict[str, Any]], object]) -> None:
        self._loop = loop
        self._tell = tell
        self._by_origin: dict[Origin, Launcher] = {}
        self.when_renewed: list[Callable[[], object]] = []
        """Called by `renew`, too: for those who start nodes elsewhere."""

    async def start(self, launch: Launch) -> Started:
        """Start a process and return it.

        Raises:
            PreloadFailed: a module that it is to share cannot be imported.
            Exception: whatever else kept it from starting; mostly an `OSError`.
        """
        launcher = self._by_origin.get(launch.origin)
        if launcher is None:
            launcher = self._by_origin[launch.origin] = Launcher(self._loop, self._tell)
        return await launcher.start(launch)

    @property
    def fork_server_pids(self) -> set[int]:
        """The process numbers of the fork servers there are."""
        pids = (launcher.fork_server_pid for launcher in self._by_origin.values())
        return {pid for pid in pids if pid is not None}

    def renew(self) -> None:
        """Start later processes from the files as they are now; see `Launcher.renew`."""
        for launcher in self._by_origin.values():
            launcher.renew()
        for renew in self.when_renewed:
            renew()

    def keep(self, origins: Iterable[Origin]) -> None:
        """End the fork servers that none of *origins* needs."""
        needed = {_ORDINARY, *origins}
        for origin in self._by_origin.keys() - needed:
            self._by_origin.pop(origin).close()

    def close(self) -> None:
        """End all threads and fork servers, after the requests that were made."""
        with ExitStack() as steps:
            for launcher in self._by_origin.values():
                steps.callback(launcher.close)
        self._by_origin.clear()
