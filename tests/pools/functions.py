"""Functions that tests send to workers, which import them by name."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

__all__ = ["add", "fail", "mark_and_nap", "nap", "pid", "square", "square_later"]


def square(number: int) -> int:
    """Return the square of a number."""
    return number * number


async def square_later(number: int) -> int:
    """Return the square of a number, after a turn of the loop."""
    await asyncio.sleep(0)
    return number * number


def add(left: int, right: int = 1) -> int:
    """Return a sum."""
    return left + right


def fail(number: int) -> int:
    """Raise a ValueError."""
    raise ValueError(f"bad number {number}")


def nap(seconds: float) -> int:
    """Sleep in the worker's thread; return its process."""
    time.sleep(seconds)
    return os.getpid()


def mark_and_nap(path: str, seconds: float) -> None:
    """Make a file, by which it can be seen that this runs, then sleep."""
    Path(path).touch()
    time.sleep(seconds)


def pid() -> int:
    """Return the worker's process."""
    return os.getpid()
