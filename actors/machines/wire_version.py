"""How two machines talk that are of one system, and what an agent says of its program."""

from __future__ import annotations

import os
import platform
from typing import Any, Final

from actors._base.version import installed_version
from actors.machines.stamps import RELEASE

__all__ = ["WIRE_VERSION", "identity", "skew_of"]

WIRE_VERSION: Final = 2
"""Raised with every change that an older program would misunderstand."""


def identity() -> dict[str, Any]:
    """Return what an agent says of its program when it joins."""
    return {
        "wire": WIRE_VERSION,
        "version": installed_version(),
        "python": platform.python_version(),
        "release": os.environ.get(RELEASE, ""),
    }


def skew_of(there: dict[str, Any]) -> str:
    """Return why an agent of that `identity` cannot be of a system of this program, "" if it can.

    Other versions of Python are fine. Of the user's code `Stamps` says.
    """
    here = identity()
    if there.get("wire") != WIRE_VERSION:
        return (
            f"its agent speaks version {there.get('wire')!r} of the protocol, and this process {WIRE_VERSION}: "
            f"there is actors {there.get('version')}, here is {here['version']}"
        )
    return ""
