"""The addresses beside refs that travel in messages, of every node of a system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._keyed import keyed_extra, keyed_ref_extra
from actors._pools import pool_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.nodes import ActorHost
    from actors.transport import Extra

__all__ = ["EXTRAS"]

EXTRAS: Final[Sequence[Callable[[ActorHost], Extra[Any]]]] = (
    pool_extra,
    keyed_extra,
    keyed_ref_extra,
)
"""What makes them, for an `ActorHost`. Both ends of a link have the same, in the same order."""
