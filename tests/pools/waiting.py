"""Functions that tests run on workers: they end when the test says so."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

__all__ = ["double_later", "wait_for_file"]


def wait_for_file(path: str, result: Any = None) -> Any:
    """Return *result* when there is a file of that name."""
    while not Path(path).exists():
        time.sleep(0.002)
    return result


async def double_later(number: int) -> int:
    """Return twice the number, after a turn of the loop."""
    await asyncio.sleep(0)
    return 2 * number
