"""Notices by the kernel that something below a folder has changed, by watchfiles where that is installed.

Rule: a hint and no more. Who is woken looks for himself what has changed, and does so now and then in any case:
notices are lost where folders are mounted from elsewhere, or when the kernel has no more watches.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = ["INSTALLED", "watch"]

INSTALLED: Final = find_spec("watchfiles") is not None
_DEBOUNCE: Final = 50
"""Milliseconds in which changes are collected; whoever is woken waits for the end of a burst itself."""


async def watch(
    roots: Sequence[Path], follows: Callable[[str], bool], changed: Callable[[], object]
) -> None:
    """Call *changed* after each change of a file that *follows* accepts, until cancelled."""
    if not INSTALLED:
        return
    import watchfiles  # noqa: PLC0415 - most systems never need it, nor the memory it takes

    try:
        async for _ in watchfiles.awatch(
            *roots,
            watch_filter=lambda _change, path: follows(path),
            debounce=_DEBOUNCE,
            ignore_permission_denied=True,
        ):
            changed()
    except (OSError, RuntimeError) as error:
        print(f"\n--reload: files are polled, as watchfiles failed: {error}", file=sys.stderr)
