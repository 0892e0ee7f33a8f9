"""The error that ends a command: a message for standard error, and an exit code.

0  done                     1  it failed
2  the command was wrong    3  no such system runs
"""

from __future__ import annotations

from typing import Final

__all__ = ["FAILED", "NOT_RUNNING", "WRONG", "CommandFailed", "is_count"]

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
