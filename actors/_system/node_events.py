"""The events of a system on its nodes: kept in the parent, and fetched from there as they are read.

Rule 1: a node that reads slowly, or not at all, costs the parent one bounded stream; what is
lost is counted.
Rule 2: nobody waits for a reader.
"""

from __future__ import annotations

import itertools
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from actors._base.errors import ActorsError
from actors._base.events import Event, EventBus, EventStream
from actors._base.loop import from_monotonic, to_monotonic
from actors._remoting import operations as ops

if TYPE_CHECKING:
    from actors._base.loop import Loop
    from actors._system.system_state import SystemState
    from actors.nodes import Link

__all__ = ["EventsOfNodes", "NodeEvents"]

_MOST_STREAMS: Final = 64
"""Streams that one node may have open."""
_BATCH: Final = 64
_NUMBERS: Final = itertools.count(1)


class EventsOfNodes:
    """The streams that nodes read, in the parent."""

    def __init__(self, state: SystemState) -> None:
        self._state = state
        self._streams: dict[str, dict[int, EventStream]] = {}

    @property
    def open_streams(self) -> int:
        """How many streams all nodes have open."""
        return sum(len(mine) for mine in self._streams.values())

    def register(self) -> None:
        """Serve the nodes that follow events."""
        handlers = self._state.host.handlers
        handlers.on_note(ops.follow_events, self._follow)
        handlers.on_call(ops.next_events, self._next)
        handlers.on_note(ops.unfollow_events, self._unfollow)

    def node_ended(self, address: str) -> None:
        """Close what a node had open."""
        for stream in self._streams.pop(address, {}).values():
            stream.close()

    def _follow(self, link: Link, number: int) -> None:
        if link.closed is not None:
            return
        mine = self._streams.setdefault(link.peer, {})
        if len(mine) < _MOST_STREAMS and number not in mine:
            mine[number] = self._state.bus.stream()

    def _unfollow(self, link: Link, number: int) -> None:
        stream = self._streams.get(link.peer, {}).pop(number, None)
        if stream is not None:
            stream.close()

    async def _next(self, link: Link, number: int) -> list[list[Any]]:
        stream = self._streams.get(link.peer, {}).get(number)
        if stream is None:
            raise ActorsError(
                f"{link.peer} follows the events {_MOST_STREAMS} times already, which is as often as a "
                "node may: close() a stream that is not read any more"
            )
        loop = self._state.loop
        found = await stream.batch(_BATCH)
        return [[event.kind, dict(event.facts), to_monotonic(loop, event.at)] for event in found]


class NodeEvents(EventStream):
    """The events of the system as one subscriber on a node reads them; it ends with the system or the node."""

    def __init__(self, parent: Link, loop: Loop) -> None:
        super().__init__(EventBus(loop))
        self._parent = parent
        self._loop = loop
        self._number = next(_NUMBERS)
        self._fetching = False
        self._refused: ActorsError | None = None
        parent.note(ops.follow_events, self._number)
        self._unfollow = weakref.finalize(self, _unfollow, parent, loop, self._number)
        self._unfollow.atexit = False

    async def __anext__(self) -> Event:
        while not (self._records or self._closed):
            if not self._fetching:
                self._fetching = True
                # In a task of its own: a reader that is cancelled meanwhile loses none.
                self._loop.start(self._fetch, name="events of the system", fresh=True)
            await self._readers.wait()
        if self._refused is not None and not self._records:
            raise self._refused
        return await super().__anext__()

    async def _fetch(self) -> None:
        try:
            found = await self._parent.call(ops.next_events, self._number)
        except ActorsError as error:
            self._refused = error if self._parent.closed is None else None
            self._closed = True
        else:
            loop = self._loop
            self.add(Event(kind, facts, from_monotonic(loop, at)) for kind, facts, at in found)
            self._closed = self._closed or not found
        finally:
            self._fetching = False
            self.wake()

    def close(self) -> None:
        """Have no more events kept; the iteration ends after those that are there."""
        super().close()
        self._unfollow()


def _unfollow(parent: Link, loop: Loop, number: int) -> None:
    """Close a stream in the parent; the garbage collector may call this in any thread."""
    with suppress(RuntimeError):  # the loop has ended, and the node with it
        loop.call_threadsafe(parent.note, ops.unfollow_events, number)
