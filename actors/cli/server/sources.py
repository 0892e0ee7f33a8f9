"""The source files of an application, and which have changed: by looking, which works everywhere.

Rule: what is looked at is bounded: Python files of the current folder and of the application's
package, no hidden folders, no environments, no installed packages beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import Final, TypeAlias

import anyio
import anyio.to_thread

__all__ = ["Sources", "roots_of"]

Stamps: TypeAlias = dict[str, tuple[int, int]]
"""When each file was written, and its size."""

_OFTEN: Final = 0.4
"""Seconds between two looks."""
_BURST: Final = 0.1
"""Seconds without another change after which one is complete: an editor writes several files."""
_NOT_OURS: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


def roots_of(modules: Sequence[str]) -> list[Path]:
    """Return where the code of *modules* is, the current folder first; nothing is imported."""
    here = Path.cwd()
    roots = [here]
    for name in modules:
        top = name.partition(".")[0]
        spec = find_spec(top)
        origin = "" if spec is None else spec.origin or ""
        for place in (spec and spec.submodule_search_locations) or [origin]:
            path = Path(place).resolve()
            if path.exists() and not any(path.is_relative_to(root) for root in roots):
                roots.append(path)
    return roots


class Sources:
    """Watches the files below *roots*, from now on."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = roots
        self._known = _stamps(roots)

    async def changed(self) -> list[str]:
        """Wait for files that are new, gone or written; return which, when no more come."""
        while (now := await self._look()) == self._known:  # noqa: ASYNC110 - files do not call
            await anyio.sleep(_OFTEN)
        while True:
            await anyio.sleep(_BURST)
            before, now = now, await self._look()
            if now == before:
                break
        names = sorted(
            name
            for name in self._known.keys() | now.keys()
            if self._known.get(name) != now.get(name)
        )
        self._known = now
        for name in names:
            _forget_compiled(name)
        return names

    async def _look(self) -> Stamps:
        return await anyio.to_thread.run_sync(_stamps, self._roots)


def _stamps(roots: Sequence[Path]) -> Stamps:
    found: Stamps = {}
    for root in roots:
        for entry in _files(root):
            try:
                status = entry.stat()
            except OSError:
                continue  # it has just gone
            found[str(entry)] = (status.st_mtime_ns, status.st_size)
    return found


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if _is_ours(Path(folder, name))]
        yield from (Path(folder, name) for name in names if name.endswith(".py"))


def _is_ours(folder: Path) -> bool:
    if folder.name.startswith(".") or folder.name in _NOT_OURS:
        return False
    return not (folder / "pyvenv.cfg").exists()


def _forget_compiled(name: str) -> None:
    """Remove what is compiled: one that was written in the same second would count as fresh."""
    try:
        Path(cache_from_source(name)).unlink()
    except (OSError, NotImplementedError):
        return  # there is none
