"""Whether two machines can be of one system: how they talk, and which release of the user's code they have."""

from __future__ import annotations

import os
import platform
from typing import Any, Final

from actors._base.version import installed_version

__all__ = ["WIRE_VERSION", "identity", "skew_of"]

_RELEASE: Final = "ACTORS_RELEASE"
"""The variable with which an engine names the release of the code that it has shipped."""

WIRE_VERSION: Final = 1
"""Raised with every change that an older program would misunderstand."""


def identity() -> dict[str, Any]:
    """Return what an agent says of its program when it joins."""
    return {
        "wire": WIRE_VERSION,
        "version": installed_version(),
        "python": platform.python_version(),
        "release": os.environ.get(_RELEASE, ""),
    }


def skew_of(there: dict[str, Any]) -> str:
    """Return why an agent of that `identity` cannot be of a system of this program, "" if it can.

    Other versions of Python are fine. Releases are compared where both ends name theirs.
    """
    here = identity()
    if there.get("wire") != WIRE_VERSION:
        return (
            f"its agent speaks version {there.get('wire')!r} of the protocol, and this process {WIRE_VERSION}: "
            f"there is actors {there.get('version')}, here is {here['version']}"
        )
    other, own = there.get("release", ""), here["release"]
    if other and own and other != own:
        return f"its agent has {_RELEASE}={other!r}, and this process has {own!r}"
    return ""
