"""Calls a function of the user's that a path names, which may be `async` or not: a hook, a check."""

from __future__ import annotations

from inspect import isawaitable
from typing import Any

__all__ = ["called"]


async def called(fn: Any) -> Any:
    """Return what *fn* returns, or what that is when it has been awaited.

    Raises:
        Exception: whatever it raises.
    """
    answer = fn()
    return await answer if isawaitable(answer) else answer
