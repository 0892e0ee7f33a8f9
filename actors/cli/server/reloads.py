"""What reloads a running system without being asked by a command: SIGHUP, and changed files.

Rule: a reload that fails is told, and the system goes on.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from actors._base.errors import ActorsError, ReloadFailed
from actors._system.coordinator import Coordinator
from actors.cli.server.sources import Sources, roots_of

__all__ = ["NO_RELOADS", "Reloads"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloads:
    """Which of the two there are.

    Attributes:
        on_hangup: whether SIGHUP is a rolling reload.
        watched: the modules whose files are watched, None for none.
    """

    on_hangup: bool = False
    watched: tuple[str, ...] | None = None

    @contextmanager
    def noted(self) -> Iterator[ReloadReasons]:
        """Take note of what happens from here on: a system that starts has read its files."""
        sources = None if self.watched is None else Sources(roots_of(self.watched))
        if not self.on_hangup:
            yield ReloadReasons(None, sources)
            return
        with anyio.open_signal_receiver(signal.SIGHUP) as hangups:
            yield ReloadReasons(hangups, sources)


class ReloadReasons(NamedTuple):
    """What a reload may follow."""

    hangups: AsyncIterator[Any] | None
    sources: Sources | None

    async def serve(self, core: Coordinator) -> None:
        """Reload for as long as the system runs."""
        async with anyio.create_task_group() as tasks:
            if self.hangups is not None:
                tasks.start_soon(_on_hangup, core, self.hangups)
            if self.sources is not None:
                tasks.start_soon(_on_change, core, self.sources)


NO_RELOADS = Reloads()


async def _on_hangup(core: Coordinator, hangups: AsyncIterator[Any]) -> None:
    async for _ in hangups:
        try:
            await core.reloading.reload(by="SIGHUP")
        except ReloadFailed:
            continue  # its event tells it
        except ActorsError as error:
            core.event("reload_refused", {"by": "SIGHUP", "why": str(error)})


async def _on_change(core: Coordinator, sources: Sources) -> None:
    while True:
        names = await sources.changed()
        try:
            # All or none: half of the nodes with other code would be no help to whoever writes it.
            await core.reloading.reload(surge=True, by=f"--reload ({_short(names)})")
        except ReloadFailed as error:
            print(f"\n{error}\n\nThe old code goes on until a file changes.", file=sys.stderr)
        except ActorsError as error:
            core.event("reload_refused", {"by": "--reload", "why": str(error)})


def _short(names: list[str]) -> str:
    here = Path.cwd()
    first = Path(names[0])
    shown = str(first.relative_to(here) if first.is_relative_to(here) else first)
    return shown if len(names) == 1 else f"{shown} and {len(names) - 1} more"
