"""The optional C extensions: which there are, whether to use them, and what this process does instead.

Each has a twin in Python with the same results, which is the reference and runs where nobody compiled the
other. A module that has one decides by `load` at its import; no other file knows which of the two it has.
`ACTORS_SPEEDUPS=0` in the environment of a program and its nodes keeps all of them out; with 1 they must be
there.

To add an extension, add a line to `SOURCES`: its module, and its C files. One more C file of an extension that
is there is one more string of its line; a header needs no line. Give the module a text `CHECKSUM`, which is the
macro ACTORS_CHECKSUM that `hatch_build.py`, which compiles it, defines: it tells a library that was compiled
from other sources, in a checkout that has been updated since, from one that fits. `make check` compiles what
has changed; so does `python hatch_build.py`. Add its tests to `SANITIZED` in the Makefile.

This file imports the standard library alone: `hatch_build.py` loads it where nothing is installed.
"""

from __future__ import annotations

import os
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any, Final

__all__ = ["SOURCES", "checksum", "load", "not_loaded"]

SOURCES: Final[dict[str, tuple[str, ...]]] = {
    "actors.transport._speedups": (
        "actors/transport/_speedups.c",
        "actors/transport/_bell.c",
        "actors/transport/_copy.c",
        "actors/transport/_pack.c",
        "actors/transport/_plan.c",
        "actors/transport/_thread.c",
        "actors/transport/_unpack.c",
    ),
    "actors._actor._speedups": ("actors/_actor/_speedups.c", "actors/_actor/_remote.c"),
    "actors.transport._ring": ("actors/transport/_ring.c",),
    "actors.machines._lease_timer": ("actors/machines/_lease_timer.c",),
    "actors.programs._speedups": ("actors/programs/_speedups.c",),
}
"""By module of an extension: its C files, relative to the checkout."""

_COMMON: Final = "transport/_common.h"
"""Relative to the package."""
_SWITCH: Final = "ACTORS_SPEEDUPS"


def load(name: str) -> Any:
    """The extension of that name, or None: its twin does the work.

    Raises:
        ValueError: `ACTORS_SPEEDUPS` is neither 0 nor 1 nor empty.
        ImportError: there is none that fits, and `ACTORS_SPEEDUPS` is 1.
    """
    switch = os.environ.get(_SWITCH, "")
    if switch not in ("", "0", "1"):
        raise ValueError(f"{_SWITCH} must be 0 or 1, got {switch!r}")
    if switch == "0":
        return None
    try:
        return _import(name)
    except ImportError:
        if switch == "1":
            raise
        return None


def not_loaded() -> str:
    """Why this process runs Python code in place of some extension, or an empty text."""
    if os.environ.get(_SWITCH) == "0":
        return f"{_SWITCH} is 0"
    try:
        for name in SOURCES:
            _import(name)
    except ImportError as error:
        return f"{error}"
    return ""


def checksum(folder: Path) -> str:
    """That of the C files of a folder, as a text; empty if there are none, as in an installed wheel.

    The header that all extensions have in common counts for each of them.
    """
    total = 0
    common = folder.parent / _COMMON
    paths = {path for kind in ("*.c", "*.h") for path in folder.glob(kind)}
    for path in sorted({*paths, common} if common.exists() else paths):
        total = zlib.crc32(path.read_bytes(), total)
    return f"{total:08x}" if total else ""


def _import(name: str) -> Any:
    module = import_module(name)
    now = checksum(Path(module.__file__ or "").parent)
    if now not in ("", module.CHECKSUM):
        raise ImportError(
            f"{name} was compiled from other sources than those beside it; "
            "run pip install --editable . again"
        )
    return module
