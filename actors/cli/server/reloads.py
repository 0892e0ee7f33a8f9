"""What reloads a running system without a command: SIGHUP, and changed source files.

Rule: a reload that fails is reported, and the system continues with its old code.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio

from actors._base.errors import ActorsError, ReloadFailed
from actors._base.received_signals import received_signals
from actors._system.coordinator import Coordinator
from actors.cli.server.sources import Sources

__all__ = ["ReloadTriggers"]


class ReloadTriggers:
    """Reloads a system on SIGHUP if *on_hangup*, and when source files change if some are *watched*.

    Args:
        on_hangup: whether SIGHUP is waited for.
        watched: begins to watch the files.
    """

    def __init__(
        self, *, on_hangup: bool = False, watched: Callable[[], Sources] | None = None
    ) -> None:
        self._on_hangup = on_hangup
        self._watched = watched
        self._hangups: AsyncIterator[Any] | None = None
        self._sources: Sources | None = None

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Collect what happens while the block runs; enter it before the system reads its files."""
        if self._watched is not None:
            self._sources = self._watched()
        if not self._on_hangup:
            yield
            return
        with received_signals(signal.SIGHUP) as self._hangups:
            yield

    async def serve(self, core: Coordinator) -> None:
        """Reload the system of *core* at each trigger, until cancelled; return at once if there is none."""
        async with anyio.create_task_group() as tasks:
            if self._hangups is not None:
                tasks.start_soon(_reload_on_hangup, core, self._hangups)
            if self._sources is not None:
                tasks.start_soon(self._sources.take_notices)
                tasks.start_soon(_reload_on_change, core, self._sources)


async def _reload_on_hangup(core: Coordinator, hangups: AsyncIterator[Any]) -> None:
    async for _ in hangups:
        try:
            await core.reloading.reload(by="SIGHUP")
        except ReloadFailed:
            continue  # the reload has emitted an event about it
        except ActorsError as error:
            core.event("reload_refused", {"by": "SIGHUP", "why": str(error)})


async def _reload_on_change(core: Coordinator, sources: Sources) -> None:
    while True:
        names = await sources.changed()
        try:
            # `surge` renews all nodes or none: a developer wants no mixture of old and new code.
            await core.reloading.reload(surge=True, by=f"--reload ({_shortened(names)})")
        except ReloadFailed as error:
            print(f"\n{error}\n\nThe old code goes on until a file changes.", file=sys.stderr)
        except ActorsError as error:
            core.event("reload_refused", {"by": "--reload", "why": str(error)})
        if own := await sources.skip_own_writes(names):
            shown = _shortened(own)
            print(
                f"\n--reload: {shown} is written when the application starts; not followed",
                file=sys.stderr,
            )


def _shortened(names: list[str]) -> str:
    here = Path.cwd()
    first = Path(names[0])
    shown = str(first.relative_to(here) if first.is_relative_to(here) else first)
    return shown if len(names) == 1 else f"{shown} and {len(names) - 1} more"
