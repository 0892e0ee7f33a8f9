"""The source files of an application, and which of them have changed, found by polling.

Rule: only Python files below the current folder and in the application's package are polled, none in hidden
folders, virtual environments or `site-packages`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
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
        self._known = _stamps(roots)

    async def changed(self) -> list[str]:
        """Wait until files are added, removed or written and no others follow; return their paths."""
        while (now := await self._poll()) == self._known:  # noqa: ASYNC110 - files have no event
            await anyio.sleep(_POLL_INTERVAL)
        while True:
            await anyio.sleep(_SETTLE_TIME)
            before, now = now, await self._poll()
            if now == before:
                break
        names = sorted(
            name
            for name in self._known.keys() | now.keys()
            if self._known.get(name) != now.get(name)
        )
        self._known = now
        for name in names:
            _remove_bytecode(name)
        return names

    async def _poll(self) -> Stamps:
        return await anyio.to_thread.run_sync(_stamps, self._roots)


def _stamps(roots: Sequence[Path]) -> Stamps:
    found: Stamps = {}
    for root in roots:
        for entry in _files(root):
            try:
                status = entry.stat()
            except OSError:
                continue  # removed since it was listed
            found[str(entry)] = (status.st_mtime_ns, status.st_size)
    return found


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if not _is_skipped(Path(folder, name))]
        yield from (Path(folder, name) for name in names if name.endswith(".py"))


def _is_skipped(folder: Path) -> bool:
    hidden = folder.name.startswith(".")
    return hidden or folder.name in _SKIPPED_FOLDERS or (folder / "pyvenv.cfg").exists()


def _remove_bytecode(name: str) -> None:
    """Remove the bytecode: Python takes it for current if the source changed within the same second."""
    with suppress(OSError, NotImplementedError):  # there is none
        Path(cache_from_source(name)).unlink()
