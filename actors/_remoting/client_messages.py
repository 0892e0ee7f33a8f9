"""What a client sends, without the chains of calls: their numbers are those of actors of another system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._remoting import protocol as wire
from actors.transport import Lane

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["without_chains"]

_CHAIN: Final = {wire.TELL: 6, wire.ASK: 7, wire.STREAM: 7}
"""Where a message has the chain of calls that it belongs to."""


def without_chains(
    take: Callable[[list[Any], Lane], None],
) -> Callable[[list[Any], Lane], None]:
    """Return what takes the messages of a client, and hands them to *take*."""

    def filtered(messages: list[Any], lane: Lane = Lane.DATA) -> None:
        for message in messages:
            place = _CHAIN.get(message[0])
            if place is not None and len(message) > place:
                message[place] = None
        take([message for message in messages if message[0] != wire.PROBE], lane)

    return filtered
