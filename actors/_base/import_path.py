"""Where this process looks for modules, for others that are to look there as well."""

from __future__ import annotations

import os
import sys
from typing import Any

__all__ = ["import_path"]


def import_path() -> list[str]:
    """Return `sys.path` with a name for the current folder; Python itself ignores entries that are no text.

    Where that folder was removed it is left out, as Python does: with a name for it each import would fail.
    """
    entries: list[Any] = sys.path
    here = "." if _is_somewhere() else ""
    paths = [entry or here for entry in entries if isinstance(entry, str)]
    return [path for path in paths if path]


def _is_somewhere() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - no object
    except FileNotFoundError:
        return False
    return True
