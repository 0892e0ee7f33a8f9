"""The source files of an application, and which of them have changed, found by polling.

Rule: only Python files below the current folder and in the application's package are polled, none in hidden
folders, virtual environments or `site-packages`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import Final, TypeAlias

import anyio
import anyio.to_thread

__all__ = ["Sources", "roots_of"]

Stamps: TypeAlias = dict[str, tuple[int, int]]
"""For each file, its time of modification in nanoseconds and its size in bytes."""

_POLL_INTERVAL: Final = 0.4
"""Seconds."""
_SHARE: Final = 0.02
"""The part of a CPU that polling may use."""
_LOOPS: Final = 2
_SETTLE_TIME: Final = 0.1
"""Seconds without another change after which the change is complete: an editor writes several files."""
_SKIPPED_FOLDERS: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


def roots_of(module: str) -> list[Path]:
    """Return the current folder, and where the package of *module* is if elsewhere; nothing is imported."""
    roots = [Path.cwd()]
    spec = find_spec(module.partition(".")[0])
    if spec is not None:
        for place in spec.submodule_search_locations or filter(None, [spec.origin]):
            path = Path(place).resolve()
            if path.exists() and not any(path.is_relative_to(root) for root in roots):
                roots.append(path)
    return roots


class Sources:
    """Watches the files below *roots* from its construction on."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = roots
        self._cost = 0.0
        """CPU seconds that looking takes."""
        self._loops = 0
        """Reloads in a row in which only the files were written that had caused the reload."""
        self._known = self._look()

    async def changed(self) -> list[str]:
        """Wait until files are added, removed or written and no others follow; return their paths."""
        while (now := await self._poll()) == self._known:  # noqa: ASYNC110 - files have no event
            await anyio.sleep(max(_POLL_INTERVAL, self._cost / _SHARE))
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
        found = _stamps(self._roots)
        self._cost = time.thread_time() - began
        return found


def _stamps(roots: Sequence[Path]) -> Stamps:
    found: Stamps = {}
    for root in roots:
        if root.is_dir():
            _scan(str(root), found)
        else:
            _add(str(root), root, found)
    return found


def _scan(folder: str, found: Stamps) -> None:
    """Add the files of *folder* and below; most are never looked at but in their folder's listing."""
    try:
        with os.scandir(folder) as listing:
            entries = list(listing)
    except OSError:
        return  # removed since it was listed, or not ours to read
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        if entry.name.endswith(".py"):
            _add(entry.path, entry, found)
        elif _is_followed(entry.name) and entry.is_dir(follow_symlinks=False):
            _scan(entry.path, found)


def _is_followed(folder: str) -> bool:
    return not folder.startswith(".") and folder not in _SKIPPED_FOLDERS


def _add(name: str, entry: Path | os.DirEntry[str], found: Stamps) -> None:
    with suppress(OSError):  # removed since it was listed
        status = entry.stat()
        found[name] = (status.st_mtime_ns, status.st_size)


def _remove_bytecode(name: str) -> None:
    """Remove the bytecode: Python takes it for current if the source changed within the same second."""
    with suppress(OSError, NotImplementedError):  # there is none
        Path(cache_from_source(name)).unlink()
