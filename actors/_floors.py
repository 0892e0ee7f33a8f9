"""The first thing imported: is this a platform we run on, and are the floors below really ours?

`transport` and `supervisors` are common names: a user's own `transport.py` beside a script would
silently take the place of ours.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = ["FLOORS", "check_floors", "check_platform"]

FLOORS: Final = ("supervisors", "transport")


_PLATFORMS: Final = ("linux", "darwin")


def check_platform(platform: str) -> None:
    """Refuse a *platform* without AF_UNIX socket pairs, fd passing and process groups.

    Raises:
        ImportError: naming it.
    """
    if platform not in _PLATFORMS:
        raise ImportError(
            f"actors runs on Linux, and on macOS where a primitive exists, not on {platform!r}"
        )


def check_floors(home: Path) -> None:
    """Refuse a floor that would be imported from anywhere but *home*.

    Raises:
        ImportError: naming the file that shadows ours.
    """
    for name in FLOORS:
        spec = find_spec(name)
        origin = None if spec is None else spec.origin
        if origin is None or Path(origin).resolve().parent.parent != home:
            found = origin or (spec and list(spec.submodule_search_locations or [])) or "nothing"
            raise ImportError(
                f"actors needs its own package {name!r} in {home}, "
                f"but {found} comes first on sys.path: rename yours"
            )


check_platform(sys.platform)
check_floors(Path(__file__).resolve().parent.parent)
