"""Which files `--reload` follows: patterns as those of a shell, and folders that are left out.

Rule: pure. Nothing is read from the disk here but whether a pattern names a folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Final

__all__ = ["SourceFilter"]

_ALWAYS: Final = "*.py"
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


class SourceFilter:
    """Python files and those that match *include*, without those that match *exclude*.

    A pattern is matched with the end of a path, `*.html` with the name alone.

    Args:
        include: patterns.
        exclude: patterns of files and of folders, or the paths of folders.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = (_ALWAYS, *include)
        self._exclude = tuple(exclude)
        self._folders = {str(Path(text).absolute()) for text in exclude if Path(text).is_dir()}

    def follows(self, path: str) -> bool:
        """Whether a change of this file counts."""
        return _matches(path, self._include) and not _matches(path, self._exclude)

    def enters(self, folder: str) -> bool:
        """Whether the files of this folder are looked at; hidden ones never are."""
        name = PurePath(folder).name
        if name.startswith(".") or name in _SKIPPED:
            return False
        return folder not in self._folders and not _matches(folder, self._exclude)


def _matches(path: str, patterns: Sequence[str]) -> bool:
    name = path.rpartition("/")[2]
    return any(
        PurePath(path).match(pattern) if "/" in pattern else fnmatch(name, pattern)
        for pattern in patterns
    )
