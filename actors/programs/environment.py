"""The environment of a program: the system's own, without what is the system's alone.

Rule: who can write to the system's supervisor (systemd), or take its sockets, is the system and none of its
programs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from actors.nodes import own_environment

__all__ = ["RUN_VARIABLE", "environment"]

RUN_VARIABLE: Final = "ACTORS_RUN"
"""Marks the processes of one run of an instance, whoever their parent is."""
_NOT_PASSED_ON: Final = frozenset(
    (
        *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"),
        *("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"),
        *("ACTORS_PYTHONPATH", "CREDENTIALS_DIRECTORY"),
    )
)


def environment(
    account: Mapping[str, str], own: Mapping[str, str], instance: str, slot: int, run: str
) -> dict[str, str]:
    """Return the whole environment of an instance, as of now.

    Args:
        account: variables of the account that it runs as.
        own: its own variables, which come before those of the system.
        instance: its name.
        slot: its number.
        run: what marks the processes of this run.
    """
    inherited = own_environment()
    for name in _NOT_PASSED_ON:
        inherited.pop(name, None)
    # A name is any letters; in some locales a variable has only those of ASCII as text.
    told = {"ACTORS_PROGRAM": os.fsdecode(instance.encode()), "ACTORS_SLOT": str(slot)}
    return {**inherited, **account, **told, **own, RUN_VARIABLE: run}
