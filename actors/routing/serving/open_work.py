"""What a server is working on: open connections or datagrams by number, and the wait for their end."""

from __future__ import annotations

from typing import TypeVar

import anyio

__all__ = ["OpenWork"]

T = TypeVar("T")


class OpenWork(dict[int, T]):
    """A dict of open work; entries are removed with `end` only."""

    _idle: anyio.Event | None = None

    def end(self, number: int) -> None:
        """Remove *number* and wake `wait_idle` if it was the last."""
        del self[number]
        if not self and self._idle is not None:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until nothing is open."""
        while self:
            if self._idle is None or self._idle.is_set():
                self._idle = anyio.Event()
            await self._idle.wait()
