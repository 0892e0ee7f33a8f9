"""The error that ends a command: a message for standard error, and an exit code.

0  done                     1  it failed
2  the command was wrong    3  no such system runs
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

__all__ = ["FAILED", "NOT_RUNNING", "WRONG", "CommandFailed", "did_you_mean", "is_count"]

FAILED: Final = 1
WRONG: Final = 2
NOT_RUNNING: Final = 3
_LONGEST_COUNT: Final = 9
"""Digits."""


class CommandFailed(Exception):
    """The command ends with this message; `code` is its exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def is_count(text: str) -> bool:
    """Return whether *text* is a whole number that `int` reads: it refuses thousands of digits."""
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST_COUNT


def did_you_mean(value: str, known: Iterable[str], prefix: str = "") -> str:
    """Return "; did you mean ...?" when one of *known* is close to *value*, else nothing."""
    close = difflib.get_close_matches(value, list(known), n=1)
    return f"; did you mean {prefix + close[0]!r}?" if close else ""
