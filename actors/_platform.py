"""Where this runs: Linux, and macOS where a primitive exists; everything else is refused clearly."""

from __future__ import annotations

import sys
from typing import Final

from ._errors import ActorsError

__all__ = ["check_platform"]

_SUPPORTED: Final = ("linux", "darwin")


def check_platform() -> None:
    """Refuse platforms without AF_UNIX socket pairs, fd passing and process groups.

    Raises:
        ActorsError: naming the platform.
    """
    if sys.platform not in _SUPPORTED:
        raise ActorsError(
            f"actors runs on Linux (and macOS where a primitive exists), not on {sys.platform!r}"
        )
