"""Asks the parent, over the link, to bind the sticky keys that an application on this node makes.

Rule: the parent binds a key even if the response no longer waits for it, so this is no call that could be
cancelled: late is better than never.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from actors._remoting import listener_operations as ops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors._base.loop import Loop, Waiter
    from actors.nodes import Link

__all__ = ["LinkBinder"]


class LinkBinder:
    """Binds the keys of one listener; see `KeyBinder`."""

    def __init__(self, link: Link, loop: Loop, listener: str) -> None:
        self._link = link
        self._loop = loop
        self._listener = listener
        self._numbers = count(1)
        self._waiting: dict[int, Waiter] = {}

    async def bind(self, digests: Sequence[bytes], client: str) -> None:
        """Return when the router has bound the keys to this node's slot."""
        number = next(self._numbers)
        waiter = self._waiting[number] = self._loop.waiter()
        try:
            self._link.note(ops.bind_keys, self._listener, number, list(digests), client)
            await waiter
        finally:
            del self._waiting[number]

    def bound(self, number: int) -> None:
        """Have the `bind` of that number return, if it still waits."""
        waiter = self._waiting.get(number)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def unlearned(self) -> None:
        """Have the router count a response that did not wait long enough."""
        self._link.note(ops.key_unlearned, self._listener)
