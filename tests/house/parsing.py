"""Parses a source file while no other Python code runs."""

from __future__ import annotations

import ast
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["parsed"]


def parsed(path: Path) -> ast.Module:
    """Return the tree of a file.

    CPython 3.11 raises a SystemError if the garbage collector finalizes something by Python code meanwhile.
    """
    gc.disable()
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    finally:
        gc.enable()
