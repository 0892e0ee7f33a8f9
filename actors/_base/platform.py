"""Which platforms actors run on; `import actors` checks it before anything else."""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["check_platform"]

_PLATFORMS: Final = ("linux", "darwin")


def check_platform(platform: str = sys.platform) -> None:
    """Refuse a *platform* without AF_UNIX socket pairs, fd passing and process groups.

    Raises:
        ImportError: it is neither Linux nor macOS.
    """
    if platform not in _PLATFORMS:
        raise ImportError(
            f"actors runs on Linux, and on macOS where a primitive exists, not on {platform!r}"
        )
