"""The source files of an application, and which of them have changed, found by looking at their times.

Rule 1: only files below the current folder and in the application's package are looked at, or below the folders
that are given; none in hidden folders, virtual environments or `site-packages`.
Rule 2: they are looked at when the kernel says that something has changed (`file_notices`), and now and then.
"""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import Final, TypeAlias

import anyio
import anyio.to_thread

from actors.cli._failure import WRONG, CommandFailed
from actors.cli.server import file_notices
from actors.cli.server.source_filter import SourceFilter
from actors.cli.target import current_folder

__all__ = ["Sources", "Stamps", "roots_of", "watched_sources"]

Stamps: TypeAlias = dict[str, tuple[int, int]]
"""For each file, its time of modification in nanoseconds and its size in bytes."""

_POLL_INTERVAL: Final = 2.0 if file_notices.INSTALLED else 0.4
"""Seconds between two looks without a notice."""
_SHARE: Final = 0.02
"""The part of a CPU that polling may use."""
_LOOPS: Final = 2
_SETTLE_TIME: Final = 0.1
"""Seconds without another change after which the change is complete: an editor writes several files."""


def roots_of(module: str) -> list[Path]:
    """Return the current folder, and where the package of *module* is if elsewhere; nothing is imported."""
    roots = [current_folder()]
    spec = find_spec(module.partition(".")[0])
    if spec is not None:
        for place in spec.submodule_search_locations or filter(None, [spec.origin]):
            path = Path(place).resolve()
            if path.exists() and not any(path.is_relative_to(root) for root in roots):
                roots.append(path)
    return roots


def watched_sources(target: str, options: Namespace) -> Callable[[], Sources] | None:
    """Return what begins to watch the files of *target*, as the options of `--reload` say; None without it.

    Raises:
        CommandFailed: an option is given without `--reload`, or names no folder.
    """
    given = {
        "--reload-dir": options.reload_dir,
        "--reload-include": options.reload_include,
        "--reload-exclude": options.reload_exclude,
        "--reload-delay": options.reload_delay,
    }
    if not options.reload:
        for option in (name for name, value in given.items() if value):
            raise CommandFailed(f"{option} goes with --reload", WRONG)
        return None
    for folder in options.reload_dir:
        if not Path(folder).is_dir():
            raise CommandFailed(f"--reload-dir {folder}: there is no such folder", WRONG)
    if options.reload_delay is not None and not options.reload_delay > 0:
        raise CommandFailed(
            f"--reload-delay must be more than 0, got {options.reload_delay:g}", WRONG
        )
    module = target.partition(":")[0]
    folders = [Path(text).absolute() for text in options.reload_dir]
    more = [Path(text).absolute() for text in options.reload_include if Path(text).is_dir()]
    patterns = [text for text in options.reload_include if not Path(text).is_dir()]
    roots = [*(folders or roots_of(module)), *more]
    followed = SourceFilter(patterns, options.reload_exclude)
    return partial(Sources, roots, followed, options.reload_delay or _POLL_INTERVAL)


class Sources:
    """Watches files from its construction on.

    Args:
        roots: the folders below which they are, or files.
        followed: which of them count.
        interval: seconds between two looks without a notice of the kernel.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        followed: SourceFilter | None = None,
        interval: float = _POLL_INTERVAL,
    ) -> None:
        self._roots = roots
        self._followed = SourceFilter() if followed is None else followed
        self._interval = interval
        self._noticed = anyio.Event()
        self._cost = 0.0
        """CPU seconds that looking takes."""
        self._loops = 0
        """Reloads in a row in which only the files were written that had caused the reload."""
        self._known = self._look()

    async def take_notices(self) -> None:
        """Look at the files as soon as the kernel says that one has changed, until cancelled."""
        await file_notices.watch(self._roots, self._followed.follows, self._notice)

    def _notice(self) -> None:
        self._noticed.set()
        self._noticed = anyio.Event()

    async def changed(self) -> list[str]:
        """Wait until files are added, removed or written and no others follow; return their paths."""
        noticed = self._noticed
        while (now := await self._poll()) == self._known:
            with anyio.move_on_after(max(self._interval, self._cost / _SHARE)):
                await noticed.wait()
            noticed = self._noticed
        while True:
            await anyio.sleep(_SETTLE_TIME)
            before, now = now, await self._poll()
            if now == before:
                break
        names = self._different(now)
        self._known = now
        for name in names:
            _remove_bytecode(name)
        return names

    async def skip_own_writes(self, reloaded: Sequence[str]) -> list[str]:
        """Stop a loop of an application that writes a source file whenever it starts.

        Args:
            reloaded: the files for which the application has just been started again.

        Returns:
            Those files, if they alone were written during the reload, for the second time in a
            row; these changes are not followed.
        """
        now = await self._poll()
        names = self._different(now)
        self._loops = self._loops + 1 if names and names == list(reloaded) else 0
        if self._loops < _LOOPS:
            return []
        self._known = now
        return names

    def _different(self, now: Stamps) -> list[str]:
        both = self._known.keys() | now.keys()
        return sorted(name for name in both if self._known.get(name) != now.get(name))

    async def _poll(self) -> Stamps:
        return await anyio.to_thread.run_sync(self._look)

    def _look(self) -> Stamps:
        began = time.thread_time()
        found = _stamps(self._roots, self._followed)
        self._cost = time.thread_time() - began
        return found


def _stamps(roots: Sequence[Path], followed: SourceFilter) -> Stamps:
    found: Stamps = {}
    for root in roots:
        if root.is_dir():
            _scan(str(root), followed, found)
        else:
            _add(str(root), root, found)
    return found


def _scan(folder: str, followed: SourceFilter, found: Stamps) -> None:
    """Add the files of *folder* and below; most are never looked at but in their folder's listing."""
    try:
        with os.scandir(folder) as listing:
            entries = list(listing)
    except OSError:
        return  # removed since it was listed, or not ours to read
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if followed.enters(entry.path):
                _scan(entry.path, followed, found)
        elif followed.follows(entry.path):
            _add(entry.path, entry, found)


def _add(name: str, entry: Path | os.DirEntry[str], found: Stamps) -> None:
    with suppress(OSError):  # removed since it was listed
        status = entry.stat()
        found[name] = (status.st_mtime_ns, status.st_size)


def _remove_bytecode(name: str) -> None:
    """Remove the bytecode: Python takes it for current if the source changed within the same second."""
    with suppress(OSError, NotImplementedError):  # there is none
        Path(cache_from_source(name)).unlink()
