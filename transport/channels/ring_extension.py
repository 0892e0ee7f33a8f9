"""The extension in C that rings need, for its atomic operations: there is no twin of it, but the socket."""

from __future__ import annotations

import os
from typing import Any, Final

from actors._extensions import load

__all__ = ["RING", "messages_before_ring"]

RING: Final[Any] = load("actors.transport._ring")
"""The module `_ring`, or None."""

_SWITCH: Final = "ACTORS_RING_AT"
_MADE_AT: Final = 1000
"""Messages of a channel, in both directions together, after which it gets a ring."""


def messages_before_ring() -> int:
    """After how many messages a channel gets a ring; 0 is never.

    Raises:
        ValueError: the environment's `ACTORS_RING_AT` is no such number.
    """
    text = os.environ.get(_SWITCH, "") or str(_MADE_AT)
    if not text.isdecimal():
        raise ValueError(f"{_SWITCH} must be 0 or more messages, got {text!r}")
    return int(text)
