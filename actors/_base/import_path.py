"""Where this process looks for modules, for others that are to look there as well."""

from __future__ import annotations

import os
import sys
from typing import Any

__all__ = ["import_path"]


def import_path(*, absolute: bool = False) -> list[str]:
    """Return `sys.path` with a name for the current folder; Python itself ignores entries that are no text.

    Where that folder was removed it is left out, as Python does: with a name for it each import would fail.

    Args:
        absolute: name the current folder by its path, not by ``"."``.
    """
    try:
        folder = os.getcwd()  # noqa: PTH109 - no object
    except FileNotFoundError:
        folder = ""
    here = folder if absolute or not folder else "."
    entries: list[Any] = sys.path
    return [entry or here for entry in entries if isinstance(entry, str) and (entry or here)]
