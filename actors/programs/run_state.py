"""Where one process of a program is in its life, and the error that its end is."""

from __future__ import annotations

from enum import Enum

from actors._base.errors import ActorsError

__all__ = ["ProgramDied", "RunState"]


class RunState(Enum):
    """Where one process of a program is in its life."""

    STARTING = "STARTING"
    """It is not ready yet."""
    READY = "READY"
    UNHEALTHY = "UNHEALTHY"
    """Its checks have failed too often: it is being ended, to be restarted."""
    STOPPING = "STOPPING"
    ENDED = "ENDED"


class ProgramDied(ActorsError):
    """A process of a program ended without having been asked to; the text says how, with its last lines."""
